#!/usr/bin/env bash
# Everything that needs a card, in one go, and a record of it: gpu-check.sh FOLDER
#
# FOLDER receives record.json (machine, driver, commit, the outcome of each step), summary.txt, and each step's output.
# Exit status: 0 where every step passed, 1 where one failed, 13 where there is no card. Some minutes on one card; every step
# ends by itself or is ended, and a step that fails does not keep the others from running.
#
#   QA                the program, target/release/qa unless set
#   QA_LLAMA_CPP      folder of a llama.cpp for this card, for the comparison with it; without it that step is skipped
#   QA_MODELS         folder of tiny-coder-q8_0.gguf and so on; small models are made where it has none
#   GPU_CHECK_STEPS   names of steps to run, all unless set
set -uo pipefail
cd "$(dirname "$0")/.."
qa=$(realpath "${QA:-target/release/qa}")
out=${1:?usage: gpu-check.sh FOLDER}
mkdir -p "$out"
out=$(realpath "$out")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# A cold start: nothing compiled before.
export QA_CACHE=$work/cache

names=() statuses=() seconds=()

# step NAME SECONDS COMMAND...: runs a command, and notes how it ended.
step() {
    local name=$1 limit=$2 begun=$SECONDS status=0
    shift 2
    if [[ -n ${GPU_CHECK_STEPS:-} && " $GPU_CHECK_STEPS " != *" $name "* ]]; then return; fi
    timeout --kill-after 5 "$limit" "$@" >"$out/$name.txt" 2>&1 || status=$?
    names+=("$name") statuses+=("$status") seconds+=($((SECONDS - begun)))
    printf '%-20s %4s s   %s\n' "$name" $((SECONDS - begun)) "$(outcome "$status")" | tee -a "$out/summary.txt"
    if [[ $status != 0 ]]; then grep -E 'FAIL|ERROR|BLOCKED|Error|hazard' "$out/$name.txt" | head -20 | tee -a "$out/summary.txt"; fi
}

outcome() {
    case $1 in
        0) echo passed ;;
        13) echo "blocked: something is not here" ;;
        124 | 137) echo "FAILED: it did not end in time" ;;
        *) echo "FAILED with status $1" ;;
    esac
}

skip() { echo "$1: skipped, $2" | tee -a "$out/summary.txt"; }

: >"$out/summary.txt"
step selftest 240 "$qa" selftest gpu --json "$out/selftest.json"
if [[ ${statuses[0]:-} == 13 ]]; then
    cat "$out/selftest.txt"
    exit 13
fi

# Real shapes up to a depth of 4,096: synthetic twins, whose weights cost as much as the originals'.
twins() {
    local arguments=()
    for quantization in "$@"; do
        "$qa" model synth --preset 0.5b --quant "$quantization" --output "$work/0.5b-$quantization.gguf" || return
        arguments+=(--model "$work/0.5b-$quantization.gguf")
    done
    "$qa" selftest gpu --only start --only text --quick "${arguments[@]}" --json "$out/twins.json"
}
export qa work out
export -f twins
step twins 300 bash -c 'twins q4_k_m q8_0 f16'

# Prompts, with either way of computing their tiles and either cache.
prompts=$(dirname "$qa")/examples/prompt_check
if [[ -x $prompts ]]; then
    step prompts 60 "$prompts" synth:tiny:f16 synth:tiny:q8_0 synth:tiny:q4_k_m
    step prompts-warp 60 "$prompts" --warp synth:tiny:q4_k_m
    step prompts-q8_0 60 "$prompts" --int8-cache synth:tiny:q4_k_m
else
    skip prompts "there is no $prompts: cargo build --release --examples"
fi

# Tokens drawn at random, by every set of switches with either cache, against what the CPU draws.
draws=$(dirname "$qa")/examples/draw_check
if [[ -x $draws ]]; then
    step draws 60 "$draws"
else
    skip draws "there is no $draws: cargo build --release --examples"
fi

if [[ -n ${QA_LLAMA_CPP:-} ]]; then
    step agreement 240 "$qa" run specs/agreement.yaml --out "$out/agreement"
else
    skip agreement "QA_LLAMA_CPP names no llama.cpp"
fi

# Sanitizers watch every access of a short decode under every set of switches.
if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck synccheck; do
        step "$tool" 120 compute-sanitizer --error-exitcode 1 --tool "$tool" "$qa" selftest gpu --only brief
    done
else
    skip sanitizers "compute-sanitizer is not on the PATH"
fi

{
    printf '{\n  "date": "%s",\n  "host": "%s",\n' "$(date --utc +%FT%TZ)" "$(uname -srm)"
    printf '  "gpu": "%s",\n' "$(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null)"
    printf '  "commit": "%s",\n' "$(git describe --always --dirty --abbrev=40 2>/dev/null)"
    printf '  "program": "%s",\n  "steps": [\n' "$("$qa" --version)"
    for i in "${!names[@]}"; do
        printf '    {"name": "%s", "status": %s, "seconds": %s}' "${names[i]}" "${statuses[i]}" "${seconds[i]}"
        if ((i + 1 < ${#names[@]})); then echo ,; else echo; fi
    done
    printf '  ]\n}\n'
} >"$out/record.json"

for status in "${statuses[@]}"; do
    if [[ $status != 0 ]]; then exit 1; fi
done

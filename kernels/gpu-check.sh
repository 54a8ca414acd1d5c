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
# Whoever ends this ends what it started: a step that lives on would disturb whatever is measured next.
descendants() {
    local child
    for child in $(pgrep -P "$1"); do
        descendants "$child"
        echo "$child"
    done
}
trap 'kill $(descendants $$) 2>/dev/null; exit 1' TERM INT
# A cold start: nothing compiled before.
export QA_CACHE=$work/cache

# step NAME SECONDS COMMAND...: runs a command, and notes how it ended.
step() {
    local name=$1 limit=$2 begun=$SECONDS status=0
    shift 2
    if [[ -n ${GPU_CHECK_STEPS:-} && " $GPU_CHECK_STEPS " != *" $name "* ]]; then return; fi
    # In the background, so that a signal is heard at once.
    timeout --kill-after 5 "$limit" "$@" >"$out/$name.txt" 2>&1 &
    wait $! || status=$?
    echo "$name $status $((SECONDS - begun))" >>"$work/steps"
    {
        printf '%-20s %4s s   %s\n' "$name" $((SECONDS - begun)) "$(outcome "$status")"
        if [[ $status != 0 ]]; then grep -E 'FAIL|ERROR|BLOCKED|Error|hazard' "$out/$name.txt" | head -20; fi
    } | tee -a "$out/summary.txt"
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
: >"$work/steps"
# Real shapes: synthetic twins, whose weights cost as much as the originals'.
twin() {
    [[ -e $work/0.5b-$1.gguf ]] || "$qa" model synth --preset 0.5b --quant "$1" --output "$work/0.5b-$1.gguf"
}
start() {
    twin q4_k_m && "$qa" selftest gpu --only start --model "$work/0.5b-q4_k_m.gguf" --json "$out/start.json"
}
# Up to a depth of 4,096.
logits() {
    twin "$1" && "$qa" selftest gpu --only text --quick --model "$work/0.5b-$1.gguf" --json "$out/twin-$1.json"
}
export qa work out
export -f twin start logits

# By themselves: a start and what llama.cpp decodes are timed, and a soak looks at the card's memory.
step start 90 bash -c start
if [[ $(cat "$work/steps") == "start 13 "* ]]; then
    cat "$out/start.txt"
    exit 13
fi

step soak 120 "$qa" selftest gpu --only soak --json "$out/soak.json"
if [[ -n ${QA_LLAMA_CPP:-} ]]; then
    step agreement 300 "$qa" run specs/agreement.yaml --out "$out/agreement"
else
    skip agreement "QA_LLAMA_CPP names no llama.cpp"
fi

# What follows is not timed, so what waits for processors and what waits for the card run beside each other.
operations() {
    step operations 300 "$qa" selftest gpu --json "$out/selftest.json" \
        --only operations --only attention --only faults --only text
}

twins() {
    local quantization
    for quantization in q4_k_m q8_0 f16; do step "twin-$quantization" 400 bash -c "logits $quantization"; done
}

# Prompts, with either way of computing their tiles and either cache. Then tokens drawn at random, by every set of switches
# with either cache, against what the CPU draws.
examples() {
    local examples
    examples=$(dirname "$qa")/examples
    if [[ ! -x $examples/prompt_check || ! -x $examples/draw_check ]]; then
        skip prompts "there is no prompt_check or draw_check in $examples: cargo build --release --examples"
        return
    fi
    step prompts 120 "$examples/prompt_check" synth:tiny:f16 synth:tiny:q8_0 synth:tiny:q4_k_m
    step prompts-warp 120 "$examples/prompt_check" --warp synth:tiny:q4_k_m
    step prompts-q8_0 120 "$examples/prompt_check" --int8-cache synth:tiny:q4_k_m
    step draws 120 "$examples/draw_check"
}

# Sanitizers watch every access of a short decode under every set of switches.
sanitizers() {
    local tool
    if ! command -v compute-sanitizer >/dev/null; then
        skip sanitizers "compute-sanitizer is not on the PATH"
        return
    fi
    for tool in memcheck racecheck synccheck; do
        step "$tool" 200 compute-sanitizer --error-exitcode 1 --tool "$tool" "$qa" selftest gpu --only brief
    done
}

for lane in operations twins examples sanitizers; do "$lane" & done
wait

{
    printf '{\n  "date": "%s",\n  "host": "%s",\n' "$(date --utc +%FT%TZ)" "$(uname -srm)"
    printf '  "gpu": "%s",\n' "$(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null)"
    printf '  "commit": "%s",\n' "$(git describe --always --dirty --abbrev=40 2>/dev/null)"
    printf '  "program": "%s",\n  "steps": [\n' "$("$qa" --version)"
    awk '{ printf "%s    {\"name\": \"%s\", \"status\": %s, \"seconds\": %s}", (NR > 1 ? ",\n" : ""), $1, $2, $3 } END { print "" }' "$work/steps"
    printf '  ]\n}\n'
} >"$out/record.json"

awk '$2 != 0 { failed = 1 } END { exit failed }' "$work/steps"

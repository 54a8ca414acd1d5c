#!/bin/sh
# Everything that needs a card, in one go: gpu-check.sh BINARY FOLDER, where BINARY is the built example `gpu_check` of
# qa-native, with `prompt_check` beside it, and FOLDER holds the tiny-coder models. Checks come first; a speed is only printed for output that was checked
# in the same process.
set -eu
binary=$1
models=$2
prompts=$(dirname "$binary")/prompt_check
for model in f16 q8_0 q4_k_m; do
    "$binary" "$models/tiny-coder-$model.gguf"
done
"$binary" --quick --float "$models/tiny-coder-q4_k_m.gguf"
"$binary" --int8-cache "$models/tiny-coder-q4_k_m.gguf"
for model in f16 q8_0 q4_k_m; do
    "$prompts" "$models/tiny-coder-$model.gguf"
done
"$prompts" --warp "$models/tiny-coder-q4_k_m.gguf"
"$prompts" --int8-cache "$models/tiny-coder-q4_k_m.gguf"
"$prompts" --time synth:0.5b:q4_k_m synth:1.5b:q4_k_m
"$binary" --time synth:0.5b:q4_k_m
for model in 0.5b:q8_0 0.5b:f16 1.5b:q4_k_m; do
    "$binary" --time --quick "synth:$model"
done
if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck synccheck; do
        compute-sanitizer --error-exitcode 1 --tool "$tool" "$binary" --quick "$models/tiny-coder-q4_k_m.gguf"
        compute-sanitizer --error-exitcode 1 --tool "$tool" "$prompts" "$models/tiny-coder-q4_k_m.gguf"
    done
else
    echo "skipped: compute-sanitizer is not on the PATH"
fi

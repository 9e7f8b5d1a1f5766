#!/usr/bin/env bash
# bench_coop.sh CHECKPOINT [ROUNDS [THREADS]] - a step of CoOp with 16 context vectors on 32 pictures and 100 classes, Tessera against
# PyTorch on the same file and machine, in turns, so that both meet the same weather: ROUNDS times (3) each with THREADS (all
# cores), medians of the rounds' medians and their ratio. PyTorch computes all 77 places of a prompt, as CoOp's code does; Tessera
# stops at the longest prompt's end, here the 23rd place. For what of the ratio is due to that, PyTorch is measured with 23 places too.
# Tessera's figures are `tessera clip tune coop`'s own and hold the reading and cropping of pictures, PyTorch's have them given.
#   TESSERA   the program (build/tessera)
#   PYTHON    a Python with torch (python3; Debian: python3-torch, and libopenblas0-pthread, without which it computes in plain loops)
#   CLASSES   how many (100)
# A full-size file with random weights: tests/reference/make_full_clip.py.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
if [ $# -lt 1 ] || [ $# -gt 3 ]; then sed -n '2,10s/^# //p' "$0" >&2; exit 2; fi
checkpoint=$1 rounds=${2:-3} threads=${3:-$(nproc)}
tessera=${TESSERA:-$here/../../build/tessera}
python=${PYTHON:-python3}
classes=${CLASSES:-100}
context=16 images=32

# PyTorch frees and asks again for large pieces: glibc is told to keep them, or a fifth of the time goes into clearing pages.
export MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=4294967296 MALLOC_TOP_PAD_=268435456

results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
"$python" "$here/make_classes.py" "$results/data" --classes "$classes"

torch_step() { "$python" "$here/bench_coop.py" "$checkpoint" --images $images --classes "$classes" --context $context --threads "$threads" "$@"; }
# Eight steps or more, the first two of which do not count. An epoch is a picture of each class, and 64 at least.
epoch_steps=$(((classes > 64 ? classes : 64) / images))
epochs=$(((8 + epoch_steps - 1) / epoch_steps))
tessera_step() {
    local out=$results/$1
    shift
    "$tessera" clip tune coop --model "$checkpoint" --vocab "$results/data/bpe_simple_vocab_16e6.txt" --data "$results/data/split_noise.json" \
        --out "$out" --ctx $context --batch $images --epochs $epochs --threads "$threads" --device cpu \
        --workers 1 --save-every 1000000 --no-eval --quiet "$@" >/dev/null
}
for round in $(seq "$rounds"); do
    torch_step >"$results/torch.$round"
    torch_step --length $((context + 7)) >"$results/torch-cut.$round"
    tessera_step "whole.$round"
    tessera_step "given.$round" --no-augment
    echo "round $round of $rounds done" >&2
done

"$python" - "$results" "$rounds" $images "$classes" $((context + 7)) <<'PY'
import json, statistics, sys
folder, rounds, images, classes, length = sys.argv[1], *map(int, sys.argv[2:])
turns = range(1, rounds + 1)
torch = {name: [json.load(open(f"{folder}/{name}.{i}")) for i in turns] for name in ("torch", "torch-cut")}
middle = lambda name, key: statistics.median(report[key] for report in torch[name])

def ours(name):
    """Milliseconds of a step, from the logs of the tunings."""
    logs = [[json.loads(line) for line in open(f"{folder}/{name}.{i}/log.jsonl")] for i in turns]
    return statistics.median(statistics.median(images * 1e3 / step["images_per_s"] for step in log[2:]) for log in logs)

print(f"a step of CoOp, {images} pictures, {classes} classes, fp32; PyTorch {torch['torch'][0]['torch']}, {torch['torch'][0]['threads']} threads")
print(f"medians of {rounds} rounds, ms{'PyTorch, 77':>37}{f'PyTorch, {length}':>13}{'Tessera':>10}{'Tessera/PyTorch, 77':>21}{f'/PyTorch, {length}':>14}")
for title, key, name in (("both towers", "step_ms", "whole"), ("the pictures' features computed once before", "given_ms", "given")):
    a, cut, b = middle("torch", key), middle("torch-cut", key), ours(name)
    print(f"{title:46}{a:12.1f}{cut:13.1f}{b:10.1f}{b / a:21.2f}{b / cut:14.2f}")
PY

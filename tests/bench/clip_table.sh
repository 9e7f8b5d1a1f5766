#!/usr/bin/env bash
# clip_table.sh [OUT] - what each method of `tessera clip tune` learns: a small CLIP, twelve classes of shapes and textures drawn otherwise
# than the scenes that it was trained on, every method with seeds 1, 2 and 3, and a Markdown table of the accuracy on pictures that no
# tuning saw, the zero-shot classifier's beside it. All goes into OUT (clip_table); what is there already is not made again.
#   TESSERA   the program (build/tessera)
#   MODEL     a CLIP with its vocabulary beside it; else a small one is trained: 13 minutes on one thread
#   METHODS   only these ("coop vp-random")
#   CHOOSE    1: measure on other pictures, those that the settings below were chosen on
#   THREADS   of the processor (1)
#   PYTHON    a Python, to read the results with (python3)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
if [ $# -gt 1 ]; then sed -n '2,10s/^# //p' "$0" >&2; exit 2; fi
out=${1:-clip_table}
tessera=${TESSERA:-$here/../../build/tessera}
python=${PYTHON:-python3}
threads=${THREADS:-1}
model=${MODEL:-$out/run/model.safetensors}
read -r -a methods <<<"${METHODS:-coop cocoop vp-padding vp-fixed vp-random reprogram vpt-shallow vpt-deep upt maple}"

# Chosen by accuracy on pictures that are neither trained nor tested on, from a few settings each. The papers' rates are for models a
# hundred times as large and pictures of 224 pixels.
declare -A settings=(
    [coop]="--epochs 20 --lr 0.02"
    [cocoop]="--epochs 4 --lr 0.02"
    [vp-padding]="--epochs 4 --batch 50 --pixels 8 --lr 2 --weight-decay 0.002"
    [vp-fixed]="--epochs 4 --batch 25 --pixels 48 --lr 1 --weight-decay 0.002"
    [vp-random]="--epochs 4 --batch 25 --pixels 56 --lr 0.5 --weight-decay 0.01"
    [reprogram]="--epochs 12 --batch 50 --pixels 56 --lr 0.02"
    [vpt-shallow]="--epochs 4 --batch 25 --tokens 8 --lr 0.1"
    [vpt-deep]="--epochs 4 --batch 25 --tokens 8 --lr 0.1"
    [upt]="--epochs 4 --lr 0.01"
    [maple]="--epochs 4 --lr 0.01"
)

# draw NAME OPTIONS: pictures under OUT/NAME, whole or not at all.
draw() {
    local folder=$out/$1
    shift
    [ -e "$folder" ] && return
    rm -rf "$folder.part"
    "$tessera" figures "$1" "$folder.part" "${@:2}"
    mv "$folder.part" "$folder"
}

mkdir -p "$out"
if [ ! -e "$model" ]; then
    draw scenes --captions --count 40000 --seed 1
    "$tessera" clip train --data "$out/scenes" --out "$out/run" --resume --steps 3600 --lr 1e-3 --fp16 --seed 1 --threads "$threads"
fi

# Of each class 400 pictures to train on, from which a seed draws 300; 100 to choose settings by; and, drawn apart, 200 to test on.
draw drawn --classes --count 400 --tests 100 --shift 0.5 --seed 11
draw fresh --classes --count 1 --tests 200 --shift 0.5 --seed 13
if [ "${CHOOSE:-0}" = 1 ]; then part=choose test=drawn; else part=final test=fresh; fi
mkdir -p "$out/$part"
ln -sfn ../drawn/train "$out/$part/train"
ln -sfn "../$test/test" "$out/$part/test"

# No random crops: they cut small shapes off.
for method in "${methods[@]}"; do
    [ -e "$out/$part/$method.json" ] && continue
    read -r -a own <<<"${settings[$method]}"
    "$tessera" clip tune "$method" --model "$model" --data "$out/$part" --out "$out/$part/$method" --resume --shots 300 --seeds 1,2,3 \
        --no-augment --save-every 500 --threads "$threads" --json "${own[@]}" >"$out/$part/$method.json.part"
    mv "$out/$part/$method.json.part" "$out/$part/$method.json"
done

rows=()
for method in "${methods[@]}"; do rows+=("$method" "$out/$part/$method.json" "${settings[$method]}"); done
"$python" - "${rows[@]}" <<'PY'
import json, statistics, sys
words = sys.argv[1:]
print("| method | settings | zero-shot | tuned | deviation | of each seed |\n|---|---|---|---|---|---|")
for method, path, settings in zip(words[::3], words[1::3], words[2::3]):
    result = json.load(open(path))
    tuned = [100 * run["accuracy"] for run in result["runs"]]
    zero, each = 100 * result["zero_shot"]["accuracy"], ", ".join(f"{t:.1f}" for t in tuned)
    print(f"| `{method}` | `{settings}` | {zero:.1f} | {statistics.mean(tuned):.1f} | {statistics.stdev(tuned):.1f} | {each} |")
PY

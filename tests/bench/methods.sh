#!/usr/bin/env bash
# methods.sh [TASK] [TRIALS] [FOLDER] - what can be done with a model besides asking it plainly, measured: arrangements, retrieval, a
# learned border, fusion, task vectors, guidance, steps. Draws twice TRIALS (400) pairs of a task (segment) of shapes, colours and sizes
# that the default model's training never had; learns on the first half, measures on the second, and prints a table with the bounds that
# 95 of 100 samples lie in. About an hour on two cores for 400. What is in FOLDER already is not done again.
#   PROGRAM   the program (build/tessera)
#   MODEL     the model (assets/default.safetensors)
#   SEED      of the pairs (2)
set -euo pipefail
cd "$(dirname "$0")/../.."
task=${1:-segment} trials=${2:-400} work=${3:-$(mktemp -d)}
program=${PROGRAM:-build/tessera} model=${MODEL:-assets/default.safetensors} seed=${SEED:-2}
mkdir -p "$work"

if [ ! -d "$work/test" ]; then
    "$program" figures -Q --pairs "$work/train" --tasks "$task" --held-out --size 78 --count $((2 * trials)) --seed "$seed" >/dev/null
    mkdir "$work/half"
    for ((i = trials; i < 2 * trials; i++)); do mv "$work/train/$(printf %05d $i)"*.png "$work/half"; done
    mv "$work/half" "$work/test"
fi

# A row of the table: name, then options of `eval pairs`. One view a canvas, so that methods and not views are compared.
row() {
    local name=$1 log=$work/${1//[^A-Za-z0-9]/_}.json
    shift
    if [ ! -s "$log" ]; then
        "$program" eval pairs "$work/test" --model "$model" --views 1 --seed "$seed" -Q --json "$@" >"$log.part"
        mv "$log.part" "$log"
    fi
    "${PYTHON:-python3}" - "$name" "$log" "$*" <<'PY'
import json, sys
name, path, options = sys.argv[1:]
scores = json.load(open(path))["scores"]
def figure(who):
    s = scores[who].get("iou_all") or scores[who]["mse"]
    digits = 3 if "iou_all" in scores[who] else 4
    return f"{s['mean']:.{digits}f} ({s['low']:.{digits}f} to {s['high']:.{digits}f})"
if name == "plain":
    for who in ("copy_query", "copy_example", "right_codes"):
        if who in scores: print(f"| {who.replace('_', ' ')} | | {figure(who)} |")
print(f"| {name} | `{options}` | {figure('model')} |")
PY
}

learn() { # FILE COMMAND...: what is learned once
    local file=$1
    shift
    [ -e "$file" ] || "$program" "$@" -Q >/dev/null
}

echo "| method | options of eval pairs | $task: intersection over union, or mean squared error |"
echo "|---|---|---|"
row plain --examples 1
row "three examples" --examples 3
row "arrangements, mean" --ensemble mean
row "arrangements, vote" --ensemble vote
row "most alike by the model" --examples "$work/train" --top 1 --by mae
row "most alike place by place" --examples "$work/train" --top 1 --by pixels
row "three most alike" --examples "$work/train" --top 3 --by pixels
for w in 1.5 2 3; do row "guidance $w" --guide $w; done
for t in 2 5; do row "steps $t" --steps $t; done
learn "$work/border/border.safetensors" tune border "$work/train" --model "$model" --out "$work/border" --epochs "${EPOCHS:-10}"
row border --border "$work/border/border.safetensors"
learn "$work/fusion/fusion.safetensors" tune fusion "$work/train" --model "$model" --out "$work/fusion" --epochs "${EPOCHS:-10}"
row "fusion of four" --examples 4 --fusion "$work/fusion/fusion.safetensors"
learn "$work/retriever/retriever.safetensors" tune retriever "$work/train" --model "$model" --out "$work/retriever"
row "most alike by a retriever" --examples "$work/train" --top 1 --by "$work/retriever/retriever.safetensors"
learn "$work/task.safetensors" tune task "$work/train" --model "$model" -o "$work/task.safetensors"
row "task vectors" --task "$work/task.safetensors"
learn "$work/searched.safetensors" tune task "$work/train" --model "$model" -o "$work/searched.safetensors" --search \
    --steps "${SEARCH_STEPS:-50}"
row "task vectors, searched" --task "$work/searched.safetensors"

#!/usr/bin/env bash
# bench_open.sh MODEL [ROUNDS] - how long a model takes from its file to the device: MODEL as it is (the .pth of
# tests/reference/make_full_model.py, say), and converted to safetensors of fp32, fp16 and bf16. In each round each file is opened once,
# after a first time that brings it into memory; medians of `ms.load` of a `run`, in milliseconds, with the least and the most. The
# answer's own time is the same for all and not counted. Where a second program is named by OTHER, its figures stand beside.
set -euo pipefail
cd "$(dirname "$0")/../.."

model=${1:?MODEL}
rounds=${2:-5}
programs=("${PROGRAM:-build/tessera}" ${OTHER:+"$OTHER"})
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

ln -s "$(realpath "$model")" "$folder/as-it-is"
for dtype in fp32 fp16 bf16; do
    "${programs[0]}" model convert -Q "$model" "$folder/$dtype" --dtype $dtype >/dev/null
done

pictures=assets/demo/segment
for ((round = 0; round <= rounds; round++)); do
    for file in as-it-is fp32 fp16 bf16; do
        for ((p = 0; p < ${#programs[@]}; p++)); do
            ms=$("${programs[p]}" run --quiet --json --device cpu --model "$folder/$file" -e $pictures/in.png $pictures/out.png \
                -q $pictures/query.png -o "$folder/answer.png" | sed -n 's/.*"load":[^0-9]*\([0-9.]*\).*/\1/p')
            [ $round -eq 0 ] || echo "$file $p $ms" >>"$folder/times"
        done
    done
done
for file in as-it-is fp32 fp16 bf16; do
    for ((p = 0; p < ${#programs[@]}; p++)); do
        LC_ALL=C grep "^$file $p " "$folder/times" | sort -k3 -n | awk -v name="$file" -v program="${programs[p]}" \
            '{ t[NR] = $3 } END { printf "%-9s %8.0f ms (%.0f to %.0f)  %s\n", name, t[int((NR + 1) / 2)], t[1], t[NR], program }'
    done
done

#!/usr/bin/env bash
# bench_strokes.sh [PHOTOS [ROUNDS [THREADS]]] - models from strokes in Tessera against scikit-image's trainable segmentation with a random
# forest, on the same pictures and strokes, in turns in one run: mean intersection over union, and seconds of the wall from the strokes
# to the mask. Ours are those of two processes, `strokes train` and `strokes apply`, start, reading and writing included; scikit-image's
# are features, fit and prediction alone. Pictures: those of PHOTOS (../shared/data/photos) with their masks, and scikit-image's own test
# pictures, by bench_strokes.py, which draws the strokes inside the masks.
#   PROGRAM   tessera (build/tessera)
#   PYTHON    a Python with scikit-image and scikit-learn (python3; Debian: python3-skimage, python3-sklearn)
#   TRAIN, APPLY   further options of the two commands ("--hidden 16", "--smooth 4")
#   ONLY      a word: pictures whose name holds it
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
case "${1-}" in -h | --help) sed -n '2,12s/^# //p' "$0"; exit ;; esac
photos=${1:-$here/../../../shared/data/photos}
rounds=${2:-1} threads=${3:-$(nproc)}
program=${PROGRAM:-$here/../../build/tessera}
python=${PYTHON:-python3}
read -r -a train <<<"${TRAIN:-}"
read -r -a apply <<<"${APPLY:-}"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" "$here/bench_strokes.py" draw "$photos" "$work/pairs" "${ONLY:-}"
export OMP_NUM_THREADS=$threads
seconds() { date +%s.%N; }
for round in $(seq "$rounds"); do
    for strokes in "$work"/pairs/*_strokes.png; do
        name=$(basename "$strokes" _strokes.png)
        picture=$work/pairs/$name.png
        "$python" "$here/bench_strokes.py" forest "$picture" "$strokes" "$work/$name.forest.png" "$threads" >>"$work/$name.forest"
        start=$(seconds)
        "$program" strokes train -p "$picture" "$strokes" -o "$work/$name.strokes" --device cpu --threads "$threads" -Q "${train[@]}" >"$work/said"
        middle=$(seconds)
        "$program" strokes apply "$work/$name.strokes" "$picture" -o "$work/$name.ours.png" --device cpu --threads "$threads" -Q "${apply[@]}" >"$work/said"
        echo "$start $middle $(seconds)" >>"$work/$name.ours"
    done
    echo "round $round of $rounds done" >&2
done
"$python" "$here/bench_strokes.py" table "$work"

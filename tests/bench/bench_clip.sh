#!/usr/bin/env bash
# bench_clip.sh CHECKPOINT [ROUNDS [THREADS]] [-- OPTIONS OF BOTH] - CLIP's towers in Tessera against PyTorch on the same file and
# machine, in turns, so that both meet the same weather: ROUNDS times (3) each with THREADS (all cores), medians of the rounds'
# medians and their ratio. The text tower is measured twice: PyTorch's callers run all 77 tokens of a text, Tessera up to its end.
#   PROGRAM   bench_clip, built by `ninja bench_clip` (build/tests/bench_clip)
#   PYTHON    a Python with torch (python3; Debian: python3-torch, and libopenblas0-pthread, without which it computes in plain loops)
#   BENCH     options of bench_clip.py alone ("--device cuda --precision fp16")
#   OURS      options of bench_clip alone ("--device vulkan:0 --precision fp16")
#   WORDS     tokens of a text with start and end (16)
# A full-size file with random weights: tests/reference/make_full_clip.py.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 1 ] || { sed -n '2,11s/^# //p' "$0" >&2; exit 2; }
checkpoint=$1
shift
rounds=3 threads=$(nproc)
if [ $# -gt 0 ] && [ "$1" != -- ]; then rounds=$1; shift; fi
if [ $# -gt 0 ] && [ "$1" != -- ]; then threads=$1; shift; fi
if [ "${1:-}" = -- ]; then shift; fi
program=${PROGRAM:-$here/../../build/tests/bench_clip}
python=${PYTHON:-python3}
words=${WORDS:-16}
read -r -a bench <<<"${BENCH:-}"
read -r -a ours <<<"${OURS:-}"

# PyTorch frees and asks again for large pieces: glibc is told to keep them, or a fifth of the time goes into clearing pages.
export MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=4294967296 MALLOC_TOP_PAD_=268435456

results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
for round in $(seq "$rounds"); do
    "$python" "$here/bench_clip.py" "$checkpoint" --threads "$threads" "$@" "${bench[@]}" >"$results/torch.$round"
    "$program" "$checkpoint" --threads "$threads" "$@" "${ours[@]}" >"$results/full.$round"
    "$program" "$checkpoint" --threads "$threads" "$@" "${ours[@]}" --length "$words" --images 1 >"$results/cut.$round"
    echo "round $round of $rounds done" >&2
done

"$python" - "$results" "$rounds" "$words" <<'PY'
import json, statistics, sys
folder, rounds, words = sys.argv[1], int(sys.argv[2]), sys.argv[3]
load = lambda who: [json.load(open(f"{folder}/{who}.{i}")) for i in range(1, rounds + 1)]
torch, full, cut = load("torch"), load("full"), load("cut")
print(f"PyTorch {torch[0]['torch']} on {torch[0]['device']}, {torch[0]['threads']} threads, {torch[0]['precision']}")
print(f"Tessera on {full[0]['device']}, {full[0]['precision']}; medians of {rounds} rounds, ms")
print(f"{'':28}{'PyTorch':>10}{'Tessera':>10}{'Tessera/PyTorch':>17}")
middle = lambda reports, key: statistics.median(r[key] for r in reports)
for clock, title in (("_ms", ""), ("_cpu_ms", ", time of the processor")):
    for name, theirs, ours, key in (("images", torch, full, "images"), ("texts of 77 tokens", torch, full, "texts"),
                                    (f"texts of {words} tokens", torch, cut, "texts")):
        a, b = middle(theirs, key + clock), middle(ours, key + clock)
        print(f"{(name + title):45.45}{a:10.1f}{b:10.1f}{b / a:10.2f}")
PY

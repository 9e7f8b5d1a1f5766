#!/usr/bin/env bash
# bench_sam.sh SAM.pth|SEGGPT.pth [ROUNDS [THREADS]] - a Segment Anything's encoder and decoder, or a SegGPT's pair, in Tessera against PyTorch on
# the same file and machine, in turns, so that both meet the same weather: ROUNDS times (3) each with THREADS (all cores), medians of
# the rounds' medians and their ratio, and the memory that each took beyond the weights at its peak.
#   PROGRAM   bench_sam, built by `ninja bench_sam` (build/tests/bench_sam)
#   PYTHON    a Python with torch (python3; Debian: python3-torch, and libopenblas0-pthread, without which it computes in plain loops)
#   RUNS      runs in a round that count (3)
#   BENCH     options of bench_sam.py alone ("--device cuda --precision fp16")
#   OURS      options of bench_sam alone ("--device vulkan:0 --precision fp16")
# Full-size files with random weights: tests/reference/make_full_map_model.py.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 1 ] || { sed -n '2,10s/^# //p' "$0" >&2; exit 2; }
file=$1
rounds=${2:-3} threads=${3:-$(nproc)} runs=${RUNS:-3}
program=${PROGRAM:-$here/../../build/tests/bench_sam}
python=${PYTHON:-python3}
read -r -a bench <<<"${BENCH:-}"
read -r -a ours <<<"${OURS:-}"

results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
for round in $(seq "$rounds"); do
    # PyTorch frees and asks again for large pieces: glibc is told to keep them, or a fifth of the time goes into clearing pages.
    MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=4294967296 MALLOC_TOP_PAD_=268435456 \
        "$python" "$here/bench_sam.py" "$file" --threads "$threads" --runs "$runs" "${bench[@]}" >"$results/torch.$round"
    "$program" "$file" --threads "$threads" --runs "$runs" "${ours[@]}" >"$results/tessera.$round"
    echo "round $round of $rounds done" >&2
done

"$python" - "$results" "$rounds" <<'PY'
import json, statistics, sys
folder, rounds = sys.argv[1], int(sys.argv[2])
load = lambda who: [json.load(open(f"{folder}/{who}.{i}")) for i in range(1, rounds + 1)]
torch, ours = load("torch"), load("tessera")
print(f"PyTorch {torch[0]['torch']} on {torch[0]['device']}, {torch[0]['threads']} threads, {torch[0]['precision']}")
print(f"Tessera on {ours[0]['device']}, {ours[0]['precision']}; medians of {rounds} rounds, ms")
print(f"{'':45}{'PyTorch':>10}{'Tessera':>10}{'Tessera/PyTorch':>17}")
middle = lambda reports, key: statistics.median(r[key] for r in reports)
for clock, title in (("_ms", ""), ("_cpu_ms", ", time of the processor")):
    for key, name in (("encoder", "encoder"), ("one", "decoder, one point"), ("many", "decoder, 64 points"), ("pair", "one pair")):
        if key + clock in ours[0]:
            a, b = middle(torch, key + clock), middle(ours, key + clock)
            print(f"{name + title:45}{a:10.1f}{b:10.1f}{b / a:10.2f}")
a, b = middle(torch, "peak_mb"), middle(ours, "peak_mb")
print(f"{'memory beyond the weights, MB':45}{a:10.0f}{b:10.0f}{b / a:10.2f}")
PY

#!/usr/bin/env bash
# bench_train.sh [ROUNDS] [THREADS] [-- OPTIONS OF tessera bench] - a training step of the masked autoencoder, Tessera against PyTorch
# on the same cores, in turns, so that both meet the same weather: ROUNDS times (3) each, with THREADS threads (all cores). Measured
# on either side: a batch of 32 pictures and given labels in, forward, backward, AdamW, the loss out; the sizes of
# `tessera train mae --preset tiny`. Printed are the medians of the rounds' medians and their ratio.
#   TESSERA   the program (build/tessera)
#   PYTHON    a Python with torch (python3; Debian: python3-torch, and libopenblas0-pthread, without which it computes in plain loops)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
rounds=3
threads=$(nproc)
if [[ ${1:-} =~ ^[0-9]+$ ]]; then rounds=$1; shift; fi
if [[ ${1:-} =~ ^[0-9]+$ ]]; then threads=$1; shift; fi
if [ "${1:-}" = -- ]; then shift; elif [ $# -gt 0 ]; then sed -n '2,8s/^# //p' "$0" >&2; exit 2; fi
tessera=${TESSERA:-$here/../../build/tessera}
python=${PYTHON:-python3}

results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
for round in $(seq "$rounds"); do
    "$python" "$here/bench_train.py" --threads "$threads" >"$results/torch.$round"
    "$tessera" bench --quiet --json --only train --device cpu --threads "$threads" --budget 2000 "$@" >"$results/tessera.$round"
    echo "round $round of $rounds done" >&2
done

"$python" - "$results" "$rounds" <<'PY'
import json, statistics, sys
folder, rounds = sys.argv[1], int(sys.argv[2])
load = lambda who: [json.load(open(f"{folder}/{who}.{i}")) for i in range(1, rounds + 1)]
torch, tessera = load("torch"), load("tessera")
step = [r["training"][0] for r in tessera]
print("one training step: encoder 256x6x8 on 49 of 196 patches, decoder 192x4x6, 1024 codes, batch 32, fp32, labels given;")
print("forward, backward, AdamW; Tessera also counts the right labels")
print(f"PyTorch {torch[0]['torch']}, AdamW {torch[0]['adamw']}; Tessera on {tessera[0]['device']}; {torch[0]['threads']} threads")
print(f"medians of {rounds} rounds, ms")
print(f"{'':36}{'PyTorch':>9}{'Tessera':>9}{'Tessera/PyTorch':>17}")
for title, key in (("by the clock", "ms"), ("processor's time, threads together", "cpu_ms")):
    a, b = (statistics.median(r[key] for r in rows) for rows in (torch, step))
    print(f"{title:36}{a:9.1f}{b:9.1f}{b / a:17.2f}")
PY

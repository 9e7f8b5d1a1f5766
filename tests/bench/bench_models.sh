#!/usr/bin/env bash
# bench_models.sh CHECKPOINT [ROUNDS] [-- OPTIONS OF tessera bench] - Tessera against PyTorch on the same file and machine, in
# turns, so that both meet the same weather: ROUNDS times (3) each, medians of the rounds' medians and their ratio.
#   TESSERA   the program (build/tessera)
#   PYTHON    a Python with torch (python3; Debian: python3-torch, and libopenblas0-pthread, without which it computes in plain loops)
#   BENCH     options of bench_pytorch.py ("--device cuda --precision fp16")
# A full-size file with random weights: tests/reference/make_full_model.py.
# GPU against GPU:  BENCH="--device cuda" bench_models.sh full.pth 3 -- --device vulkan:0
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 1 ] || { sed -n '2,8s/^# //p' "$0" >&2; exit 2; }
checkpoint=$1
shift
rounds=3
if [ $# -gt 0 ] && [ "$1" != -- ]; then rounds=$1; shift; fi
if [ "${1:-}" = -- ]; then shift; fi
tessera=${TESSERA:-$here/../../build/tessera}
python=${PYTHON:-python3}
read -r -a bench <<<"${BENCH:-}"

results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
for round in $(seq "$rounds"); do
    "$python" "$here/bench_pytorch.py" "$checkpoint" "${bench[@]}" >"$results/torch.$round"
    "$tessera" bench --quiet --json --model "$checkpoint" --budget 1000 "$@" >"$results/tessera.$round"
    echo "round $round of $rounds done" >&2
done

"$python" - "$results" "$rounds" <<'PY'
import json, statistics, sys
folder, rounds = sys.argv[1], int(sys.argv[2])
load = lambda who: [json.load(open(f"{folder}/{who}.{i}")) for i in range(1, rounds + 1)]
torch, tessera = load("torch"), load("tessera")
named = lambda report, word: next(m["ms"] for m in report["models"] if m["name"].startswith(word))
rows = [("MAE", [r["mae_ms"] for r in torch], [named(r, "MAE") for r in tessera]),
        ("VQGAN decoder", [r["decode_ms"] for r in torch], [named(r, "VQGAN decoder") for r in tessera])]
rows.append(("both", [a + b for a, b in zip(rows[0][1], rows[1][1])], [a + b for a, b in zip(rows[0][2], rows[1][2])]))
print(f"PyTorch {torch[0]['torch']} on {torch[0]['device']}, {torch[0]['threads']} threads, {torch[0]['precision']}")
print(f"Tessera on {tessera[0]['device']}, {tessera[0]['precision']}; medians of {rounds} rounds, ms")
print(f"{'':15}{'PyTorch':>10}{'Tessera':>10}{'Tessera/PyTorch':>17}")
for name, a, b in rows:
    a, b = statistics.median(a), statistics.median(b)
    print(f"{name:15}{a:10.1f}{b:10.1f}{b / a:17.2f}")
PY

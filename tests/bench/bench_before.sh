#!/usr/bin/env bash
# bench_before.sh OLD NEW [ROUNDS] [-- OPTIONS OF tessera bench] - two builds of the program against each other, in turns, so that both
# meet the same weather: ROUNDS times (3) `tessera bench` each, and for every kernel and model that both know the least processor time
# of all rounds and the ratio, new to old. Fails where the median ratio of the kernels, or that of a model, is above 1.03.
#   PYTHON    a Python (python3)
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,6s/^# //p' "$0" >&2; exit 2; }
old=$1 new=$2 rounds=3
shift 2
if [ $# -gt 0 ] && [ "$1" != -- ]; then rounds=$1; shift; fi
if [ "${1:-}" = -- ]; then shift; fi

results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
for round in $(seq "$rounds"); do
    # Whoever comes second in a round has been seen a few percent slower, whichever build it was: they take turns at it.
    both=(old new)
    [ $((round % 2)) = 1 ] || both=(new old)
    for who in "${both[@]}"; do "${!who}" bench --quiet --json "$@" >"$results/$who.$round"; done
    echo "round $round of $rounds done" >&2
done

"${PYTHON:-python3}" - "$results" "$rounds" <<'PY'
import json, statistics, sys
folder, rounds = sys.argv[1], int(sys.argv[2])

def least(who):
    """Kernel or model -> the least ms of the processor, all rounds together."""
    best = {}
    for i in range(1, rounds + 1):
        report = json.load(open(f"{folder}/{who}.{i}"))
        for kind in ("kernels", "models"):
            for item in report.get(kind, []):
                key = (kind, item["name"], item.get("shape", ""))
                best[key] = min(best.get(key, 1e30), item.get("cpu_ms") or item["ms"])
    return best

old, new = least("old"), least("new")
ratios = {key: new[key] / old[key] for key in old if key in new}
for key, ratio in sorted(ratios.items(), key=lambda item: -item[1]):
    print(f"{ratio:6.3f}  {old[key]:10.3f} {new[key]:10.3f} ms  {key[1]} {key[2]}")
kernels = [r for key, r in ratios.items() if key[0] == "kernels"]
models = [r for key, r in ratios.items() if key[0] == "models"]
if kernels: print(f"kernels: median {statistics.median(kernels):.3f} of {len(kernels)}")
sys.exit((kernels and statistics.median(kernels) > 1.03) or any(r > 1.03 for r in models))
PY

#!/usr/bin/env bash
# bench_busy.sh [RUNS] - a `tessera run` alone, and beside as many busy loops as there are cores: the least time of each, and how many
# times as long the second takes; fails above 2.2. Half the processor is then another's, so that 2 is fair. For a machine where nothing
# else runs; PROGRAM says which program, build/tessera otherwise.
set -euo pipefail
cd "$(dirname "$0")/../.."

runs=${1:-5}
program=${PROGRAM:-build/tessera}
folder=$(mktemp -d)
loops=()
cleanup() {
    [ ${#loops[@]} -eq 0 ] || kill "${loops[@]}" 2>/dev/null || true
    rm -rf "$folder"
}
trap cleanup EXIT

# Seconds of the clock and of the processor, the least and the median of all runs.
measure() {
    local TIMEFORMAT='%R %U' pictures=assets/demo/segment
    for ((i = 0; i < runs; i++)); do
        { time "$program" run --quiet --device cpu -e $pictures/in.png $pictures/out.png -q $pictures/query.png \
            -o "$folder/answer.png" >/dev/null; } 2>&1
    done | LC_ALL=C sort -n | awk '{ s[NR] = $1; u += $2 } END { m = s[int((NR + 1) / 2)]; printf "%s %s %.2f\n", s[1], m, u / NR }'
}

read -r quiet quiet_median quiet_cpu < <(measure)
for ((k = 0; k < $(nproc); k++)); do
    while :; do :; done &
    loops+=($!)
done
read -r busy busy_median busy_cpu < <(measure)
echo "alone:             least $quiet s, median $quiet_median s, $quiet_cpu s of the processor"
echo "beside busy loops: least $busy s, median $busy_median s, $busy_cpu s of the processor"
awk -v a="$quiet_median" -v b="$busy_median" 'BEGIN { printf "%.2f times as long (2.2 allowed)\n", b / a; exit b / a > 2.2 }'

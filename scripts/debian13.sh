#!/usr/bin/env bash
# debian13.sh [FOLDER] [--all] - the two commands of README.md on Debian 13, tried in a chroot on another Debian: a small trixie from
# this machine's own mirror, a copy of the tree, ./demo.sh and ./test.sh (with --all: ./test.sh --all). Needs root and debootstrap.
# The system stays in FOLDER (build/trixie), so that the next try is quick; delete it with `rm -r --one-file-system`.
set -euo pipefail
cd "$(dirname "$0")/.."

root=$PWD/build/trixie
depth=()
for word in "$@"; do
    case $word in
    --all) depth=(--all) ;;
    *) root=$word ;;
    esac
done
[ "$(id -u)" -eq 0 ] || { echo "A chroot needs root" >&2; exit 1; }
scripts/packages.sh debootstrap

# The first Debian mirror that apt knows, in either of its two formats; not the one of security updates.
mirror=$({ cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null || true; } |
    sed -nE '/^(URIs:|deb( \[[^]]*\])?) +([a-z]+:[^ ]*\/debian\/?)( .*)?$/ { s//\3/p; q }')
[ -n "$mirror" ] || { echo "No Debian mirror is found in /etc/apt" >&2; exit 1; }

if [ ! -e "$root/etc/debian_version" ]; then
    mkdir -p "$root"
    debootstrap --variant=minbase --include=ca-certificates,git trixie "$root" "$mirror"
fi
# How this machine reaches the network holds inside too.
cp -L /etc/resolv.conf "$root/etc/resolv.conf"
[ ! -e /etc/apt/apt.conf ] || cp /etc/apt/apt.conf "$root/etc/apt/apt.conf"
for part in /etc/apt/apt.conf.d/*[Pp]roxy*; do [ ! -e "$part" ] || cp "$part" "$root/etc/apt/apt.conf.d/"; done

mounted=()
cleanup() { for at in "${mounted[@]}"; do umount "$at"; done; }
trap cleanup EXIT
for at in proc dev; do
    mountpoint -q "$root/$at" && continue
    if [ $at = proc ]; then mount -t proc proc "$root/proc"; else mount --rbind /dev "$root/dev" && mount --make-rslave "$root/dev"; fi
    mounted=("$root/$at" "${mounted[@]}")
done

# The tree as git has it, changes included; what was built there last time stays.
mkdir -p "$root/srv/tessera"
find "$root/srv/tessera" -mindepth 1 -maxdepth 1 ! -name 'build*' -exec rm -rf {} +
{ git ls-files -z 2>/dev/null || find . -type f -not -path './build*' -print0; } |
    tar --null --files-from=- --ignore-failed-read -cf - | tar -xf - -C "$root/srv/tessera"
chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
    bash -ec 'cd /srv/tessera; cat /etc/debian_version; ./demo.sh; ./test.sh "$@"' debian13 "${depth[@]}"

#!/usr/bin/env bash
# packages.sh NAME... - installs the Debian packages that are not there yet; asks apt for nothing where all are. On a system
# without apt it says what is needed and leaves the rest to CMake, which names what it cannot find.
set -euo pipefail

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "No apt here. Needed, by their Debian names: $*" >&2
    exit 0
fi

missing=()
for name in "$@"; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null || true)
    [ "$status" = installed ] || missing+=("$name")
done
[ ${#missing[@]} -gt 0 ] || exit 0

root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "Install these as root, then run this again: ${missing[*]}" >&2; exit 1; }
    root=(sudo)
fi
echo "Installing: ${missing[*]}" >&2
"${root[@]}" apt-get update -q
"${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"

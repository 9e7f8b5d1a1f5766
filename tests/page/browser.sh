#!/usr/bin/env bash
# browser.sh PROGRAM FOLDER - the page of `tessera serve` in Debian's Chromium, driven by playwright-core, which npm brings into FOLDER
# once. Ends with 77, and a word why, where something for it is not there.
set -euo pipefail

program=$(realpath "$1")
folder=$2
here=$(cd "$(dirname "$0")" && pwd)

leave() { echo "skipped: $*"; exit 77; }

chromium=$(command -v chromium || true)
[ -n "$chromium" ] || leave "Chromium is not installed"
command -v node >/dev/null || leave "node is not installed"
"$program" serve --help >/dev/null 2>&1 || leave "this build has no tessera serve"

mkdir -p "$folder"
cp "$here"/package.json "$here"/*.mjs "$folder"
if [ ! -d "$folder/node_modules/playwright-core" ]; then
    command -v npm >/dev/null || leave "npm is not installed"
    npm install --prefix "$folder" --no-audit --no-fund --silent || leave "npm cannot bring playwright-core"
fi
cd "$folder"
exec node browser.mjs "$program" "$chromium" "$here/../.."

#!/usr/bin/env bash
# link.sh BUILD CMAKE CC LIBDIR - installs BUILD to a folder of its own, and builds program.c against it by what pkg-config says, asked
# as for any library: without --static, whichever kind of library was installed.
set -euo pipefail
build=$1 cmake=$2 cc=$3 libdir=$4
prefix=$(mktemp -d)
trap 'rm -rf "$prefix"' EXIT

"$cmake" --install "$build" --prefix "$prefix" >/dev/null
export PKG_CONFIG_PATH=$prefix/$libdir/pkgconfig
read -ra flags < <(pkg-config --cflags --libs tessera)
"$cc" -Wall -Werror "$(dirname "$0")/program.c" "${flags[@]}" -o "$prefix/program"
LD_LIBRARY_PATH=$prefix/$libdir "$prefix/program"

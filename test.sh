#!/usr/bin/env bash
# test.sh - the tests, from a bare Debian machine: installs what is missing, builds for use in build/ and runs the tests, in a few
# minutes. `test.sh --all` is every check there is: formatting, static analysis, builds with sanitizers and for the fuzzers, fuzzing,
# the tests of both builds; about half an hour on two cores. Stops at the first failure. ctest's summary comes last.
set -euo pipefail
cd "$(dirname "$0")"

all=false
case "${1-}" in
'') ;;
--all) all=true ;;
*)
    echo "usage: ./test.sh [--all]" >&2
    exit 2
    ;;
esac

packages=(cmake ninja-build gcc libc6-dev pkg-config zlib1g-dev libcjson-dev libstb-dev libdnnl-dev libwebp-dev
    libmicrohttpd-dev libjpeg62-turbo-dev libvulkan-dev glslang-tools mesa-vulkan-drivers vulkan-validationlayers libcmocka-dev)
if $all; then
    packages+=(clang clang-format clang-tidy cppcheck chromium)
    # For the page's tests. A node that came from elsewhere brings its own npm, and Debian's would not go with it.
    command -v node >/dev/null || packages+=(nodejs)
    command -v npm >/dev/null || packages+=(npm)
    # Without the validation layer, or without a driver to test on, half of what is checked here would be skipped in silence.
    export TESSERA_REQUIRE_VALIDATION=1
fi
scripts/packages.sh "${packages[@]}"
# The sanitizers' and fuzzers' runtime is a package named after the version of clang that this Debian has.
if $all && command -v clang >/dev/null; then scripts/packages.sh "libclang-rt-$(clang -dumpversion | cut -d. -f1)-dev"; fi

step() { printf '\n==== %s\n' "$*"; }
jobs=$(nproc)

build_release() {
    step "build: release"
    # demo.sh leaves the tests out.
    cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=Release -DTESSERA_TESTS=ON -DCMAKE_EXPORT_COMPILE_COMMANDS=ON
    cmake --build build
}

if ! $all; then
    build_release
    step "tests"
    exec ctest --test-dir build --no-tests=error --output-on-failure -j "$jobs" -LE long
fi

mapfile -t sources < <(git ls-files '*.c' '*.h' 2>/dev/null || find . -name '*.[ch]' -not -path './build*')
# The folders that hold the product: all that are not tests.
mapfile -t rooms < <(printf '%s\n' "${sources[@]}" | sed 's|^\./||; s|/.*||' | sort -u | grep -v '^tests$')

step "formatting"
clang-format --dry-run --Werror "${sources[@]}"

step "build: sanitizers"
cmake -S . -B build-sanitize -G Ninja -DCMAKE_BUILD_TYPE=Debug -DTESSERA_SANITIZE=ON
cmake --build build-sanitize

build_release

step "static analysis"
# The converter reads unaligned numbers through packed types, which cppcheck takes for plain casts.
cppcheck --quiet --error-exitcode=1 --std=c11 --inline-suppr --enable=warning,portability --suppress=missingIncludeSystem \
    --suppress=invalidPointerCast:engine/weights/convert.c -j "$jobs" -I . "${rooms[@]}"
# engine/image/stb.c is the decoder's and encoder's own code.
# A file at a time: clang-tidy 14 carries a va_list from one file into its judgement of the next.
printf '%s\n' "${sources[@]}" | grep '\.c$' | grep -vE '^(\./)?tests/|engine/image/stb\.c$' |
    xargs -P "$jobs" -n 1 timeout 600 clang-tidy --quiet -p build

step "fuzzing: 20 s each"
cmake -S . -B build-fuzz -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_COMPILER=clang -DTESSERA_FUZZ=ON
mapfile -t targets < <(basename -s .c tests/fuzz/fuzz_*.c)
cmake --build build-fuzz --target "${targets[@]}"
ctest --test-dir build-fuzz --no-tests=error --output-on-failure -j "$jobs" -R '^fuzz\.'

step "tests: sanitizers"
# What drivers and the loader keep until the process ends is not ours.
export LSAN_OPTIONS="suppressions=$PWD/tests/lsan.supp:print_suppressions=0"
# The slowest run below alone: what they use of ours is in other tests too.
ctest --test-dir build-sanitize --no-tests=error --output-on-failure -j "$jobs" -LE long

step "tests: release"
ctest --test-dir build --no-tests=error --output-on-failure -j "$jobs"

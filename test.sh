#!/usr/bin/env bash
# test.sh - every check there is, from a bare Debian machine: installs what is missing, builds with sanitizers, for the fuzzers and
# for use, and runs formatting, static analysis, fuzzing and the tests. Stops at the first failure. ctest's summary comes last.
set -euo pipefail
cd "$(dirname "$0")"

scripts/packages.sh cmake ninja-build gcc libc6-dev pkg-config zlib1g-dev libcjson-dev libstb-dev libdnnl-dev libvulkan-dev \
    glslang-tools mesa-vulkan-drivers vulkan-validationlayers libcmocka-dev clang libclang-rt-14-dev clang-format clang-tidy cppcheck

step() { printf '\n==== %s\n' "$*"; }
mapfile -t sources < <(git ls-files '*.c' '*.h' 2>/dev/null || find . -name '*.[ch]' -not -path './build*')

step "formatting"
clang-format --dry-run --Werror "${sources[@]}"

step "build: sanitizers"
cmake -S . -B build-sanitize -G Ninja -DCMAKE_BUILD_TYPE=Debug -DTESSERA_SANITIZE=ON
cmake --build build-sanitize

step "build: release"
# demo.sh leaves the tests out.
cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=Release -DTESSERA_TESTS=ON -DCMAKE_EXPORT_COMPILE_COMMANDS=ON
cmake --build build

step "static analysis"
# The converter reads unaligned numbers through packed types, which cppcheck takes for plain casts.
cppcheck --quiet --error-exitcode=1 --std=c11 --inline-suppr --enable=warning,portability --suppress=missingIncludeSystem \
    --suppress=invalidPointerCast:engine/weights/convert.c -j "$(nproc)" -I . engine grid text vqgan mae clip cli
# engine/image/stb.c is the decoder's and encoder's own code.
# A file at a time: clang-tidy 14 carries a va_list from one file into its judgement of the next.
printf '%s\n' "${sources[@]}" | grep -E '^(\./)?(engine|grid|text|vqgan|mae|clip|cli)/.*\.c$' | grep -v 'engine/image/stb\.c$' |
    xargs -P "$(nproc)" -n 1 timeout 600 clang-tidy --quiet -p build

step "fuzzing: 30 s each"
cmake -S . -B build-fuzz -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_COMPILER=clang -DTESSERA_FUZZ=ON
mapfile -t targets < <(basename -s .c tests/fuzz/fuzz_*.c)
cmake --build build-fuzz --target "${targets[@]}"
ctest --test-dir build-fuzz --no-tests=error --output-on-failure -R '^fuzz\.'

step "tests: sanitizers"
# What drivers and the loader keep until the process ends is not ours.
export LSAN_OPTIONS="suppressions=$PWD/tests/lsan.supp:print_suppressions=0"
ctest --test-dir build-sanitize --no-tests=error --output-on-failure

step "tests: release"
ctest --test-dir build --no-tests=error --output-on-failure

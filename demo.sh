#!/usr/bin/env bash
# demo.sh - from a bare Debian machine to a picture: installs what is missing, builds in build/, runs the main job on the pictures
# of assets/demo, and leaves demo.png.
set -euo pipefail
cd "$(dirname "$0")"

scripts/packages.sh cmake ninja-build gcc libc6-dev pkg-config zlib1g-dev libcjson-dev libstb-dev libdnnl-dev libvulkan-dev \
    glslang-tools mesa-vulkan-drivers

cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=Release -DTESSERA_TESTS=OFF
cmake --build build --target tessera-cli

build/tessera model random --quiet build/random.safetensors
build/tessera run --model build/random.safetensors -e assets/demo/scene1.png assets/demo/mask1.png -q assets/demo/scene2.png \
    -o build/demo-answer.png --canvas demo.png

cat <<'TEXT'

demo.png is the canvas: the example pair above, the query below it at the left, and at the right what the model painted.
The weights of this run are random, written a moment ago: the way from pictures to picture is the real one, the answer means
nothing until the trained default model is there. With a published checkpoint the same command gives a real answer:
  build/tessera run --model checkpoint-1000.pth -e IN OUT -q QUERY -o answer.png
TEXT

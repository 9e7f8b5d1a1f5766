#!/usr/bin/env bash
# demo.sh - from a bare Debian machine to a picture: installs what is missing, builds in build/, runs ten tasks on the pictures of
# assets/demo with the default model, and leaves demo.png.
set -euo pipefail
cd "$(dirname "$0")"

packages=(cmake ninja-build gcc libc6-dev pkg-config zlib1g-dev libcjson-dev libstb-dev libdnnl-dev libwebp-dev
    libmicrohttpd-dev libjpeg62-turbo-dev libvulkan-dev glslang-tools)
cat <<TEXT
This takes about two minutes on two cores, most of it the build, and a few more where packages have to be fetched.
  1  installs by apt what is missing of: ${packages[*]}
  2  builds build/tessera (the folder build/ is all that is written, beside demo.png)
  3  runs ten tasks with the small default model on the processor and puts them on one picture, demo.png

TEXT
scripts/packages.sh "${packages[@]}"

cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=Release -DTESSERA_TESTS=OFF
cmake --build build --target tessera-cli

mkdir -p build/demo
canvases=()
for task in segment outline colour shape size size-colour copy grey colourise invert; do
    pictures=assets/demo/$task
    build/tessera run --quiet -e $pictures/in.png $pictures/out.png -q $pictures/query.png -o build/demo/$task.png \
        --canvas build/demo/$task.canvas.png
    canvases+=(build/demo/$task.canvas.png)
done
build/tessera sheet --quiet -o demo.png --columns 5 "${canvases[@]}"

cat <<'TEXT'

demo.png shows ten canvases. On each: an example pair above, the query below it at the left, and at its right what the model
painted. The answers alone are in build/demo. With pictures of your own:
  build/tessera run -e IN OUT -q QUERY -o answer.png
or on a page: build/tessera serve, then open http://127.0.0.1:8080 in a browser.
TEXT

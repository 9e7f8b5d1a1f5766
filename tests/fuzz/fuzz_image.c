/* Fuzzes the picture reader: containers, EXIF, and stb behind them. What decodes must have a size that its pixels fill. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "engine/engine.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    ts_image img;
    ts_error err = {0};
    if (ts_image_decode(bytes, size, "fuzz", &img, &err)) {
        size_t count = (size_t)img.width * (size_t)img.height * 3;
        volatile uint8_t last = img.data[count - 1]; /* reads past the end, were the size a lie */
        (void)last;
    } else if (img.data || err.code == TS_OK) {
        abort();
    }
    ts_image_clear(&img);
    return 0;
}

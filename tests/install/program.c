/* program.c - a program of a user's, built against the installed library by link.sh. */
#include <clip/clip.h>
#include <engine/engine.h>
#include <grid/grid.h>
#include <mae/mae.h>
#include <stdio.h>
#include <text/text.h>
#include <vqgan/vqgan.h>

int main(void)
{
    ts_error err = {0};
    ts_device *dev = ts_device_open(&(ts_device_desc){.name = "cpu"}, &err);
    if (!dev) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    puts(ts_device_about(dev)->driver);
    ts_inpainter_free(NULL);
    ts_device_free(dev);
    return 0;
}

/* built.c - what this build of the library has inside: what is optional when it is made, and the version of each. */
#include <stdio.h>
#include <zlib.h>

#include "engine/engine.h"

#ifdef TESSERA_ONEDNN
#include <oneapi/dnnl/dnnl.h>
#endif
#ifdef TESSERA_JPEG
#include <jpeglib.h>
#endif
#ifdef TESSERA_WEBP
#include <webp/decode.h>
#endif

#define TEXT_OF(x)  #x
#define VALUE_OF(x) TEXT_OF(x)

void ts_built_with(char out[TS_BUILT_ROOM])
{
    char onednn[32] = "no oneDNN", webp[32] = "no libwebp";
#ifdef TESSERA_ONEDNN
    const dnnl_version_t *v = dnnl_version();
    snprintf(onednn, sizeof onednn, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
#endif
#ifdef TESSERA_WEBP
    const int w = WebPGetDecoderVersion();
    snprintf(webp, sizeof webp, "libwebp %d.%d.%d", w >> 16, w >> 8 & 255, w & 255);
#endif
#ifdef TESSERA_VULKAN
    const char *vulkan = "Vulkan";
#else
    const char *vulkan = "no Vulkan";
#endif
#if defined TESSERA_JPEG && defined LIBJPEG_TURBO_VERSION
    const char *jpeg = "libjpeg-turbo " VALUE_OF(LIBJPEG_TURBO_VERSION);
#elif defined TESSERA_JPEG
    const char *jpeg = "libjpeg " VALUE_OF(JPEG_LIB_VERSION);
#else
    const char *jpeg = "no libjpeg";
#endif
#ifdef _OPENMP
    const char *openmp = "OpenMP";
#else
    const char *openmp = "no OpenMP";
#endif
    snprintf(out, TS_BUILT_ROOM, "%s, %s, %s, %s, %s, zlib %s", vulkan, onednn, openmp, jpeg, webp, zlibVersion());
}

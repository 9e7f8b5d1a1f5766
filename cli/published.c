/* published.c - where published checkpoints are to be had: said where a file is missing, and where the default model is taken for
 * want of a better one. */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "cli/cli.h"

const char *ts_published(ts_kind wanted)
{
    switch (wanted) {
    case TS_KIND_MAE_VQGAN:
        return "published ones are at github.com/amirbar/visual_prompting, 'Pretrained Models' (docs/models.md tells more)";
    case TS_KIND_VQGAN:
        return "the published one is vqgan_imagenet_f16_1024 of github.com/CompVis/taming-transformers (docs/models.md tells "
               "more)";
    case TS_KIND_CLIP:
        return "OpenAI's are listed in clip/clip.py of github.com/openai/CLIP, and LAION's at github.com/mlfoundations/open_clip "
               "(docs/models.md tells more)";
    case TS_KIND_SAM:
        return "published ones are at github.com/facebookresearch/segment-anything, of which sam_vit_b_01ec64.pth is the "
               "smallest, and MobileSAM's at github.com/ChaoningZhang/MobileSAM (docs/models.md tells more)";
    case TS_KIND_STROKES:
        return "tessera strokes train makes one (docs/strokes.md tells how)";
    case TS_KIND_LPIPS:
    case TS_KIND_VGG:
        return "docs/models.md says where the published vgg.pth and torchvision's vgg16 are";
    default:
        return "docs/models.md says where published ones are";
    }
}

bool ts_check_model(const char *path, const char *what, ts_kind wanted, ts_error *err)
{
    struct stat s;
    if (stat(path, &s) == 0 || errno != ENOENT) return ts_check_weights(path, what, err);
    return ts_fail(err, TS_ERR_IO, "%s %s is not there; %s", what, path, ts_published(wanted));
}

void ts_note_default(const ts_common *common, const char *path, int width, int height)
{
    if (common->quiet) return;
    fprintf(stderr,
            "model: %s, a small one trained on drawn figures, which paints %d x %d pixels; for photographs name another with "
            "--model: "
            "%s\n",
            path, width, height, ts_published(TS_KIND_MAE_VQGAN));
}

/* names.c - where a SAM's tensors stand in a file. Hugging Face's files hold the published tensors under other names. */
#include "sam/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Wherever `from` stands in a name, `to` does in theirs; in this order. */
static const struct {
    const char *from, *to;
} changes[] = {
    {"image_encoder.", "vision_encoder."},
    {".blocks.", ".layers."},
    {"patch_embed.proj.", "patch_embed.projection."},
    {"neck.0.", "neck.conv1."},
    {"neck.1.", "neck.layer_norm1."},
    {"neck.2.", "neck.conv2."},
    {"neck.3.", "neck.layer_norm2."},
    {"pe_layer.positional_encoding_gaussian_matrix", "shared_embedding.positional_embedding"},
    {"point_embeddings.", "point_embed."},
    {"mask_downscaling.0.", "mask_embed.conv1."},
    {"mask_downscaling.1.", "mask_embed.layer_norm1."},
    {"mask_downscaling.3.", "mask_embed.conv2."},
    {"mask_downscaling.4.", "mask_embed.layer_norm2."},
    {"mask_downscaling.6.", "mask_embed.conv3."},
    {"output_upscaling.0.", "upscale_conv1."},
    {"output_upscaling.1.", "upscale_layer_norm."},
    {"output_upscaling.3.", "upscale_conv2."},
    {".norm", ".layer_norm"},
};

static void change(char *name, size_t room, const char *from, const char *to)
{
    char *at = strstr(name, from);
    if (!at) return;
    char rest[sizeof((sam_name){0}).s];
    snprintf(rest, sizeof rest, "%s", at + strlen(from));
    snprintf(at, room - (size_t)(at - name), "%s%s", to, rest);
}

/* Their perceptrons have proj_in and proj_out around the layers between: of three, 0 is proj_in and 2 proj_out. */
static void change_perceptron(char *name, size_t room)
{
    if (!strstr(name, "iou_prediction_head.") && !strstr(name, "output_hypernetworks_mlps.")) return;
    change(name, room, ".layers.0.", ".proj_in.");
    change(name, room, ".layers.1.", ".layers.0.");
    change(name, room, ".layers.2.", ".proj_out.");
}

sam_name ts_sam_name(bool hugging_face, const char *published)
{
    sam_name name;
    snprintf(name.s, sizeof name.s, "%s", published);
    if (!hugging_face) return name;
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) change(name.s, sizeof name.s, changes[i].from, changes[i].to);
    change_perceptron(name.s, sizeof name.s);
    return name;
}

const ts_weight *ts_sam_find(const ts_weights *w, bool hugging_face, const char *published)
{
    const ts_weight *t = ts_weights_find(w, ts_sam_name(hugging_face, published).s);
    /* One matrix under two names, of which a file may hold either. */
    if (!t && hugging_face && strstr(published, "gaussian_matrix"))
        t = ts_weights_find(w, "shared_image_embedding.positional_embedding");
    return t;
}

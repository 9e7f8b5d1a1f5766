/* weights.c - where a DINO's tensors stand in a file. facebookresearch's and Hugging Face's layouts differ in names, and in that
 * the latter holds q, k and v apart; DINOv3 has names of its own for the registers and holds the two halves of a gate apart. */
#include "dino/internal.h"

#include <stdio.h>
#include <string.h>

/* What stands before `ending` in the first name that ends so. */
static bool prefix_of(const ts_weights *w, const char *ending, char prefix[64])
{
    const size_t end = strlen(ending);
    for (int64_t i = 0; i < ts_weights_count(w); i++) {
        const char *name = ts_weights_at(w, i)->name;
        const size_t length = strlen(name);
        if (length < end || length - end >= 64 || strcmp(name + length - end, ending) != 0) continue;
        snprintf(prefix, 64, "%.*s", (int)(length - end), name);
        return true;
    }
    return false;
}

static bool has(const dino_file *f, const char *name)
{
    char full[128];
    snprintf(full, sizeof full, "%s%s", f->prefix, name);
    return ts_weights_find(f->w, full) != NULL;
}

bool ts_dino_file_of(const ts_weights *w, dino_file *out)
{
    *out = (dino_file){.w = w};
    if (prefix_of(w, "patch_embed.proj.weight", out->prefix)) {
        out->rotary = !has(out, "pos_embed");
        out->gated = has(out, out->rotary ? "blocks.0.mlp.w1.weight" : "blocks.0.mlp.w12.weight");
        return true;
    }
    out->hugging_face = true;
    if (prefix_of(w, "embeddings.patch_embeddings.projection.weight", out->prefix)) {
        out->gated = has(out, "encoder.layer.0.mlp.weights_in.weight");
        return true;
    }
    if (!prefix_of(w, "embeddings.patch_embeddings.weight", out->prefix)) return false;
    out->rotary = true;
    out->gated = has(out, "layer.0.mlp.gate_proj.weight");
    return true;
}

/* ---- names ---- */

/* One name inside and those in the four kinds of files; "|" parts pieces. NULL: the same as inside. */
typedef struct {
    const char *inside, *dinov3, *hugging_face, *hugging_face3;
} naming;

static const naming outside[] = {
    {"cls_token", NULL, "embeddings.cls_token", "embeddings.cls_token"},
    {"register_tokens", "storage_tokens", "embeddings.register_tokens", "embeddings.register_tokens"},
    {"pos_embed", NULL, "embeddings.position_embeddings", NULL},
    {"patch_embed.proj", NULL, "embeddings.patch_embeddings.projection", "embeddings.patch_embeddings"},
    {"norm", NULL, "layernorm", "norm"},
};

static const naming in_block[] = {
    {"attn.qkv", NULL, "attention.attention.query|attention.attention.key|attention.attention.value",
     "attention.q_proj|attention.k_proj|attention.v_proj"},
    {"attn.proj", NULL, "attention.output.dense", "attention.o_proj"},
    {"ls1.gamma", NULL, "layer_scale1.lambda1", "layer_scale1.lambda1"},
    {"ls2.gamma", NULL, "layer_scale2.lambda1", "layer_scale2.lambda1"},
    {"mlp.fc1", NULL, NULL, "mlp.up_proj"},
    {"mlp.fc2", NULL, NULL, "mlp.down_proj"},
    {"mlp.w12", "mlp.w1|mlp.w2", "mlp.weights_in", "mlp.gate_proj|mlp.up_proj"},
    {"mlp.w3", NULL, "mlp.weights_out", "mlp.down_proj"},
};

/* The row of the table whose name `part` is, or begins with before ".weight" or ".bias"; *tail is what follows it. */
static const char *lookup(const dino_file *f, const naming *list, size_t count, const char *part, const char **tail)
{
    for (size_t i = 0; i < count; i++) {
        const size_t length = strlen(list[i].inside);
        if (strncmp(part, list[i].inside, length) != 0 || (part[length] != '\0' && part[length] != '.')) continue;
        const char *other =
            f->hugging_face ? (f->rotary ? list[i].hugging_face3 : list[i].hugging_face) : (f->rotary ? list[i].dinov3 : NULL);
        *tail = part + length;
        return other ? other : list[i].inside;
    }
    *tail = "";
    return part;
}

/* front: what stands before the pieces' names, as "backbone.blocks.3.". */
static void add_pieces(const char *front, const char *names, const char *tail, dino_source *out)
{
    for (const char *at = names; out->pieces < 3; at++) {
        const int length = (int)strcspn(at, "|");
        snprintf(out->name[out->pieces++], sizeof out->name[0], "%s%.*s%s", front, length, at, tail);
        at += length;
        if (*at == '\0') return;
    }
}

void ts_dino_source(const dino_file *f, const char *name, dino_source *out)
{
    *out = (dino_source){.pieces = 0};
    const char *tail, *names;
    char front[112];
    if (strncmp(name, "blocks.", 7) != 0) {
        names = lookup(f, outside, sizeof outside / sizeof *outside, name, &tail);
        add_pieces(f->prefix, names, tail, out);
        return;
    }
    const int digits = (int)strspn(name + 7, "0123456789");
    const char *blocks = !f->hugging_face ? "blocks" : f->rotary ? "layer" : "encoder.layer";
    const char *part = name[7 + digits] == '.' ? name + 7 + digits + 1 : name + 7 + digits;
    snprintf(front, sizeof front, "%s%s.%.*s.", f->prefix, blocks, digits, name + 7);
    names = lookup(f, in_block, sizeof in_block / sizeof *in_block, part, &tail);
    add_pieces(front, names, tail, out);
}

bool ts_dino_may_lack(const dino_file *f, const char *file_name)
{
    const size_t length = strlen(file_name);
    if (!f->rotary || length < 5 || strcmp(file_name + length - 5, ".bias") != 0) return false;
    return strstr(file_name, ".attn.qkv.") || strstr(file_name, ".attention.q_proj.") ||
           strstr(file_name, ".attention.k_proj.") || strstr(file_name, ".attention.v_proj.");
}

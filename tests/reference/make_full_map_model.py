#!/usr/bin/python3
"""Writes a Segment Anything, MobileSAM or SegGPT of random weights at full size under the published names, and what PyTorch makes of a drawn
picture: for measuring (tests/bench/bench_sam.sh) and for checking at full size. Its answers mean nothing.

    make_full_map_model.py --model sam-b OUT.pth [EXPECTED.safetensors]     also sam-l, sam-h, mobile-sam, seggpt

EXPECTED holds the input in 8 bits and, for a SAM, `embedding`, and `low` and `iou` of a click in the middle; for a SegGPT `painted`,
the lower half of the canvas. `bench_sam --compare EXPECTED OUT.pth` compares Tessera's. Needs python3-torch and some GB of memory.
"""
import argparse
import json
import math
import struct

import numpy
import torch

import map_torch

# width, depth, heads, blocks that look at the whole map
SAMS = {"sam-b": (768, 12, 12, (2, 5, 8, 11)), "sam-l": (1024, 24, 16, (5, 11, 17, 23)), "sam-h": (1280, 32, 16, (7, 15, 23, 31))}


class Maker:
    """Collects tensors by name: weights of variance 1 / fan in, biases small, norms near 1, as a trained model's roughly are."""

    def __init__(self, seed):
        self.rng = torch.Generator().manual_seed(seed)
        self.tensors = {}

    def normal(self, name, shape, deviation):
        self.tensors[name] = torch.empty(shape).normal_(0, deviation, generator=self.rng)

    def layer(self, name, *shape, bias=True):
        self.normal(name + ".weight", shape, 1 / math.sqrt(math.prod(shape[1:])))
        if bias:
            self.normal(name + ".bias", shape[:1], 0.02)

    def turned(self, name, n_in, n_out):
        self.normal(name + ".weight", (n_in, n_out, 2, 2), 1 / math.sqrt(n_in))
        self.normal(name + ".bias", (n_out,), 0.02)

    def unit(self, name, *shape):
        """A convolution without bias and the batch norm behind it."""
        self.layer(name + ".c", *shape, bias=False)
        self.norm(name + ".bn", shape[0])
        self.normal(name + ".bn.running_mean", shape[:1], 0.1)
        self.tensors[name + ".bn.running_var"] = torch.empty(shape[0]).uniform_(0.5, 1.5, generator=self.rng)
        self.tensors[name + ".bn.num_batches_tracked"] = torch.tensor(0)

    def norm(self, name, width):
        self.normal(name + ".weight", (width,), 0.1)
        self.tensors[name + ".weight"] += 1
        self.normal(name + ".bias", (width,), 0.02)

    def block(self, at, width, dim, rows, columns, first, second):
        self.norm(at + "norm1", width)
        self.layer(at + "attn.qkv", 3 * width, width)
        self.layer(at + "attn.proj", width, width)
        self.normal(at + "attn.rel_pos_h", (rows, dim), 0.05)
        self.normal(at + "attn.rel_pos_w", (columns, dim), 0.05)
        self.norm(at + "norm2", width)
        self.layer(at + first, 4 * width, width)
        self.layer(at + second, width, 4 * width)


def make_sam(m, width, depth, heads, whole):
    p = "image_encoder."
    m.normal(p + "pos_embed", (1, 64, 64, width), 0.02)
    m.layer(p + "patch_embed.proj", width, 3, 16, 16)
    for i in range(depth):
        rows = 127 if i in whole else 27
        m.block(f"{p}blocks.{i}.", width, width // heads, rows, rows, "mlp.lin1", "mlp.lin2")
    make_decoder(m, width)


def make_decoder(m, width, embed=256, inner=128, mlp=2048, up=(64, 32), prior=(4, 16)):
    """The neck behind an encoder of `width`, the prompts, and the decoder."""
    p = "image_encoder."
    m.layer(p + "neck.0", embed, width, 1, 1, bias=False)
    m.norm(p + "neck.1", embed)
    m.layer(p + "neck.2", embed, embed, 3, 3, bias=False)
    m.norm(p + "neck.3", embed)
    p = "prompt_encoder."
    m.normal(p + "pe_layer.positional_encoding_gaussian_matrix", (2, embed // 2), 1)
    for name in ("point_embeddings.0", "point_embeddings.1", "point_embeddings.2", "point_embeddings.3", "not_a_point_embed", "no_mask_embed"):
        m.normal(f"{p}{name}.weight", (1, embed), 0.5)
    for name, shape in (("0", (prior[0], 1, 2, 2)), ("3", (prior[1], prior[0], 2, 2)), ("6", (embed, prior[1], 1, 1))):
        m.layer(f"{p}mask_downscaling.{name}", *shape)
    m.norm(p + "mask_downscaling.1", prior[0])
    m.norm(p + "mask_downscaling.4", prior[1])
    p = "mask_decoder."
    m.normal(p + "iou_token.weight", (1, embed), 0.5)
    m.normal(p + "mask_tokens.weight", (4, embed), 0.5)

    def attention(at, inner):
        for part in "qkv":
            m.layer(f"{at}.{part}_proj", inner, embed)
        m.layer(at + ".out_proj", embed, inner)
    for i in range(2):
        at = f"{p}transformer.layers.{i}."
        attention(at + "self_attn", embed)
        attention(at + "cross_attn_token_to_image", inner)
        attention(at + "cross_attn_image_to_token", inner)
        for k in range(1, 5):
            m.norm(f"{at}norm{k}", embed)
        m.layer(at + "mlp.lin1", mlp, embed)
        m.layer(at + "mlp.lin2", embed, mlp)
    attention(p + "transformer.final_attn_token_to_image", inner)
    m.norm(p + "transformer.norm_final_attn", embed)
    m.turned(p + "output_upscaling.0", embed, up[0])
    m.norm(p + "output_upscaling.1", up[0])
    m.turned(p + "output_upscaling.3", up[0], up[1])
    for head, out in [(f"output_hypernetworks_mlps.{k}", up[1]) for k in range(4)] + [("iou_prediction_head", 4)]:
        for k, n_out in enumerate((embed, embed, out)):
            m.layer(f"{p}{head}.layers.{k}", n_out, embed)


# MobileSAM's encoder: channels of the stem; for each stage its width, blocks, heads and window, the first having convolutions; and how much wider
# the first stage's blocks and the others' are inside.
TINY_VIT = (32, ((64, 2, 0, 0), (128, 2, 4, 7), (160, 6, 5, 14), (320, 2, 10, 7)), 4, 4)


def make_tiny_vit(m, stem, stages, wider, mlp):
    p = "image_encoder."
    m.unit(p + "patch_embed.seq.0", stem, 3, 3, 3)
    m.unit(p + "patch_embed.seq.2", stages[0][0], stem, 3, 3)
    for i, (width, blocks, heads, window) in enumerate(stages):
        for k in range(blocks):
            at = f"{p}layers.{i}.blocks.{k}."
            if heads == 0:
                m.unit(at + "conv1", wider * width, width, 1, 1)
                m.unit(at + "conv2", wider * width, 1, 3, 3)
                m.unit(at + "conv3", width, wider * width, 1, 1)
                continue
            m.normal(at + "attn.attention_biases", (heads, window ** 2), 0.5)
            m.norm(at + "attn.norm", width)
            m.layer(at + "attn.qkv", 3 * width, width)
            m.layer(at + "attn.proj", width, width)
            m.unit(at + "local_conv", width, 1, 3, 3)
            m.norm(at + "mlp.norm", width)
            m.layer(at + "mlp.fc1", mlp * width, width)
            m.layer(at + "mlp.fc2", width, mlp * width)
        if i + 1 < len(stages):
            wide = stages[i + 1][0]
            m.unit(f"{p}layers.{i}.downsample.conv1", wide, width, 1, 1)
            m.unit(f"{p}layers.{i}.downsample.conv2", wide, 1, 3, 3)
            m.unit(f"{p}layers.{i}.downsample.conv3", wide, wide, 1, 1)


def make_mobile_sam(m):
    make_tiny_vit(m, *TINY_VIT)
    m.norm("image_encoder.norm_head", 320)  # in the published file, and not used
    m.layer("image_encoder.head", 1000, 320)
    make_decoder(m, 320)


def make_seggpt(m):
    m.layer("patch_embed.proj", 1024, 3, 16, 16)
    m.normal("pos_embed", (1, 197, 1024), 0.02)
    for name in ("mask_token", "segment_token_x", "segment_token_y", "type_token_cls", "type_token_ins"):
        m.normal(name, (1, 1, 1, 1024), 0.02)
    for i in range(24):
        m.block(f"blocks.{i}.", 1024, 64, 111, 55, "mlp.fc1", "mlp.fc2")
    m.norm("norm", 1024)
    m.layer("decoder_embed", 16384, 4096)
    m.layer("decoder_pred.0", 64, 64, 3, 3)
    m.norm("decoder_pred.1", 64)
    m.layer("decoder_pred.3", 3, 64, 1, 1)


def drawn(height, width, seed):
    """(height, width, 3) in 8 bits: waves, and a rectangle."""
    y, x = numpy.mgrid[0:height, 0:width]
    waves = [numpy.sin(x * (0.01 + 0.004 * c) + seed) * numpy.cos(y * (0.013 - 0.003 * c)) for c in range(3)]
    picture = (numpy.stack(waves, -1) * 100 + 128).astype(numpy.uint8)
    picture[height // 3:height // 2, width // 4:width // 2] = (200, 40 + seed, 90)
    return picture


def save(path, tensors):
    header, at = {}, 0
    for name, t in tensors.items():
        kind = {"uint8": "U8", "float32": "F32", "int64": "I64"}[str(t.dtype)]
        header[name] = {"dtype": kind, "shape": list(t.shape), "data_offsets": [at, at + t.nbytes]}
        at += t.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for t in tensors.values():
            out.write(numpy.ascontiguousarray(t).tobytes())


def expect_sam(tensors):
    picture = drawn(1024, 1024, 0)
    mean, deviation = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
    net = map_torch.sam_of(tensors)
    embedding = net.encode(((torch.from_numpy(picture).float() - mean) / deviation).permute(2, 0, 1)[None])
    masks, scores = net.decode(embedding, torch.tensor([[512.0, 400.0]]), 1024)
    return {"picture": picture, "embedding": embedding[0].permute(1, 2, 0).numpy(), "low": masks[0, 1:].numpy(), "iou": scores[0, 1:].numpy()}


def expect_seggpt(tensors):
    pictures = numpy.stack([drawn(448, 448, seed) for seed in range(3)])  # the example's, its target, the query
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    example, target, query = ((torch.from_numpy(pictures).float() / 255 - mean) / deviation).permute(0, 3, 1, 2)
    canvas = lambda top, bottom: torch.cat([top, bottom], 1)[None]
    out = map_torch.SegGpt(tensors).paint(canvas(example, query), canvas(target, target))[0, :, 448:]
    return {"pictures": pictures, "painted": ((out.permute(1, 2, 0) * deviation + mean) * 255).numpy()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=[*SAMS, "mobile-sam", "seggpt"], default="sam-b")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("out")
    parser.add_argument("expected", nargs="?")
    a = parser.parse_args()
    m = Maker(a.seed)
    if a.model == "seggpt":
        make_seggpt(m)
    elif a.model == "mobile-sam":
        make_mobile_sam(m)
    else:
        make_sam(m, *SAMS[a.model])
    print(f"{len(m.tensors)} tensors, {sum(t.numel() for t in m.tensors.values())} numbers")
    torch.save({"model": m.tensors} if a.model == "seggpt" else m.tensors, a.out)
    if a.expected:
        with torch.inference_mode():
            save(a.expected, expect_seggpt(m.tensors) if a.model == "seggpt" else expect_sam(m.tensors))


if __name__ == "__main__":
    main()

#!/usr/bin/python3
"""Writes a Segment Anything or a SegGPT of random weights at full size under the published names, and what PyTorch makes of a drawn
picture: for measuring (tests/bench/bench_sam.sh) and for checking at full size. Its answers mean nothing.

    make_full_map_model.py --model sam-b OUT.pth [EXPECTED.safetensors]     also sam-l, sam-h, seggpt

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
    m.layer(p + "neck.0", 256, width, 1, 1, bias=False)
    m.norm(p + "neck.1", 256)
    m.layer(p + "neck.2", 256, 256, 3, 3, bias=False)
    m.norm(p + "neck.3", 256)
    p = "prompt_encoder."
    m.normal(p + "pe_layer.positional_encoding_gaussian_matrix", (2, 128), 1)
    for name in ("point_embeddings.0", "point_embeddings.1", "point_embeddings.2", "point_embeddings.3", "not_a_point_embed", "no_mask_embed"):
        m.normal(f"{p}{name}.weight", (1, 256), 0.5)
    for name, shape in (("0", (4, 1, 2, 2)), ("3", (16, 4, 2, 2)), ("6", (256, 16, 1, 1))):
        m.layer(f"{p}mask_downscaling.{name}", *shape)
    m.norm(p + "mask_downscaling.1", 4)
    m.norm(p + "mask_downscaling.4", 16)
    p = "mask_decoder."
    m.normal(p + "iou_token.weight", (1, 256), 0.5)
    m.normal(p + "mask_tokens.weight", (4, 256), 0.5)

    def attention(at, inner):
        for part in "qkv":
            m.layer(f"{at}.{part}_proj", inner, 256)
        m.layer(at + ".out_proj", 256, inner)
    for i in range(2):
        at = f"{p}transformer.layers.{i}."
        attention(at + "self_attn", 256)
        attention(at + "cross_attn_token_to_image", 128)
        attention(at + "cross_attn_image_to_token", 128)
        for k in range(1, 5):
            m.norm(f"{at}norm{k}", 256)
        m.layer(at + "mlp.lin1", 2048, 256)
        m.layer(at + "mlp.lin2", 256, 2048)
    attention(p + "transformer.final_attn_token_to_image", 128)
    m.norm(p + "transformer.norm_final_attn", 256)
    m.turned(p + "output_upscaling.0", 256, 64)
    m.norm(p + "output_upscaling.1", 64)
    m.turned(p + "output_upscaling.3", 64, 32)
    for head, out in [(f"output_hypernetworks_mlps.{k}", 32) for k in range(4)] + [("iou_prediction_head", 4)]:
        for k, n_out in enumerate((256, 256, out)):
            m.layer(f"{p}{head}.layers.{k}", n_out, 256)


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
        kind = {"uint8": "U8", "float32": "F32"}[str(t.dtype)]
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
    net = map_torch.Sam(tensors)
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
    parser.add_argument("--model", choices=[*SAMS, "seggpt"], default="sam-b")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("out")
    parser.add_argument("expected", nargs="?")
    a = parser.parse_args()
    m = Maker(a.seed)
    if a.model == "seggpt":
        make_seggpt(m)
    else:
        make_sam(m, *SAMS[a.model])
    print(f"{len(m.tensors)} tensors, {sum(t.numel() for t in m.tensors.values())} numbers")
    torch.save({"model": m.tensors} if a.model == "seggpt" else m.tensors, a.out)
    if a.expected:
        with torch.inference_mode():
            save(a.expected, expect_seggpt(m.tensors) if a.model == "seggpt" else expect_sam(m.tensors))


if __name__ == "__main__":
    main()

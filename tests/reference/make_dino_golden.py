#!/usr/bin/python3
"""Writes tests/golden/dino/: tiny DINOv2 and DINOv3 models of random weights in the layouts that are read, each with a picture and
PyTorch's patch tokens of it, in double precision. Positions are interpolated by torch.nn.functional.interpolate as the published
code calls it. With --full OUT [SIDE] it writes a full-size DINOv2 ViT-L/14 instead, and its tokens of a picture of SIDE x SIDE patches (37, the grid
that it was trained with, 518 pixels) in single precision, for `bench_sam OUT --compare OUT`. Needs python3-torch. The same files come out each time.
"""
import json
import math
import os
import struct
import sys

import torch
from torch.nn import functional as F

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "dino")


def attention(x, p, heads, rope, before):
    tokens, width = x.shape
    bias = p["attn.qkv.bias"].clone()
    if rope is not None:
        bias[width:2 * width] = 0
    qkv = F.linear(x, p["attn.qkv.weight"], bias).reshape(tokens, 3, heads, width // heads)
    q, k, v = qkv.permute(1, 2, 0, 3)
    if rope is not None:
        def turn(t):
            a, b = t[:, before:].chunk(2, dim=-1)
            turned = t[:, before:] * torch.cos(rope) + torch.cat((-b, a), dim=-1) * torch.sin(rope)
            return torch.cat((t[:, :before], turned), dim=1)
        q, k = turn(q), turn(k)
    scores = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(width // heads), dim=-1)
    return F.linear((scores @ v).transpose(0, 1).reshape(tokens, width), p["attn.proj.weight"], p["attn.proj.bias"])


def feed(x, p):
    if "mlp.w3.weight" not in p:
        return F.linear(F.gelu(F.linear(x, p["mlp.fc1.weight"], p["mlp.fc1.bias"])), p["mlp.fc2.weight"], p["mlp.fc2.bias"])
    a, b = F.linear(x, p["mlp.w12.weight"], p["mlp.w12.bias"]).chunk(2, dim=-1)
    return F.linear(F.silu(a) * b, p["mlp.w3.weight"], p["mlp.w3.bias"])


def positions(table, side, rows, columns, registers):
    """table (1 + side^2, W) -> (1 + rows columns, W)"""
    if rows == side and columns == side:
        return table
    grid = table[1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    if registers:
        grid = F.interpolate(grid, mode="bicubic", antialias=True, size=(rows, columns))
    else:
        grid = F.interpolate(grid, mode="bicubic", scale_factor=((rows + 0.1) / side, (columns + 0.1) / side))
    assert grid.shape[-2:] == (rows, columns)
    return torch.cat((table[:1], grid.permute(0, 2, 3, 1).reshape(rows * columns, -1)))


def rotary(head, rows, columns):
    periods = 100 ** (2 * torch.arange(head // 4, dtype=torch.float64) / (head // 2))
    y = (torch.arange(rows, dtype=torch.float64) + 0.5) / rows * 2 - 1
    x = (torch.arange(columns, dtype=torch.float64) + 0.5) / columns * 2 - 1
    at = torch.stack(torch.meshgrid(y, x, indexing="ij"), dim=-1).flatten(0, 1)
    return (2 * math.pi * at[:, :, None] / periods).flatten(1, 2).tile(2)


def forward(p, pixels, heads, version):
    """pixels (3, H, W) -> patch tokens before and behind the last norm."""
    width, _, patch, _ = p["patch_embed.proj.weight"].shape
    x = F.conv2d(pixels[None], p["patch_embed.proj.weight"], p["patch_embed.proj.bias"], stride=patch)
    rows, columns = x.shape[-2:]
    x = torch.cat((p["cls_token"][0], x[0].flatten(1).T))
    registers = p["register_tokens"][0] if "register_tokens" in p else x[:0]
    rope, eps = None, 1e-6
    if version == 3:
        rope, eps = rotary(width // heads, rows, columns).to(x.dtype), 1e-5
    else:
        side = math.isqrt(p["pos_embed"].shape[1] - 1)
        x = x + positions(p["pos_embed"][0], side, rows, columns, len(registers) > 0)
    before = 1 + len(registers)
    x = torch.cat((x[:1], registers, x[1:]))
    block = 0
    while f"blocks.{block}.norm1.weight" in p:
        b = {k.split(".", 2)[2]: v for k, v in p.items() if k.startswith(f"blocks.{block}.")}
        h = F.layer_norm(x, (width,), b["norm1.weight"], b["norm1.bias"], eps)
        x = x + b["ls1.gamma"] * attention(h, b, heads, rope, before)
        h = F.layer_norm(x, (width,), b["norm2.weight"], b["norm2.bias"], eps)
        x = x + b["ls2.gamma"] * feed(h, b)
        block += 1
    return x[before:], F.layer_norm(x, (width,), p["norm.weight"], p["norm.bias"], eps)[before:]


def random_model(seed, width, depth, mlp, patch, registers, side, gated):
    g = torch.Generator().manual_seed(seed)

    def draw(*shape, scale=None, around=0.0):
        scale = 1 / math.sqrt(math.prod(shape[1:])) if scale is None else scale
        return around + scale * torch.randn(shape, generator=g)

    p = {"cls_token": draw(1, 1, width, scale=1), "mask_token": draw(1, width, scale=1)}
    if registers:
        p["register_tokens"] = draw(1, registers, width, scale=1)
    if side:
        p["pos_embed"] = draw(1, 1 + side * side, width, scale=1)
    p["patch_embed.proj.weight"] = draw(width, 3, patch, patch)
    p["patch_embed.proj.bias"] = draw(width, scale=0.1)
    layers = [("attn.qkv", 3 * width, width), ("attn.proj", width, width)]
    layers += [("mlp.w12", 2 * mlp, width), ("mlp.w3", width, mlp)] if gated else [("mlp.fc1", mlp, width), ("mlp.fc2", width, mlp)]
    for i in range(depth):
        for norm in ("norm1", "norm2"):
            p[f"blocks.{i}.{norm}.weight"] = draw(width, scale=0.1, around=1)
            p[f"blocks.{i}.{norm}.bias"] = draw(width, scale=0.1)
        for name, rows, columns in layers:
            p[f"blocks.{i}.{name}.weight"] = draw(rows, columns)
            p[f"blocks.{i}.{name}.bias"] = draw(rows, scale=0.1)
        for scale in ("ls1", "ls2"):
            p[f"blocks.{i}.{scale}.gamma"] = draw(width, scale=0.2, around=0.5)
    p["norm.weight"], p["norm.bias"] = draw(width, scale=0.1, around=1), draw(width, scale=0.1)
    return p


def halves(name, t, names):
    return dict(zip((n + name[name.rindex("."):] for n in names), t.chunk(len(names))))


def as_dinov3(p):
    out = {}
    for name, t in p.items():
        block = ".".join(name.split(".")[:2])
        if name == "register_tokens":
            out["storage_tokens"] = t
        elif ".mlp.w12." in name:
            out.update(halves(name, t, (f"{block}.mlp.w1", f"{block}.mlp.w2")))
        else:
            out[name] = t
        if name.endswith("attn.qkv.bias"):
            mask = torch.ones_like(t)
            mask[len(t) // 3:2 * len(t) // 3] = 0
            out[name + "_mask"] = mask
    return out


def as_hugging_face(p, version):
    renamed = [("patch_embed.proj", "embeddings.patch_embeddings" + (".projection" if version == 2 else "")),
               ("cls_token", "embeddings.cls_token"), ("mask_token", "embeddings.mask_token"),
               ("register_tokens", "embeddings.register_tokens"), ("pos_embed", "embeddings.position_embeddings"),
               ("blocks.", "encoder.layer." if version == 2 else "layer."), ("ls1.gamma", "layer_scale1.lambda1"),
               ("ls2.gamma", "layer_scale2.lambda1"),
               ("attn.proj", "attention.output.dense" if version == 2 else "attention.o_proj")]
    if version == 2:
        parts = [f"attention.attention.{n}" for n in ("query", "key", "value")]
        renamed += [("mlp.w12", "mlp.weights_in"), ("mlp.w3", "mlp.weights_out")]
    else:
        parts = [f"attention.{n}_proj" for n in "qkv"]
        renamed += [("mlp.fc1", "mlp.up_proj"), ("mlp.fc2", "mlp.down_proj")]
    out = {}
    for name, t in p.items():
        for a, b in renamed:
            name = name.replace(a, b)
        if name.startswith("norm.") and version == 2:
            name = "layernorm." + name[5:]
        if ".attn.qkv." in name:
            front = name.split("attn.qkv")[0]
            pieces = halves(name, t, [front + part for part in parts])
            out.update({n: v for n, v in pieces.items() if version == 2 or not n.endswith("k_proj.bias")})
        else:
            out[name] = t
    return out


def save(path, tensors, meta):
    header, data, end = {"__metadata__": meta}, [], 0
    for name, t in tensors.items():
        raw = t.to(torch.float32).contiguous().numpy().tobytes()
        header[name] = {"dtype": "F32", "shape": list(t.shape), "data_offsets": [end, end + len(raw)]}
        data.append(raw)
        end += len(raw)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        f.writelines(data)


def write(name, seed, heads, version, grid, layout, **sizes):
    p = random_model(seed, **sizes)
    patch = sizes["patch"]
    pixels = torch.randn((3, grid[0] * patch, grid[1] * patch), generator=torch.Generator().manual_seed(seed + 1))
    prenorm, tokens = forward({k: v.double() for k, v in p.items()}, pixels.double(), heads, version)
    p = layout(p)
    p |= {"expected.pixels": pixels.permute(1, 2, 0), "expected.prenorm": prenorm, "expected.tokens": tokens}
    save(os.path.join(OUT, name + ".safetensors"), p,
         {"heads": str(heads), "rows": str(grid[0]), "columns": str(grid[1])})


def full(path, side):
    p = random_model(1, width=1024, depth=24, mlp=4096, patch=14, registers=0, side=37, gated=False)
    pixels = torch.randn((3, 14 * side, 14 * side), generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        prenorm, tokens = forward(p, pixels, 16, 2)
    p |= {"expected.pixels": pixels.permute(1, 2, 0), "expected.prenorm": prenorm, "expected.tokens": tokens}
    save(path, p, {"rows": str(side), "columns": str(side)})


def main():
    if sys.argv[1:2] == ["--full"]:
        full(sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 37)
        return
    torch.set_num_threads(1)
    os.makedirs(OUT, exist_ok=True)
    small = {"width": 24, "depth": 2, "mlp": 32, "patch": 2}
    plain = dict(small, registers=0, side=5, gated=False)
    write("v2", 1, 3, 2, (7, 6), dict, **plain)
    write("v2_same", 1, 3, 2, (5, 5), lambda p: as_hugging_face(p, 2), **plain)
    write("v2_registers", 2, 3, 2, (4, 9), dict, **dict(small, registers=4, side=6, gated=True))
    write("v2_registers_hf", 3, 3, 2, (9, 3), lambda p: as_hugging_face(p, 2), **dict(small, registers=3, side=5, gated=True))
    write("v3", 4, 3, 3, (4, 5), as_dinov3, **dict(small, registers=4, side=0, gated=True))
    write("v3_hf", 5, 3, 3, (6, 4), lambda p: as_hugging_face(p, 3), **dict(small, registers=4, side=0, gated=False))


if __name__ == "__main__":
    main()

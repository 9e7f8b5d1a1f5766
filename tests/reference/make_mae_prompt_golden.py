"""Writes ../golden/mae/: a tiny masked autoencoder of random weights, a border and a fusion to begin with, and what PyTorch makes of them:
loss, gradients and three steps of the learned border (InMeMo), of PromptHub's fusion and of Condenser's.

    python3 make_mae_prompt_golden.py ../golden/mae

Written from the papers' descriptions (the specification's sections on InMeMo and PromptHub); no published code is used."""
import json
import math
import os
import struct
import sys

import numpy as np
import torch
import torch.nn.functional as F

torch.set_num_threads(1)
torch.manual_seed(14)

CANVAS, PATCH, CELL, PIXELS = 24, 4, 11, 3
SIDE, HALF = CANVAS // PATCH, CANVAS // PATCH // 2
PLACES, QUARTER = SIDE * SIDE, HALF * HALF
DIM, HEADS, MLP, DEPTH = 16, 2, 32, 1
EDIM, EHEADS, EMLP, EDEPTH = 12, 3, 24, 1
CODES, FHEADS, SIGMA = 24, 4, 0.65
BATCH, EXAMPLES = 2, 2
BACKGROUND = 10
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


def write(path, tensors, meta):
    header, data, at = {"__metadata__": meta}, [], 0
    for name, t in tensors.items():
        raw = t.detach().contiguous().numpy().astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(t.shape), "data_offsets": [at, at + len(raw)]}
        data.append(raw)
        at += len(raw)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(data))


# ---- the model


def positions(side, width):
    quarter = width // 4
    out = np.zeros((1 + side * side, width))
    for r in range(side):
        for c in range(side):
            for k in range(quarter):
                w = 10000 ** (-k / quarter)
                at = 1 + r * side + c
                out[at, [k, quarter + k, 2 * quarter + k, 3 * quarter + k]] = (
                    math.sin(c * w), math.cos(c * w), math.sin(r * w), math.cos(r * w))
    return torch.tensor(out, dtype=torch.float32)[None]


def make_model():
    w = {}

    def layer(name, *shape):
        fan = math.prod(shape[1:])
        w[name + ".weight"] = torch.randn(*shape) * 1.5 / math.sqrt(fan)
        w[name + ".bias"] = torch.randn(shape[0]) * 0.1

    def norm(name, width):
        w[name + ".weight"] = 1 + 0.1 * torch.randn(width)
        w[name + ".bias"] = 0.1 * torch.randn(width)

    def blocks(prefix, depth, width, mlp):
        for i in range(depth):
            at = "%s.%d." % (prefix, i)
            norm(at + "norm1", width)
            layer(at + "attn.qkv", 3 * width, width)
            layer(at + "attn.proj", width, width)
            norm(at + "norm2", width)
            layer(at + "mlp.fc1", mlp, width)
            layer(at + "mlp.fc2", width, mlp)

    w["cls_token"] = 0.5 * torch.randn(1, 1, DIM)
    w["pos_embed"] = positions(SIDE, DIM)
    w["mask_token"] = 0.5 * torch.randn(1, 1, EDIM)
    w["decoder_pos_embed"] = positions(SIDE, EDIM)
    layer("patch_embed.proj", DIM, 3, PATCH, PATCH)
    blocks("blocks", DEPTH, DIM, MLP)
    norm("norm", DIM)
    layer("decoder_embed", EDIM, DIM)
    blocks("decoder_blocks", EDEPTH, EDIM, EMLP)
    norm("decoder_norm", EDIM)
    layer("decoder_pred", CODES, EDIM)
    return w


class Model:
    def __init__(self, w):
        self.w = w

    def linear(self, x, name):
        return F.linear(x, self.w[name + ".weight"], self.w[name + ".bias"])

    def norm(self, x, name):
        return F.layer_norm(x, x.shape[-1:], self.w[name + ".weight"], self.w[name + ".bias"], 1e-6)

    def blocks(self, x, prefix, depth, heads):
        for i in range(depth):
            at = "%s.%d." % (prefix, i)
            b, n, d = x.shape
            qkv = self.linear(self.norm(x, at + "norm1"), at + "attn.qkv").reshape(b, n, 3, heads, d // heads)
            q, k, v = qkv.permute(2, 0, 3, 1, 4)
            a = (q @ k.transpose(-1, -2) / math.sqrt(d // heads)).softmax(-1) @ v
            x = x + self.linear(a.transpose(1, 2).reshape(b, n, d), at + "attn.proj")
            x = x + self.linear(F.gelu(self.linear(self.norm(x, at + "norm2"), at + "mlp.fc1")), at + "mlp.fc2")
        return x

    def embed(self, pixels):
        """(B, 3, H, W) -> (B, PLACES, DIM), positions included"""
        x = F.conv2d(pixels, self.w["patch_embed.proj.weight"], self.w["patch_embed.proj.bias"], stride=PATCH)
        return x.flatten(2).transpose(1, 2) + self.w["pos_embed"][:, 1:]

    def logits(self, tokens, keep):
        """Tokens of the patches `keep` -> logits at all places, in raster order"""
        b = tokens.shape[0]
        first = (self.w["cls_token"] + self.w["pos_embed"][:, :1]).expand(b, -1, -1)
        x = self.norm(self.blocks(torch.cat([first, tokens], 1), "blocks", DEPTH, HEADS), "norm")
        x = self.linear(x, "decoder_embed")
        full = self.w["mask_token"].expand(b, PLACES, EDIM).clone()
        full[:, keep] = x[:, 1:]
        x = torch.cat([x[:, :1], full], 1) + self.w["decoder_pos_embed"]
        x = self.norm(self.blocks(x, "decoder_blocks", EDEPTH, EHEADS), "decoder_norm")
        return self.linear(x, "decoder_pred")[:, 1:]


def quarter(row, column):
    return [r * SIDE + c for r in range(row * HALF, row * HALF + HALF) for c in range(column * HALF, column * HALF + HALF)]


TL, TR, BL, BR = quarter(0, 0), quarter(0, 1), quarter(1, 0), quarter(1, 1)
VISIBLE = [i for i in range(PLACES) if i not in BR]


# ---- canvases

FAR = CANVAS - CELL
CORNERS = [(0, 0), (0, FAR), (FAR, 0), (FAR, FAR)]  # rows, columns: example's input and output, query, hole


def canvas(cells):
    out = torch.full((3, CANVAS, CANVAS), float(BACKGROUND))
    for (y, x), cell in zip(CORNERS, cells):
        out[:, y : y + CELL, x : x + CELL] = cell
    return out


def normalise(pictures):
    return (pictures / 255 - MEAN[:, None, None]) / STD[:, None, None]


# ---- the border


def bilinear(x, size):
    return F.interpolate(x, size=(size, size), mode="bilinear", align_corners=False)


def with_border(pictures, p):
    """8-bit canvases (B, 3, H, W): both of the example's cells get the border, in [0, 1]; then all is normalised"""
    inner = torch.zeros(1, 3, CANVAS - 2 * PIXELS, CANVAS - 2 * PIXELS)
    middle = torch.cat([p["pad_left"], inner, p["pad_right"]], 3)
    frame = torch.cat([p["pad_up"], middle, p["pad_down"]], 2)
    x = pictures / 255
    rows = []
    for (y, at) in CORNERS[:2]:
        cell = x[:, :, y : y + CELL, at : at + CELL]
        rows.append(bilinear(bilinear(cell, CANVAS) + frame, CELL))
    top = torch.cat([rows[0], x[:, :, :CELL, CELL:FAR], rows[1]], 3)
    x = torch.cat([top, x[:, :, CELL:]], 2)
    return (x - MEAN[:, None, None]) / STD[:, None, None]


def border_loss(model, p, pictures, codes):
    x = model.embed(with_border(pictures, p))[:, VISIBLE]
    logits = model.logits(x, VISIBLE)[:, BR]
    return F.cross_entropy(logits.reshape(-1, CODES), codes[:, BR].reshape(-1))


# ---- the fusion


def make_fusion():
    p = {"norm.weight": 1 + 0.1 * torch.randn(DIM), "norm.bias": 0.1 * torch.randn(DIM)}
    for name, rows in [("support.qkv", 3), ("support.proj", 1), ("query.qkv", 3), ("query.proj", 1), ("cross.q", 1),
                       ("cross.k", 1), ("cross.v", 1), ("cross.proj", 1), ("label", 1)]:
        p[name + ".weight"] = torch.randn(rows * DIM, DIM) * 1.2 / math.sqrt(DIM)
        p[name + ".bias"] = 0.1 * torch.randn(rows * DIM)
    return p


def window(condenser):
    if condenser:
        return torch.eye(QUARTER)
    at = torch.tensor([[i // HALF, i % HALF] for i in range(QUARTER)], dtype=torch.float32)
    d = ((at[:, None] - at[None]) ** 2).sum(-1)
    g = torch.exp(-d / (2 * SIGMA * SIGMA))
    return g / g.sum(1, keepdim=True)


def self_attention(x, p, name):
    b, n, _ = x.shape
    y = F.layer_norm(x, (DIM,), p["norm.weight"], p["norm.bias"], 1e-5)
    q, k, v = F.linear(y, p[name + ".qkv.weight"], p[name + ".qkv.bias"]).reshape(b, n, 3, FHEADS, -1).permute(2, 0, 3, 1, 4)
    a = (q @ k.transpose(-1, -2) / math.sqrt(DIM / FHEADS)).softmax(-1) @ v
    return x + F.linear(a.transpose(1, 2).reshape(b, n, DIM), p[name + ".proj.weight"], p[name + ".proj.bias"])


def fuse(p, support, query, condenser):
    """support (B, N, 2, QUARTER, DIM): pictures and answers; query (B, QUARTER, DIM)"""
    b, n = support.shape[:2]
    s = self_attention(support.reshape(b * n, 2 * QUARTER, DIM), p, "support").reshape(b, n, 2, QUARTER, DIM)
    images, answers = s[:, :, 0].reshape(b, -1, DIM), s[:, :, 1].reshape(b, -1, DIM)
    query = self_attention(query, p, "query")

    def heads(x, name):
        y = F.linear(x, p["cross.%s.weight" % name], p["cross.%s.bias" % name])
        return y.reshape(b, x.shape[1], FHEADS, -1).transpose(1, 2)

    score = heads(query, "q") @ heads(images, "k").transpose(-1, -2) / math.sqrt(DIM / FHEADS)
    g = window(condenser).repeat(1, n)
    score = torch.where(g > 0.01, score * g, torch.full_like(score, -1e7))
    weights = score.softmax(-1)
    image = (weights @ heads(images, "v")).transpose(1, 2).reshape(b, QUARTER, DIM)
    image = F.linear(image, p["cross.proj.weight"], p["cross.proj.bias"])
    answer = weights.mean(1) @ F.linear(answers, p["label.weight"], p["label.bias"])
    return image, answer, query


def far(a, b):
    return (1 - F.cosine_similarity(a, b, dim=-1)).mean()


def fusion_loss(model, p, pictures, codes, condenser, weights):
    """pictures (B, N, 3, H, W), 8 bits -> what is minimised, the hole's cross entropy, logits in raster order"""
    b, n = pictures.shape[:2]
    tokens = model.embed(normalise(pictures.reshape(b * n, 3, CANVAS, CANVAS))).reshape(b, n, PLACES, DIM)
    support = torch.stack([tokens[:, :, TL], tokens[:, :, TR]], 2)
    image, answer, query = fuse(p, support, tokens[:, 0, BL], condenser)
    keep = TL + TR + BL
    logits = model.logits(torch.cat([image, answer, query], 1), keep)

    def entropy(where):
        return F.cross_entropy(logits[:, where].reshape(-1, CODES), codes[:, where].reshape(-1))

    top, align, embed = weights
    hole = entropy(BR)
    loss = hole + top * entropy(TL + TR) + align * (far(logits[:, TL], logits[:, BL]) + far(logits[:, TR], logits[:, BR]))
    loss = loss + embed * (far(image, query) + far(answer, tokens[:, 0, BR]))
    return loss, hole, logits


# ---- all of it


def leaves(p):
    return {k: v.clone().requires_grad_(True) for k, v in p.items()}


def steps(p, make, optimizer, count):
    for _ in range(count):
        optimizer.zero_grad()
        make(p).backward()
        optimizer.step()


def main(folder):
    os.makedirs(folder, exist_ok=True)
    model = Model(make_model())
    write(folder + "/model.safetensors", model.w, {"heads": str(HEADS), "decoder_heads": str(EHEADS)})
    pairs = torch.randint(0, 256, (BATCH, 1 + EXAMPLES, 2, 3, CELL, CELL)).float()  # of a query: its own, then the examples
    pictures = torch.stack([torch.stack([canvas([*pairs[b, 1 + n], *pairs[b, 0]]) for n in range(EXAMPLES)])
                            for b in range(BATCH)])  # (B, N, 3, H, W)
    codes = torch.randint(0, CODES, (BATCH, PLACES))
    out = {"canvases": pictures.permute(0, 1, 3, 4, 2), "codes": codes.float()}

    shapes = {"pad_up": (PIXELS, CANVAS), "pad_down": (PIXELS, CANVAS), "pad_left": (CANVAS - 2 * PIXELS, PIXELS),
              "pad_right": (CANVAS - 2 * PIXELS, PIXELS)}
    border = {k: torch.randn(1, 3, *s) for k, s in shapes.items()}
    state = {"optimizer.%s.%s" % (m, k): torch.zeros_like(v) for k, v in border.items() for m in "mv"}
    look = {"background": "#%02x%02x%02x" % ((BACKGROUND,) * 3), "filter": "bilinear", "step": "0"}
    write(folder + "/border.safetensors", {**border, **state}, {"tessera.border": "1", "cells": "3", **look})
    p = leaves(border)
    loss = border_loss(model, p, pictures[:, 0], codes)
    loss.backward()
    out["border.loss"] = loss.reshape(1)
    out["border.canvas"] = with_border(pictures[:1, 0], border).permute(0, 2, 3, 1)
    out.update({"border.grad." + k: v.grad.clone() for k, v in p.items()})
    p = leaves(border)
    steps(p, lambda p: border_loss(model, p, pictures[:, 0], codes), torch.optim.Adam(p.values(), lr=0.05), 3)
    out.update({"border.after3." + k: v for k, v in p.items()})

    fusion = make_fusion()
    state = {"optimizer.m." + k: torch.zeros_like(v) for k, v in fusion.items()}
    for kind, weights in [("prompthub", (0.5, 0.2, 0)), ("condenser", (0, 0, 1))]:
        only = kind == "condenser"
        if not only:
            write(folder + "/fusion.safetensors", {**fusion, **state},
                  {"tessera.fusion": kind, "heads": str(FHEADS), "sigma": str(SIGMA), **look})
        p = leaves(fusion)
        loss, hole, logits = fusion_loss(model, p, pictures, codes, only, weights)
        loss.backward()
        out[kind + ".objective"], out[kind + ".loss"] = loss.reshape(1), hole.reshape(1)
        if not only:
            out[kind + ".logits"] = logits
        out.update({"%s.grad.%s" % (kind, k): v.grad.clone() for k, v in p.items()})
        if only:
            continue
        p = leaves(fusion)
        steps(p, lambda p: fusion_loss(model, p, pictures, codes, only, weights)[0], torch.optim.SGD(p.values(), lr=0.5), 3)
        out.update({"%s.after3.%s" % (kind, k): v for k, v in p.items() if k in ("label.weight", "cross.k.bias")})
    write(folder + "/expected.safetensors", out, {})


main(sys.argv[1])

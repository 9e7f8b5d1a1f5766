#!/usr/bin/python3
"""Writes tests/golden/clip_told.safetensors: a tiny CLIP as open_clip's large ones are (heads that no 64th of the width gives, erf
GELU, pictures normalised by 0.5 and 0.5) under the published names, three pictures and texts, and PyTorch's features of them by
nn.MultiheadAttention, nn.GELU and nn.LayerNorm, in double precision: with GELU, with QuickGELU, with other heads, and with the
pictures normalised so. Needs python3-torch. The same file comes out each time.
"""
import json
import os
import struct

import torch
from torch import nn

torch.set_num_threads(1)
OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "clip_told.safetensors")
COUNT, IMAGE, PATCH, CONTEXT, VOCABULARY, EMBED = 3, 12, 4, 6, 30, 8
WIDTH, LAYERS, HEADS, TEXT_WIDTH, TEXT_LAYERS, TEXT_HEADS = 15, 2, 5, 12, 2, 3
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073], dtype=torch.float64)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711], dtype=torch.float64)


class QuickGELU(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(1.702 * x)


class Block(nn.Module):
    def __init__(self, width, heads, act):
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, 4 * width))
        self.mlp.add_module("act", act())
        self.mlp.add_module("c_proj", nn.Linear(4 * width, width))

    def forward(self, x, mask):
        h = self.ln_1(x)
        x = x + self.attn(h, h, h, need_weights=False, attn_mask=mask)[0]
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    def __init__(self, width, layers, heads, act):
        super().__init__()
        self.resblocks = nn.ModuleList(Block(width, heads, act) for _ in range(layers))

    def forward(self, x, mask=None):
        x = x.transpose(0, 1)
        for block in self.resblocks:
            x = block(x, mask)
        return x.transpose(0, 1)


class Visual(nn.Module):
    def __init__(self, heads, act):
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTH, PATCH, PATCH, bias=False)
        self.class_embedding = nn.Parameter(torch.zeros(WIDTH))
        self.positional_embedding = nn.Parameter(torch.zeros(1 + (IMAGE // PATCH) ** 2, WIDTH))
        self.ln_pre, self.ln_post = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.transformer = Transformer(WIDTH, LAYERS, heads, act)
        self.proj = nn.Parameter(torch.zeros(WIDTH, EMBED))

    def forward(self, pixels):
        x = self.conv1(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.expand(len(x), 1, -1), x], dim=1) + self.positional_embedding
        return self.ln_post(self.transformer(self.ln_pre(x))[:, 0]) @ self.proj


class Clip(nn.Module):
    def __init__(self, heads, text_heads, act):
        super().__init__()
        self.visual = Visual(heads, act)
        self.transformer = Transformer(TEXT_WIDTH, TEXT_LAYERS, text_heads, act)
        self.token_embedding = nn.Embedding(VOCABULARY, TEXT_WIDTH)
        self.positional_embedding = nn.Parameter(torch.zeros(CONTEXT, TEXT_WIDTH))
        self.ln_final = nn.LayerNorm(TEXT_WIDTH)
        self.text_projection = nn.Parameter(torch.zeros(TEXT_WIDTH, EMBED))
        self.logit_scale = nn.Parameter(torch.tensor(2.0))

    def text(self, tokens):
        mask = torch.full((CONTEXT, CONTEXT), float("-inf"), dtype=torch.float64).triu(1)
        x = self.transformer(self.token_embedding(tokens) + self.positional_embedding, mask)
        return self.ln_final(x)[torch.arange(len(x)), tokens.argmax(-1)] @ self.text_projection


def unit(x):
    return (x / x.norm(dim=-1, keepdim=True)).detach()


def write(path, tensors, metadata):
    header, at = {"__metadata__": metadata}, 0
    kinds = {torch.float32: "F32", torch.int32: "I32"}
    for name, t in tensors.items():
        header[name] = {"dtype": kinds[t.dtype], "shape": list(t.shape), "data_offsets": [at, at + 4 * t.numel()]}
        at += 4 * t.numel()
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for t in tensors.values():
            f.write(t.contiguous().numpy().tobytes())


def main():
    rng = torch.Generator().manual_seed(12)
    model = Clip(HEADS, TEXT_HEADS, nn.GELU).double()
    weights = {}
    for name, p in model.named_parameters():
        deviation = 0.4 if p.dim() < 2 else 1.5 * (p[0].numel()) ** -0.5
        mean = 1.0 if "ln_" in name and name.endswith("weight") else 2.0 if name == "logit_scale" else 0.0
        weights[name] = (torch.randn(p.shape, generator=rng) * deviation + mean).float()
    weights["logit_scale"] = torch.tensor(2.0)
    pictures = torch.rand(COUNT, 3, IMAGE, IMAGE, generator=rng).double()
    tokens = torch.zeros(COUNT, CONTEXT, dtype=torch.int32)
    for i in range(COUNT):
        tokens[i, : 3 + i] = torch.tensor([VOCABULARY - 2, *range(3 * i, 3 * i + 1 + i), VOCABULARY - 1])
    own = (pictures - MEAN.view(3, 1, 1)) / STD.view(3, 1, 1)
    out = {"model." + k: v for k, v in weights.items()}
    out["pixels"] = own.permute(0, 2, 3, 1).float()
    out["tokens"] = tokens
    for name, heads, text_heads, act in (("gelu", HEADS, TEXT_HEADS, nn.GELU), ("quick_gelu", HEADS, TEXT_HEADS, QuickGELU),
                                         ("heads", 3, 2, nn.GELU)):
        model = Clip(heads, text_heads, act).double()
        model.load_state_dict({k: v.double() for k, v in weights.items()})
        out[name + ".images"] = unit(model.visual(own)).float()
        out[name + ".texts"] = unit(model.text(tokens.long())).float()
        if name == "gelu":
            out["half.images"] = unit(model.visual((pictures - 0.5) / 0.5)).float()
    write(OUT, out, {})
    print(os.path.getsize(OUT))


main()

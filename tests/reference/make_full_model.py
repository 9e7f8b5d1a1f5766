#!/usr/bin/env python3
"""Writes an MAE-VQGAN of random weights in the container and under the names of the published checkpoints: torch.save of a dict with
the tensors under 'model' and an argparse.Namespace under 'args'. For measuring and testing at full size; its answers mean nothing.

    make_full_model.py OUT.pth            ViT-L encoder, 8-block decoder, f16 VQGAN: 1.6 GB
    make_full_model.py --model base OUT   also small, huge
    make_full_model.py --tiny OUT         a few MB; --dim, --depth, ... choose
    make_full_model.py --vqgan V.ckpt OUT also the VQGAN alone, in its own container
"""
import argparse
import math

import torch

# dim, depth, patch of the published encoders; all have the decoder 512 x 8.
MODELS = {"small": (384, 12, 16), "base": (768, 12, 16), "large": (1024, 24, 16), "huge": (1280, 32, 14)}


class Maker:
    """Collects tensors by name: weights of variance 1 / fan in, biases small, norms near 1, as a trained model's roughly are."""

    def __init__(self, seed):
        self.rng = torch.Generator().manual_seed(seed)
        self.tensors = {}

    def normal(self, name, shape, deviation):
        self.tensors[name] = torch.empty(shape).normal_(0, deviation, generator=self.rng)

    def layer(self, name, *shape):
        self.normal(name + ".weight", shape, 1 / math.sqrt(math.prod(shape[1:])))
        self.normal(name + ".bias", shape[:1], 0.02)

    def norm(self, name, width):
        self.normal(name + ".weight", (width,), 0.1)
        self.tensors[name + ".weight"] += 1
        self.normal(name + ".bias", (width,), 0.02)


def positions(side, width):
    """(1, 1 + side^2, width): the column's sines and cosines, then the row's; row 0, the class token's, is zero."""
    w = 10000 ** (-torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    row, col = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    parts = []
    for at in (col, row):
        angle = at.reshape(-1, 1).double() * w
        parts += [angle.sin(), angle.cos()]
    p = torch.cat(parts, dim=1)
    return torch.cat([torch.zeros(1, width).double(), p])[None].float()


def add_blocks(m, prefix, width, depth):
    for i in range(depth):
        at = f"{prefix}.{i}."
        m.norm(at + "norm1", width)
        m.layer(at + "attn.qkv", 3 * width, width)
        m.layer(at + "attn.proj", width, width)
        m.norm(at + "norm2", width)
        m.layer(at + "mlp.fc1", 4 * width, width)
        m.layer(at + "mlp.fc2", width, 4 * width)


def add_mae(m, a):
    side = a.canvas // a.patch
    m.normal("cls_token", (1, 1, a.dim), 0.02)
    m.tensors["pos_embed"] = positions(side, a.dim)
    m.normal("mask_token", (1, 1, a.decoder_dim), 0.02)
    m.tensors["decoder_pos_embed"] = positions(side, a.decoder_dim)
    m.layer("patch_embed.proj", a.dim, 3, a.patch, a.patch)
    add_blocks(m, "blocks", a.dim, a.depth)
    m.norm("norm", a.dim)
    m.layer("decoder_embed", a.decoder_dim, a.dim)
    add_blocks(m, "decoder_blocks", a.decoder_dim, a.decoder_depth)
    m.norm("decoder_norm", a.decoder_dim)
    m.layer("decoder_pred", a.codes, a.decoder_dim)


def add_resblock(m, at, n_in, n_out):
    m.norm(at + ".norm1", n_in)
    m.layer(at + ".conv1", n_out, n_in, 3, 3)
    m.norm(at + ".norm2", n_out)
    m.layer(at + ".conv2", n_out, n_out, 3, 3)
    if n_in != n_out:
        m.layer(at + ".nin_shortcut", n_out, n_in, 1, 1)


def add_attention(m, at, width):
    m.norm(at + ".norm", width)
    for layer in ("q", "k", "v", "proj_out"):
        m.layer(f"{at}.{layer}", width, width, 1, 1)


def add_middle(m, at, width):
    add_resblock(m, at + ".block_1", width, width)
    add_attention(m, at + ".attn_1", width)
    add_resblock(m, at + ".block_2", width, width)


def add_vqgan(m, prefix, a):
    widths = [a.base * k for k in (1, 1, 2, 2, 4)]
    last = len(widths) - 1
    width = a.base
    m.layer(prefix + "encoder.conv_in", width, 3, 3, 3)
    for level, out in enumerate(widths):
        for i in range(a.blocks):
            add_resblock(m, f"{prefix}encoder.down.{level}.block.{i}", width, out)
            width = out
            if level == last:
                add_attention(m, f"{prefix}encoder.down.{level}.attn.{i}", width)
        if level < last:
            m.layer(f"{prefix}encoder.down.{level}.downsample.conv", width, width, 3, 3)
    add_middle(m, prefix + "encoder.mid", width)
    m.norm(prefix + "encoder.norm_out", width)
    m.layer(prefix + "encoder.conv_out", a.latent, width, 3, 3)
    m.layer(prefix + "quant_conv", a.latent, a.latent, 1, 1)
    m.normal(prefix + "quantize.embedding.weight", (a.codes, a.latent), 1)
    m.layer(prefix + "post_quant_conv", a.latent, a.latent, 1, 1)
    m.layer(prefix + "decoder.conv_in", width, a.latent, 3, 3)
    add_middle(m, prefix + "decoder.mid", width)
    for level in range(last, -1, -1):
        for i in range(a.blocks + 1):
            add_resblock(m, f"{prefix}decoder.up.{level}.block.{i}", width, widths[level])
            width = widths[level]
            if level == last:
                add_attention(m, f"{prefix}decoder.up.{level}.attn.{i}", width)
        if level > 0:
            m.layer(f"{prefix}decoder.up.{level}.upsample.conv", width, width, 3, 3)
    m.norm(prefix + "decoder.norm_out", width)
    m.layer(prefix + "decoder.conv_out", 3, width, 3, 3)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out")
    p.add_argument("--model", choices=MODELS, default="large")
    p.add_argument("--tiny", action="store_true", help="small widths everywhere; needs --heads 4 --decoder-heads 4 to run")
    p.add_argument("--vqgan", metavar="FILE", help="also write the VQGAN alone, under 'state_dict'")
    p.add_argument("--seed", type=int, default=0)
    for name in ("dim", "depth", "patch", "canvas", "decoder-dim", "decoder-depth", "codes", "base", "blocks", "latent"):
        p.add_argument("--" + name, type=int)
    a = p.parse_args()
    dim, depth, patch = MODELS[a.model]
    full = dict(dim=dim, depth=depth, patch=patch, canvas=224, decoder_dim=512, decoder_depth=8, codes=1024, base=128, blocks=2,
                latent=256)
    tiny = dict(full, dim=128, depth=4, patch=16, decoder_dim=64, decoder_depth=2, base=32, blocks=1, latent=32)
    for name, value in (tiny if a.tiny else full).items():
        if getattr(a, name) is None:
            setattr(a, name, value)

    m = Maker(a.seed)
    add_mae(m, a)
    add_vqgan(m, "vae.", a)
    settings = argparse.Namespace(model=f"mae_vit_{a.model}_patch{a.patch}", input_size=a.canvas, blr=1e-4, resume="")
    torch.save({"model": m.tensors, "optimizer": {"state": {}, "param_groups": []}, "epoch": 0, "scaler": {}, "args": settings}, a.out)
    if a.vqgan:
        bare = {name[4:]: t for name, t in m.tensors.items() if name.startswith("vae.")}
        torch.save({"epoch": 0, "global_step": 0, "state_dict": bare}, a.vqgan)
    print(f"{a.out}: {len(m.tensors)} tensors, {sum(t.numel() for t in m.tensors.values())} parameters")


if __name__ == "__main__":
    main()

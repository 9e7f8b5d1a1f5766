#!/usr/bin/env python3
"""Writes a CLIP of random weights under the names of the published files, torch.save of its state dict, half and single precision
mixed as published. For measuring and testing at full size; its answers mean nothing.

    make_full_clip.py OUT.pt              ViT-B/32: 354 MB
    make_full_clip.py --model B/16 OUT    also L/14, L/14@336
    make_full_clip.py --single OUT        all of it in single precision
"""
import argparse
import math

import torch

# image, patch, width, layers, text width, text layers, joint width
MODELS = {
    "B/32": (224, 32, 768, 12, 512, 12, 512),
    "B/16": (224, 16, 768, 12, 512, 12, 512),
    "L/14": (224, 14, 1024, 24, 768, 12, 768),
    "L/14@336": (336, 14, 1024, 24, 768, 12, 768),
}
CONTEXT, VOCABULARY = 77, 49408


class Maker:
    """Collects tensors by name, drawn as the published code initialises them; norms near 1 and biases small, as a trained model's
    are."""

    def __init__(self, seed, single):
        self.rng = torch.Generator().manual_seed(seed)
        self.half = torch.float32 if single else torch.float16
        self.tensors = {}

    def normal(self, name, shape, deviation, dtype=None, mean=0.0):
        self.tensors[name] = torch.empty(shape).normal_(mean, deviation, generator=self.rng).to(dtype or torch.float32)

    def norm(self, name, width):
        self.normal(name + ".weight", (width,), 0.1, mean=1.0)
        self.normal(name + ".bias", (width,), 0.02)

    def layer(self, weight, bias, rows, columns, deviation):
        self.normal(weight, (rows, columns), deviation, self.half)
        self.normal(bias, (rows,), 0.02, self.half)

    def blocks(self, prefix, width, layers):
        narrow = width ** -0.5 * (2 * layers) ** -0.5
        for i in range(layers):
            at = f"{prefix}.resblocks.{i}."
            self.layer(at + "attn.in_proj_weight", at + "attn.in_proj_bias", 3 * width, width, width ** -0.5)
            self.layer(at + "attn.out_proj.weight", at + "attn.out_proj.bias", width, width, narrow)
            self.norm(at + "ln_1", width)
            self.layer(at + "mlp.c_fc.weight", at + "mlp.c_fc.bias", 4 * width, width, (2 * width) ** -0.5)
            self.layer(at + "mlp.c_proj.weight", at + "mlp.c_proj.bias", width, 4 * width, narrow)
            self.norm(at + "ln_2", width)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--model", choices=sorted(MODELS), default="B/32")
    parser.add_argument("--single", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    image, patch, width, layers, text_width, text_layers, embed = MODELS[args.model]
    m = Maker(args.seed, args.single)
    m.normal("positional_embedding", (CONTEXT, text_width), 0.01)
    m.normal("text_projection", (text_width, embed), text_width ** -0.5, m.half)
    m.tensors["logit_scale"] = torch.tensor(math.log(100.0))
    m.normal("visual.class_embedding", (width,), width ** -0.5)
    m.normal("visual.positional_embedding", (1 + (image // patch) ** 2, width), width ** -0.5)
    m.normal("visual.proj", (width, embed), width ** -0.5, m.half)
    m.normal("visual.conv1.weight", (width, 3, patch, patch), (3 * patch * patch) ** -0.5, m.half)
    m.norm("visual.ln_pre", width)
    m.blocks("visual.transformer", width, layers)
    m.norm("visual.ln_post", width)
    m.blocks("transformer", text_width, text_layers)
    m.normal("token_embedding.weight", (VOCABULARY, text_width), 0.02)
    m.norm("ln_final", text_width)
    for name, value in (("input_resolution", image), ("context_length", CONTEXT), ("vocab_size", VOCABULARY)):
        m.tensors[name] = torch.tensor(value)  # by which OpenAI's files are known
    torch.save(m.tensors, args.out)
    print(f"{args.out}: ViT-{args.model}, {sum(t.numel() for t in m.tensors.values())} numbers")


if __name__ == "__main__":
    main()

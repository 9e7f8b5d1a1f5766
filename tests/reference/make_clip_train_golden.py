#!/usr/bin/python3
"""Writes tests/golden/clip_train.safetensors: a tiny CLIP under the published names, a batch of pairs, and what PyTorch makes of
it: the gradient of every parameter in the first step of contrastive training, the losses of six steps of AdamW (0.9, 0.98, 1e-6,
weight decay 0.2 on matrices), and the parameters after them.

The model is written out here from the paper (Radford et al. 2021, section 2.4 and figure 3; the published code's names), in double
precision. Needs python3-torch. The same file comes out each time.
"""
import json
import math
import os
import struct

import torch
import torch.nn.functional as F

torch.set_num_threads(1)
OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "clip_train.safetensors")
BATCH, IMAGE, PATCH, CONTEXT, VOCABULARY, EMBED, STEPS, LR = 5, 12, 4, 7, 20, 6, 6, 2e-3
VISION, TEXT = (16, 2, 2), (12, 1, 3)  # width, layers, heads


def make_model(rng):
    def normal(*shape, std):
        return torch.randn(*shape, generator=rng, dtype=torch.float64) * std

    p = {}

    def blocks(prefix, width, layers):
        for i in range(layers):
            at = f"{prefix}.{i}."
            for name, shape in (("attn.in_proj_", (3 * width, width)), ("attn.out_proj.", (width, width)),
                                ("mlp.c_fc.", (4 * width, width)), ("mlp.c_proj.", (width, 4 * width))):
                p[at + name + "weight"] = normal(*shape, std=shape[1] ** -0.5)
                p[at + name + "bias"] = normal(shape[0], std=0.1)
            for name in ("ln_1", "ln_2"):
                norm(at + name, width)

    def norm(name, width):
        p[name + ".weight"] = 1 + normal(width, std=0.1)
        p[name + ".bias"] = normal(width, std=0.1)

    width, text_width, places = VISION[0], TEXT[0], (IMAGE // PATCH) ** 2
    p["visual.class_embedding"] = normal(width, std=0.3)
    p["visual.positional_embedding"] = normal(1 + places, width, std=0.3)
    p["visual.conv1.weight"] = normal(width, 3, PATCH, PATCH, std=0.15)
    norm("visual.ln_pre", width)
    blocks("visual.transformer.resblocks", *VISION[:2])
    norm("visual.ln_post", width)
    p["visual.proj"] = normal(width, EMBED, std=width**-0.5)
    p["token_embedding.weight"] = normal(VOCABULARY, text_width, std=0.5)
    p["positional_embedding"] = normal(CONTEXT, text_width, std=0.3)
    blocks("transformer.resblocks", *TEXT[:2])
    norm("ln_final", text_width)
    p["text_projection"] = normal(text_width, EMBED, std=text_width**-0.5)
    p["logit_scale"] = torch.tensor(math.log(1 / 0.07), dtype=torch.float64)
    # As the file holds them, so that both begin with the same numbers.
    return {k: v.float().double().requires_grad_() for k, v in p.items()}


def transformer(p, prefix, x, width, layers, heads, causal):
    batch, places, _ = x.shape
    mask = torch.full((places, places), -math.inf, dtype=x.dtype).triu(1) if causal else 0
    for i in range(layers):
        at = f"{prefix}.{i}."

        def norm(name, x):
            return F.layer_norm(x, (width,), p[at + name + ".weight"], p[at + name + ".bias"])

        h = F.linear(norm("ln_1", x), p[at + "attn.in_proj_weight"], p[at + "attn.in_proj_bias"])
        q, k, v = (t.view(batch, places, heads, -1).transpose(1, 2) for t in h.chunk(3, dim=-1))
        h = (q @ k.transpose(2, 3) * (width // heads) ** -0.5 + mask).softmax(-1) @ v
        h = h.transpose(1, 2).reshape(batch, places, width)
        x = x + F.linear(h, p[at + "attn.out_proj.weight"], p[at + "attn.out_proj.bias"])
        h = F.linear(norm("ln_2", x), p[at + "mlp.c_fc.weight"], p[at + "mlp.c_fc.bias"])
        h = h * torch.sigmoid(1.702 * h)
        x = x + F.linear(h, p[at + "mlp.c_proj.weight"], p[at + "mlp.c_proj.bias"])
    return x


def loss_of(p, pixels, tokens):
    x = F.conv2d(pixels, p["visual.conv1.weight"], stride=PATCH).flatten(2).transpose(1, 2)
    x = torch.cat([p["visual.class_embedding"].expand(BATCH, 1, -1), x], dim=1) + p["visual.positional_embedding"]
    x = F.layer_norm(x, (VISION[0],), p["visual.ln_pre.weight"], p["visual.ln_pre.bias"])
    x = transformer(p, "visual.transformer.resblocks", x, *VISION, causal=False)[:, 0]
    x = F.layer_norm(x, (VISION[0],), p["visual.ln_post.weight"], p["visual.ln_post.bias"]) @ p["visual.proj"]
    t = p["token_embedding.weight"][tokens] + p["positional_embedding"]
    t = transformer(p, "transformer.resblocks", t, *TEXT, causal=True)
    t = F.layer_norm(t, (TEXT[0],), p["ln_final.weight"], p["ln_final.bias"])
    t = t[torch.arange(BATCH), tokens.argmax(-1)] @ p["text_projection"]
    logits = p["logit_scale"].exp() * F.normalize(x, dim=-1) @ F.normalize(t, dim=-1).T
    right = torch.arange(BATCH)
    return (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2


def write(path, tensors, metadata):
    header, at = {"__metadata__": metadata}, 0
    kinds = {torch.float32: "F32", torch.int32: "I32"}
    for name, t in tensors.items():
        size = t.numel() * 4
        header[name] = {"dtype": kinds[t.dtype], "shape": list(t.shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for t in tensors.values():
            f.write(t.contiguous().numpy().tobytes())


def main():
    rng = torch.Generator().manual_seed(7)
    p = make_model(rng)
    pixels = torch.randn(BATCH, 3, IMAGE, IMAGE, generator=rng).double()
    tokens = torch.zeros(BATCH, CONTEXT, dtype=torch.int32)
    for b in range(BATCH):
        words = 1 + b % 3
        tokens[b, 0] = VOCABULARY - 2
        tokens[b, 1:1 + words] = torch.randint(0, VOCABULARY - 2, (words,), generator=rng)
        tokens[b, 1] = b
        tokens[b, 1 + words] = VOCABULARY - 1
    out = {k: v.detach().float() for k, v in p.items()}
    out["train.pixels"] = pixels.permute(0, 2, 3, 1).float()
    out["train.tokens"] = tokens
    matrices = [v for v in p.values() if v.dim() >= 2]
    others = [v for v in p.values() if v.dim() < 2]
    adamw = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.2}, {"params": others, "weight_decay": 0.0}], lr=LR,
                              betas=(0.9, 0.98), eps=1e-6)
    losses = []
    for step in range(STEPS):
        adamw.zero_grad()
        loss = loss_of(p, pixels, tokens.long())
        loss.backward()
        losses.append(loss.item())
        if step == 0:
            out.update({"grad." + k: v.grad.float() for k, v in p.items()})
        adamw.step()
    out["train.losses"] = torch.tensor(losses)
    out.update({"after." + k: v.detach().float() for k, v in p.items()})
    write(OUT, out, {"vision_heads": str(VISION[2]), "text_heads": str(TEXT[2])})
    print(losses, os.path.getsize(OUT))


main()

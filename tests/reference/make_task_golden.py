#!/usr/bin/python3
"""Writes tests/golden/mae_task.safetensors: guidance, steps and task vectors on the small published-layout model
../shared/golden/mae_vqgan_tiny.pth, in double precision and in the plainest way, from their papers' descriptions:

  codes.*          codes at every place with guidance by the example, painted in steps, and both (IMProv's schedule)
  task.codes       codes at every place without an example, some heads patched by the means of their activations
  task.logits      logits of the query's row, the first 32 codes
  task.scores      variance of a unit's activations over two tasks by the mean of the tasks' own

An activation is what the paper has: W_h o + b, as wide as the model. Canvases are drawn by a formula on whole numbers, as the test
draws them. Needs python3-torch and python3-numpy. The same file comes out each time.
"""
import json
import math
import os
import struct
import sys

import numpy as np
import torch

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "bench"))
import bench_pytorch  # noqa: E402  (its model is the published one)

SIDE, PATCH, HEADS, CELL, CODES = 4, 16, 4, 31, 1024
HOLE = [10, 11, 14, 15]
VISIBLE = [p for p in range(16) if p not in HOLE]
QUERY = [8, 9, 12, 13]
PART = list(range(8, 16))
MEAN = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64)
DEVIATION = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64)
MASK64 = (1 << 64) - 1
out = {}


# ---- what the test draws too -----------------------------------------------------------------------------------

def canvas_of(seed):
    img = np.zeros((64, 64, 3), np.uint8)
    y, x, c = np.meshgrid(np.arange(CELL), np.arange(CELL), np.arange(3), indexing="ij")
    for k, (left, top) in enumerate([(0, 0), (33, 0), (0, 33)]):
        img[top:top + CELL, left:left + CELL] = (x * (3 + seed) + y * (5 + 2 * k) + x * y // (2 + k) + 60 * c + 17 * seed) % 256
    return img


def splitmix(state):
    state = (state + 0x9e3779b97f4a7c15) & MASK64
    z = state
    z = ((z ^ (z >> 30)) * 0xbf58476d1ce4e5b9) & MASK64
    z = ((z ^ (z >> 27)) * 0x94d049bb133111eb) & MASK64
    return state, z ^ (z >> 31)


def is_patched(place):
    return place * 7919 % 5 < 2


# ---- the model --------------------------------------------------------------------------------------------------

class Model(bench_pytorch.Model):
    """With `hook(half, block, o)`, which gets the heads' outputs (tokens, heads, dim) and gives what attention adds."""

    def run_blocks(self, half, x, hook):
        prefix, heads = ("blocks.", "decoder_blocks.")[half], HEADS
        for i in range(self.depth(prefix)):
            at = f"{prefix}{i}."
            t, c = x.shape
            qkv = self.linear(at + "attn.qkv", self.norm(at + "norm1", x)).reshape(t, 3, heads, c // heads)
            q, k, v = qkv.permute(1, 2, 0, 3)
            o = torch.softmax(q @ k.transpose(-1, -2) * (c // heads) ** -0.5, -1) @ v  # (heads, t, dim)
            x = x + hook(half, i, o.permute(1, 0, 2))
            x = x + self.linear(at + "mlp.fc2", torch.nn.functional.gelu(self.linear(at + "mlp.fc1", self.norm(at + "norm2", x))))
        return x

    def activations(self, half, block, o):
        """(tokens, heads, dim) -> (tokens, heads, width): each head's own through the projection, and all of the bias."""
        at = f"{('blocks.', 'decoder_blocks.')[half]}{block}.attn.proj"
        w, b = self.w[at + ".weight"], self.w[at + ".bias"]
        width, heads, dim = w.shape[0], o.shape[1], o.shape[2]
        return torch.einsum("whd,thd->thw", w.reshape(width, heads, dim), o) + b

    def bias(self, half, block):
        return self.w[f"{('blocks.', 'decoder_blocks.')[half]}{block}.attn.proj.bias"]

    def plain_hook(self, half, block, o):
        t = o.shape[0]
        return self.linear(f"{('blocks.', 'decoder_blocks.')[half]}{block}.attn.proj", o.reshape(t, -1))

    def logits(self, img, keep, part=None, hook=None):
        """(64, 64, 3) 8 bits -> (places, codes); `part`: what the decoder has."""
        w, hook = self.w, hook or self.plain_hook
        part = list(range(SIDE * SIDE)) if part is None else part
        pixels = (torch.from_numpy(img).double() / 255 - MEAN) / DEVIATION
        x = torch.nn.functional.conv2d(pixels.permute(2, 0, 1)[None], w["patch_embed.proj.weight"], w["patch_embed.proj.bias"],
                                       stride=PATCH)
        x = x[0].flatten(1).T + w["pos_embed"][0, 1:]
        x = torch.cat([w["cls_token"][0] + w["pos_embed"][0, :1], x[keep]])
        x = self.norm("norm", self.run_blocks(0, x, hook))
        x = self.linear("decoder_embed", x)
        full = w["mask_token"][0].expand(SIDE * SIDE, -1).clone()
        full[keep] = x[1:]
        full = torch.cat([x[:1], full]) + w["decoder_pos_embed"][0]
        full = full[[0] + [1 + p for p in part]]
        full = self.norm("decoder_norm", self.run_blocks(1, full, hook))
        return self.linear("decoder_pred", full)[1:]

    def painted(self, codes):
        picture = self.paint(codes[None])[0].permute(1, 2, 0)
        return (picture * 255).clamp(0, 255).numpy().astype(np.uint8)  # truncated


# ---- guidance and steps -----------------------------------------------------------------------------------------

def without_example(img):
    img = img.copy()
    img[:CELL, :CELL] = 0
    img[:CELL, 33:33 + CELL] = 0
    return img


def margin(logits):
    best = logits.topk(2).values
    return float((best[:, 0] - best[:, 1]).min())


def in_steps(model, img, guide, steps, seed):
    unknown, filled, tokens, least = list(HOLE), img.copy(), None, math.inf
    for step in range(steps):
        time = step / (steps - 1) if steps > 1 else 1.0
        weight = 1 + time * (guide - 1)
        keep = VISIBLE + [p for p in HOLE if p not in unknown]
        logits = model.logits(filled, keep)
        if weight != 1:
            blank = model.logits(without_example(filled), keep)
            logits = blank + weight * (logits - blank)
        now = logits.argmax(-1)
        tokens = now.clone() if tokens is None else tokens
        tokens[unknown] = now[unknown]
        least = min(least, margin(logits[unknown if step else list(range(16))]))
        if step + 1 == steps:
            break
        picture = model.painted(now)
        for p in unknown:
            y, x = p // SIDE * PATCH, p % SIDE * PATCH
            filled[y:y + PATCH, x:x + PATCH] = picture[y:y + PATCH, x:x + PATCH]
        _, state = splitmix(seed)
        state = (state + step) & MASK64
        _, state = splitmix(state)
        confidence = {}
        for p in range(16):
            state, bits = splitmix(state)
            noise = -math.log(-math.log((bits >> 11) * 2.0 ** -53))
            confidence[p] = float(torch.log_softmax(logits[p], -1)[now[p]]) + 4.5 * (1 - time) * noise
        order = sorted(unknown, key=lambda p: confidence[p])
        hidden = max(1, min(len(unknown) - 1, math.floor(math.cos(math.pi / 2 * time) * len(HOLE))))
        if len(order) > hidden:
            least = min(least, abs(confidence[order[hidden - 1]] - confidence[order[hidden]]))
        unknown = sorted(order[:hidden])
    assert least > 5e-4, f"codes too near to each other to be compared: {least}"
    return tokens.int().numpy()


# ---- task vectors -----------------------------------------------------------------------------------------------

def collect(model, seeds):
    """Activations of the task's tokens on each canvas: [half][block] (canvases, tokens, heads, width)."""
    rows = [[0] + [1 + VISIBLE.index(p) for p in QUERY], [0] + [1 + p for p in PART]]
    seen = [{}, {}]

    def hook(half, block, o):
        seen[half].setdefault(block, []).append(model.activations(half, block, o)[rows[half]])
        return model.plain_hook(half, block, o)

    for seed in seeds:
        model.logits(canvas_of(seed), VISIBLE, hook=hook)
    return [[torch.stack(half[b]) for b in sorted(half)] for half in seen]


def patched(model, img, means):
    place = [0, len(means[0]) * 5 * HEADS]  # the decoder's bytes of a mask come behind the encoder's

    def hook(half, block, o):
        tokens, bias = o.shape[0], model.bias(half, block)
        first = place[half] + block * tokens * HEADS
        said, extra = o.clone(), torch.zeros(tokens, bias.shape[0], dtype=torch.float64)
        for t in range(tokens):
            for h in range(HEADS):
                if is_patched(first + t * HEADS + h):
                    said[t, h] = 0
                    extra[t] += means[half][block][t, h] - bias
        return model.plain_hook(half, block, said) + extra

    return model.logits(img, QUERY, PART, hook)


def scores(tasks):
    """Of units: encoder, then decoder; block, head, group (class, query, hole)."""
    groups = [[[0], [1, 2, 3, 4]], [[0], [1, 2, 5, 6], [3, 4, 7, 8]]]
    result = []
    for half in range(2):
        for block in range(len(tasks[0][half])):
            for head in range(HEADS):
                for group in groups[half]:
                    a = [task[half][block][:, group, head].flatten(1) for task in tasks]
                    within = sum(float(x.var(0, unbiased=False).sum()) for x in a) / len(a)
                    over = float(torch.cat(a).var(0, unbiased=False).sum())
                    result.append(over / within)
    return np.array(result, np.float32)


def save(path):
    header, data, end = {}, [], 0
    for name, t in out.items():
        t = np.ascontiguousarray(t)
        kind = {"int32": "I32", "float32": "F32"}[t.dtype.name]
        header[name] = {"dtype": kind, "shape": list(t.shape), "data_offsets": [end, end + t.nbytes]}
        data.append(t.tobytes())
        end += t.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        f.writelines(data)


def main():
    path = os.path.join(HERE, "..", "..", "..", "shared", "golden", "mae_vqgan_tiny.pth")
    with torch.inference_mode():
        model = Model(bench_pytorch.load(path, "cpu", torch.float64), HEADS, HEADS)
        img = canvas_of(1)
        out["codes.guide"] = in_steps(model, img, 2, 1, 0)
        out["codes.steps"] = in_steps(model, img, 1, 5, 3)
        out["codes.both"] = in_steps(model, img, 2.5, 5, 7)
        tasks = [collect(model, [1, 2, 3]), collect(model, [4, 5, 6])]
        means = [[a.mean(0) for a in half] for half in tasks[0]]
        logits = patched(model, canvas_of(9), means)
        assert margin(logits) > 5e-4
        codes = logits.argmax(-1).int().numpy()
        out["task.codes"] = np.concatenate([codes, codes])  # the query's row stands above itself too
        out["task.logits"] = logits[:, :32].float().numpy()
        out["task.scores"] = scores(tasks)
    save(os.path.join(HERE, "..", "golden", "mae_task.safetensors"))


if __name__ == "__main__":
    main()

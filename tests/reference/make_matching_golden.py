#!/usr/bin/python3
"""Writes tests/golden/matching.safetensors: the pieces that segment by one example, each by numpy's or PyTorch's own function or in
the plainest way (PerSAM-F's scales, GF-SAM's choice among them), and INSID3 as a whole on the small DINOv3 of tests/golden/dino: pictures drawn here, resized by Pillow, features by
make_dino_golden.py, all of it in double precision. Also the patch tokens of the CLIP of tests/golden/clip_told.safetensors at another
grid. Needs python3-torch, python3-numpy and python3-pil. The same file comes out each time.
"""
import importlib.util
import json
import math
import os
import struct
import sys

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(HERE, "..", "golden")
out, meta = {}, {}


def load(name):
    with open(os.path.join(GOLDEN, name), "rb") as f:
        size, = struct.unpack("<Q", f.read(8))
        header, data = json.loads(f.read(size)), f.read()
    read = {}
    for key, t in header.items():
        if key != "__metadata__" and t["dtype"] == "F32":
            raw = np.frombuffer(data[t["data_offsets"][0]:t["data_offsets"][1]], np.float32)
            read[key] = torch.from_numpy(raw.reshape(t["shape"]).astype(np.float64))
    return read, header.get("__metadata__", {})


def save(path):
    header, data, end = {"__metadata__": meta}, [], 0
    for name, t in out.items():
        t = np.ascontiguousarray(t)
        t = t if t.dtype in (np.uint8, np.int32) else t.astype(np.float32)
        kind = {"uint8": "U8", "int32": "I32", "float32": "F32"}[t.dtype.name]
        header[name] = {"dtype": kind, "shape": list(t.shape), "data_offsets": [end, end + t.nbytes]}
        data.append(t.tobytes())
        end += t.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        f.writelines(data)


def linkage(distance, cut):
    """Always the nearest two, until none are below the cut."""
    n = len(distance)
    groups = [[i] for i in range(n)]
    while len(groups) > 1:
        means = [(distance[np.ix_(a, b)].mean(), i, j) for i, a in enumerate(groups) for j, b in enumerate(groups) if i < j]
        best, i, j = min(means)
        if best >= cut:
            break
        groups[i] += groups.pop(j)
    label = np.zeros(n, np.int32)
    for k, group in enumerate(sorted(min(g) for g in groups)):
        label[[g for g in groups if min(g) == group][0]] = k
    return label


def nearest_resize(mask, h, w):
    return F.interpolate(torch.from_numpy(mask[None, None].astype(np.float64)), size=(h, w), mode="nearest")[0, 0].numpy()


def bilinear(m, h, w, corners=False):
    return F.interpolate(torch.from_numpy(np.asarray(m, np.float64))[None, None], size=(h, w), mode="bilinear",
                         align_corners=corners)[0, 0].numpy()


def to_places(mask, pixels, side):
    square = nearest_resize(mask, pixels, pixels) > 0.5
    small = bilinear(square, side, side) > 0.5
    if not small.any():
        small = nearest_resize(square, side, side) > 0.5
    if not small.any():
        ys, xs = np.nonzero(mask)
        small[int(ys.mean()) * side // mask.shape[0], int(xs.mean()) * side // mask.shape[1]] = True
    return small


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def clip_places(rows, columns):
    p, _ = load("clip_told.safetensors")
    p = {k[13:]: v for k, v in p.items() if k.startswith("model.visual.")}
    width, _, patch, _ = p["conv1.weight"].shape
    side, heads = math.isqrt(len(p["positional_embedding"]) - 1), 5
    pixels = torch.randn((3, rows * patch, columns * patch), generator=torch.Generator().manual_seed(5)).double()
    x = F.conv2d(pixels[None], p["conv1.weight"], stride=patch)[0].flatten(1).T
    grid = p["positional_embedding"][1:].reshape(1, side, side, width).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, mode="bicubic", size=(rows, columns)).permute(0, 2, 3, 1).reshape(-1, width)
    x = torch.cat((p["class_embedding"][None] + p["positional_embedding"][:1], x + grid))
    x = F.layer_norm(x, (width,), p["ln_pre.weight"], p["ln_pre.bias"])
    for i in range(2):
        b = {k.split(".", 3)[3]: v for k, v in p.items() if k.startswith(f"transformer.resblocks.{i}.")}
        h = F.layer_norm(x, (width,), b["ln_1.weight"], b["ln_1.bias"])
        q, k, v = F.linear(h, b["attn.in_proj_weight"], b["attn.in_proj_bias"]).reshape(len(x), 3, heads, -1).permute(1, 2, 0, 3)
        h = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(width // heads), dim=-1) @ v
        x = x + F.linear(h.transpose(0, 1).reshape(x.shape), b["attn.out_proj.weight"], b["attn.out_proj.bias"])
        h = F.layer_norm(x, (width,), b["ln_2.weight"], b["ln_2.bias"])
        h = F.gelu(F.linear(h, b["mlp.c_fc.weight"], b["mlp.c_fc.bias"]))
        x = x + F.linear(h, b["mlp.c_proj.weight"], b["mlp.c_proj.bias"])
    x = F.layer_norm(x, (width,), p["ln_post.weight"], p["ln_post.bias"])[1:]
    out["clip.pixels"], out["clip.tokens"] = pixels.permute(1, 2, 0).numpy(), x.numpy()


def pieces():
    rng = np.random.default_rng(7)
    tokens = rng.standard_normal((60, 24)) @ rng.standard_normal((24, 24))
    left = np.linalg.svd((tokens - tokens.mean(0)).astype(np.float64).T, full_matrices=False)[0][:, :7]
    out["basis.tokens"], out["basis.projector"] = tokens, left @ left.T
    symmetric = rng.standard_normal((33, 33))
    symmetric = symmetric + symmetric.T
    symmetric[20:] = symmetric[:, 20:] = 0  # a null space, and zeros to clear
    out["eigen.matrix"], out["eigen.values"] = symmetric, np.linalg.eigvalsh(symmetric)[::-1].copy()
    points = unit(np.repeat(rng.standard_normal((6, 5)), 8, axis=0) + 0.35 * rng.standard_normal((48, 5)))
    distance = (1 - points @ points.T).astype(np.float32)
    for cut in ("0.05", "0.2", "0.6", "9"):
        out[f"linkage.{cut}"] = linkage(distance.astype(np.float64), float(cut))
    out["linkage.distance"] = distance
    small = rng.standard_normal((7, 5)).astype(np.float32)
    out["map.in"] = small
    for corners in (0, 1):
        out[f"map.{corners}.larger"] = bilinear(small, 12, 9, bool(corners))
        out[f"map.{corners}.smaller"] = bilinear(small, 3, 4, bool(corners))
    yy, xx = np.mgrid[:50, :70]
    masks = {"disc": (yy - 20) ** 2 + (xx - 40) ** 2 < 200, "line": yy == 24, "dot": (yy == 37) & (xx == 11)}
    for name, mask in masks.items():
        out[f"mask.{name}"] = mask.astype(np.uint8)
        out[f"mask.{name}.places"] = to_places(mask, 48, 6).astype(np.uint8)


def picture(seed, h, w, colour):
    """A disc of one colour on smooth ground, and its mask."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[:h, :w]
    ground = [120 + 60 * np.sin(yy / (4 + 3 * rng.random()) + 9 * rng.random()) * np.cos(xx / (4 + 3 * rng.random())) for _ in "rgb"]
    img = np.stack(ground, -1)
    cy, cx, r = h * (0.35 + 0.3 * rng.random()), w * (0.35 + 0.3 * rng.random()), 0.27 * min(h, w)
    mask = (yy - cy) ** 2 + (xx - cx) ** 2 < r * r
    img[mask] = np.array(colour) + 8 * rng.standard_normal((mask.sum(), 3))
    return np.clip(img, 0, 255).astype(np.uint8), mask


def insid3(dino, side, components, likeness, threshold):
    model, header = load("dino/v3.safetensors")
    model = {k: v for k, v in model.items() if not k.startswith("expected.")}
    p = {}
    for key, t in model.items():
        if ".mlp.w2." in key or key.endswith("bias_mask"):
            continue
        if ".mlp.w1." in key:
            p[key.replace(".w1.", ".w12.")] = torch.cat((t, model[key.replace(".w1.", ".w2.")]))
        else:
            p[key.replace("storage_tokens", "register_tokens")] = t
    pixels = side * 2

    def features(img):
        small = np.asarray(Image.fromarray(img).resize((pixels, pixels), Image.BILINEAR)).astype(np.float64) / 255
        small = (small - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        return unit(dino.forward(p, torch.from_numpy(small).permute(2, 0, 1), int(header["heads"]), 3)[1].numpy())

    nothing = features(np.zeros((pixels, pixels, 3), np.uint8))
    left = np.linalg.svd((nothing - nothing.mean(0)).T, full_matrices=False)[0][:, :components]
    without = lambda f: unit(f - f @ left @ left.T)
    examples = [picture(11, 40, 52, (220, 40, 30)), picture(12, 45, 36, (215, 50, 35)), picture(14, 31, 33, (210, 45, 40))]
    query, _ = picture(13, 47, 61, (218, 44, 33))
    f = features(query)
    g = without(f)
    label = linkage(1 - f @ f.T, 1 - likeness)
    out["insid3.query"] = query
    for i, (img, mask) in enumerate(examples):
        out[f"insid3.example{i}"], out[f"insid3.mask{i}"] = img, mask.astype(np.uint8)
    for shots in (1, 3):
        refs = [(without(features(img)), to_places(mask, pixels, side).ravel()) for img, mask in examples[:shots]]
        prototype = unit(np.mean([r[m].mean(0) for r, m in refs], axis=0))
        like = g @ prototype
        forward = like > 0 if (like > 0).any() else like > np.quantile(like, 0.9)
        votes = sum(m[(g @ r.T).argmax(1)].astype(int) for r, m in refs)
        candidate = forward & (votes >= math.ceil(shots / 2))
        clusters = range(label.max() + 1)
        proto = unit(np.stack([f[label == k].mean(0) for k in clusters]))
        bare = unit(np.stack([g[label == k].mean(0) for k in clusters]))
        touched = [k for k in clusters if candidate[label == k].any()]
        seed = max(touched, key=lambda k: bare[k] @ prototype)
        share = np.array([candidate[label == k].mean() for k in clusters])
        share[seed] = 1
        score = np.array([like[label == k].mean() for k in clusters]) * (proto @ proto[seed]) * share
        places = score[label] > threshold
        big = bilinear(places.reshape(side, side), pixels, pixels) > 0.5
        answer = bilinear(big, *query.shape[:2]) > 0.5
        out[f"insid3.answer{shots}"] = answer.astype(np.uint8)
        print(f"{shots} shots: {len(list(clusters))} clusters, {candidate.sum()} candidates, {places.sum()} of {side * side} places, "
              f"nearest score to the threshold {abs(score - threshold).min():.4f}, scores", np.sort(score)[-4:], file=sys.stderr)
    meta.update(side=str(side), components=str(components), likeness=str(likeness), threshold=str(threshold))


def tune(logits, inside, shots):
    """PerSAM-F's two numbers, by PyTorch's own optimizer and losses."""
    w = torch.nn.Parameter(torch.full((2,), 1 / 3, dtype=torch.float64))
    optimizer = torch.optim.AdamW([w], lr=1e-3, eps=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 1000)
    for _ in range(1000):
        loss = 0
        for x, t in list(zip(logits, inside))[:shots]:
            mixed = (torch.cat((1 - w.sum()[None], w))[:, None] * x).sum(0)
            p = mixed.sigmoid()
            dice = 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)
            right = p * t + (1 - p) * (1 - t)
            cross = F.binary_cross_entropy_with_logits(mixed, t, reduction="none")
            focal = ((0.25 * t + 0.75 * (1 - t)) * cross * (1 - right) ** 2).mean()
            loss = loss + (dice + focal) / shots
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return torch.cat((1 - w.sum()[None], w)).detach().numpy()


def scales():
    g = torch.Generator().manual_seed(21)
    inside = [(torch.rand(n, generator=g) < 0.3).double() for n in (1000, 300)]
    logits = [torch.stack([3 * torch.randn(len(t), generator=g) + a * (2 * t - 1) for a in (0.2, 1.5, 4.0)]).float() for t in inside]
    out["scales.logits0"], out["scales.inside0"] = logits[0].numpy(), inside[0].numpy().astype(np.uint8)
    out["scales.logits1"], out["scales.inside1"] = logits[1].numpy(), inside[1].numpy().astype(np.uint8)
    cut = [x.double() for x in logits], inside
    for shots in (1, 2):
        out[f"scales.weight{shots}"] = tune(*cut, shots)


def reachable(adjacent):
    """Weakly connected components, numbered by their first members."""
    n, label, k = len(adjacent), np.full(len(adjacent), -1), 0
    both = adjacent | adjacent.T
    for i in range(n):
        if label[i] >= 0:
            continue
        todo = [i]
        while todo:
            j = todo.pop()
            if label[j] < 0:
                label[j] = k
                todo += list(np.nonzero(both[j])[0])
        k += 1
    return label, k


def gfsam():
    """Maps and masks drawn at random on a small grid: which places are asked about, and which masks are kept."""
    rng = np.random.default_rng(33)
    side, size = 9, 36
    yy, xx = np.mgrid[:side, :side].reshape(2, -1)
    big_y, big_x = np.mgrid[:size, :size]
    place = np.stack((yy, xx), -1)
    f = unit(np.exp(-((place[:, None] - rng.uniform(0, side, (12, 2))) ** 2).sum(-1) / 9) + 0.15 * rng.standard_normal((side * side, 12)))
    all_ = f @ f.T
    blob = np.exp(-(((place - [3, 3]) ** 2).sum(-1)) / 6) + 0.8 * np.exp(-(((place - [6, 7]) ** 2).sum(-1)) / 3)
    mean = 0.2 + 0.5 * blob + 0.1 * rng.random(side * side)
    most = 0.4 + 0.5 * blob + 0.1 * rng.random(side * side)
    negative = 0.5 - 0.3 * blob + 0.15 * rng.random(side * side)
    stretch = lambda m: (m - m.min()) / (m.max() - m.min() + 1e-6)
    ahead = stretch(mean * most)
    ahead = np.where(stretch(negative) > ahead, 0, ahead)
    hot = np.zeros(side * side, bool)
    hot[np.argsort(-ahead, kind="stable")[:min(int(ahead.sum()), 128)]] = True
    points = [(x, y) for x in range(side) for y in range(side) if hot[y * side + x]]
    masks = []
    for x, y in points:
        r = size / side * rng.uniform(0.4, 2.2)
        cx, cy = (x + 0.5 + 0.4 * rng.standard_normal()) * size / side, (y + 0.5 + 0.4 * rng.standard_normal()) * size / side
        masks.append((big_y - cy) ** 2 + (big_x - cx) ** 2 < r * r)
    small = np.stack([bilinear(m, side, side).ravel() for m in masks])
    near = np.stack([nearest_resize(m, side, side).ravel() > 0.5 for m in masks])
    index = np.array([y * side + x for x, y in points])
    label, components = reachable(near[:, index])
    object_map, ground_map = mean * mean, negative * (mean.max() + mean.min()) / 2
    region = (object_map > ground_map).astype(float)
    grown, score = np.zeros(len(points), int), np.zeros(len(points))
    for k in range(components):
        members = np.nonzero(label == k)[0]
        lead = [(small[i] * (object_map - ground_map)).sum() / (small[i].sum() + 1e-6) for i in members]
        inner = np.zeros(side * side)
        for i in members[np.argsort(-np.array(lead), kind="stable")]:
            fresh = small[i] * (1 - inner)
            pos, neg = (region * fresh).sum(), ((1 - region) * fresh).sum()
            if pos > neg:
                inner += fresh
                grown[i] = 1
        score[members] = pos - neg
    like = np.zeros((components, len(points)))
    for k in range(components):
        union = bilinear(np.any([masks[i] for i in np.nonzero(label == k)[0]], axis=0), side, side).ravel()
        similar = (all_ * union[:, None]).mean(0) / (union.sum() / side ** 2 + 1e-7)
        for i, (x, y) in enumerate(points):
            far = min(math.hypot(x - a, y - b) for j, (a, b) in enumerate(points) if label[j] == k)
            like[k, i] = similar[index[i]] / (far if far > 0 else 1)
    steady = (like.argmax(0) == label).astype(int)
    for k in range(components):
        members = label == k
        if steady[members].sum() < members.sum() - steady[members].sum():
            steady[members] = 0
    keep = (grown * steady) > 0
    chosen = np.any([m for m, on in zip(masks, keep) if on], axis=0)
    print(f"{len(points)} points, {components} components, {grown.sum()} grown, {steady.sum()} steady, {keep.sum()} kept", file=sys.stderr)
    out["gfsam.all"], out["gfsam.mean"], out["gfsam.most"], out["gfsam.negative"] = all_, mean, most, negative
    out["gfsam.points"], out["gfsam.masks"] = index.astype(np.int32), np.stack(masks).astype(np.uint8)
    out["gfsam.chosen"] = chosen.astype(np.uint8)
    weight = rng.random(side * side)
    out["gfsam.weight"], out["gfsam.prior.most"] = weight, (all_ * weight).max(1)
    out["gfsam.prior.mean"] = (all_ * weight).mean(1) / (weight.mean() + 1e-7)


def main():
    torch.set_num_threads(1)
    spec = importlib.util.spec_from_file_location("dino", os.path.join(HERE, "make_dino_golden.py"))
    dino = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(dino)
    pieces()
    clip_places(4, 5)
    insid3(dino, side=12, components=4, likeness=0.6, threshold=0.2)
    scales()
    gfsam()
    save(os.path.join(GOLDEN, "matching.safetensors"))


main()

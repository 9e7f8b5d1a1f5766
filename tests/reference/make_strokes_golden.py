#!/usr/bin/python3
"""Writes tests/golden/strokes.safetensors: ilastik's features of two small pictures drawn here, in double precision and in the
plainest way: whole two-dimensional sums over a picture that numpy has padded by its mirror image, nothing separable. Kernels are
vigra's: the Gaussian cut at `window` sigma and scaled to add up to 1; its derivatives freed of their mean and scaled so that
sum k[x] x = 1 and sum k[x] x^2 / 2 = 1. Needs python3-numpy. The same file comes out each time.
"""
import json
import math
import os
import struct

import numpy as np

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "strokes.safetensors")
SCALES = (0.7, 1, 1.6, 3.5, 5, 10)


def kernel(sigma, window, order):
    r = max(int(window * sigma + 0.5), 1)
    x = np.arange(-r, r + 1, dtype=np.float64)
    g = np.exp(-x * x / (2 * sigma * sigma))
    if order == 0:
        return g / g.sum()
    g = g * (x if order == 1 else x * x / sigma ** 2 - 1)
    g -= g.mean()
    return g / (g * (x if order == 1 else x * x / 2)).sum()


def look(plane, down, across):
    """Correlates with the outer product of two kernels, mirrored at the edges without repeating them."""
    a, b = len(down) // 2, len(across) // 2
    padded = plane
    # numpy mirrors once at a time where the padding is longer than the picture, as often as needed
    padded = np.pad(padded, ((a, a), (b, b)), mode="reflect")
    k = np.outer(down, across)
    h, w = plane.shape
    out = np.empty((h, w))
    for y in range(h):
        for x in range(w):
            out[y, x] = (padded[y:y + 2 * a + 1, x:x + 2 * b + 1] * k).sum()
    return out


def eigenvalues(a, b, c):
    m = np.stack([np.stack([a, b], -1), np.stack([b, c], -1)], -2)
    e = np.linalg.eigvalsh(m)
    return e[..., 1], e[..., 0]


def features(plane):
    """(scales, 8, h, w) of one channel."""
    out = []
    for s in SCALES:
        k = kernel(math.sqrt(s * s - 1) if s > 1 else s, 3.5, 0)
        x, t = look(plane, k, k), min(s, 1)
        g, d, dd = (kernel(t, 2, order) for order in range(3))
        fine, outer = kernel(0.66 * t, 2, 0), kernel(0.5 * t, 2, 0)
        gx, gy = look(x, g, d), look(x, d, g)
        hxx, hxy, hyy = look(x, g, dd), look(x, d, d), look(x, dd, g)
        tensor = [look(p, outer, outer) for p in (gx * gx, gx * gy, gy * gy)]
        gauss = look(x, g, g)
        out.append([gauss, gauss - look(x, fine, fine), np.hypot(gx, gy), hxx + hyy, *eigenvalues(hxx, hxy, hyy),
                    *eigenvalues(*tensor)])
    return np.array(out)


def bank(picture):
    """(h w, 144): for each scale and feature red, green, blue."""
    f = np.stack([features(picture[..., c] / 255.0) for c in range(3)], -1)  # (scales, 8, h, w, 3)
    return f.transpose(2, 3, 0, 1, 4).reshape(picture.shape[0] * picture.shape[1], -1)


def draw(height, width, seed):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    p = np.stack([128 + 90 * np.sin(x / 5 + y / 9), 40 + 3.0 * y, 255.0 * ((x - width / 2) ** 2 + (y - height / 2) ** 2 < 60)], -1)
    return np.clip(p + rng.normal(0, 9, p.shape), 0, 255).astype(np.uint8)


def main():
    large, small = draw(44, 60, 1), draw(4, 5, 2)
    pixel = np.unique(np.concatenate([[0, 59, 43 * 60, 44 * 60 - 1], np.random.default_rng(3).integers(0, 44 * 60, 20)]))
    out = {"large": large, "pixel": pixel.astype(np.int32), "large.features": bank(large)[pixel].astype(np.float32),
           "small": small, "small.features": bank(small).astype(np.float32)}
    names = {np.dtype(np.uint8): "U8", np.dtype(np.int32): "I32", np.dtype(np.float32): "F32"}
    header, data, end = {}, [], 0
    for name, t in out.items():
        raw = np.ascontiguousarray(t).tobytes()
        header[name] = {"dtype": names[t.dtype], "shape": list(t.shape), "data_offsets": [end, end + len(raw)]}
        data.append(raw)
        end += len(raw)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(OUT, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(data))


main()

#!/usr/bin/python3
"""Writes tests/golden/clip/pre_*.png: small pictures, and what CLIP's published preprocessing (Resize, CenterCrop) makes of them with
Pillow, before the numbers are normalised. Needs python3-pil and python3-numpy. Run from anywhere; files are replaced.
"""
import os

import numpy as np
from PIL import Image

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "clip")
rng = np.random.default_rng(3)


def picture(width, height):
    y, x = np.mgrid[0:height, 0:width]
    img = np.stack([x * 255 / max(width - 1, 1), y * 255 / max(height - 1, 1), 127 + 127 * np.sin(x * 0.5) * np.cos(y * 0.4)], -1)
    img[(x + 2 * y) % 17 < 3] = rng.integers(0, 256, 3)
    return Image.fromarray(np.clip(img + rng.normal(0, 20, img.shape), 0, 255).astype(np.uint8), "RGB")


def preprocess(img, side):
    """torchvision's transforms of the published code, in its order and with its rounding."""
    w, h = img.size
    long = int(side * max(w, h) / min(w, h))
    size = (side, long) if w <= h else (long, side)
    if size != img.size:
        img = img.resize(size, Image.BICUBIC)
    top, left = int(round((img.size[1] - side) / 2.0)), int(round((img.size[0] - side) / 2.0))
    return img.crop((left, top, left + side, top + side))


if __name__ == "__main__":
    os.makedirs(OUT, exist_ok=True)
    for width, height, side in ((53, 37, 24), (37, 53, 25), (400, 9, 16), (3, 150, 10), (1, 1, 8), (5, 3, 32), (3, 5, 31), (33, 32, 32),
                                (35, 32, 32), (37, 32, 32), (32, 39, 32), (32, 32, 32), (31, 34, 96), (1, 40, 12)):
        img = picture(width, height)
        img.save(os.path.join(OUT, f"pre_{width}x{height}.png"), optimize=True)
        preprocess(img, side).save(os.path.join(OUT, f"pre_{width}x{height}_to_{side}.png"), optimize=True)

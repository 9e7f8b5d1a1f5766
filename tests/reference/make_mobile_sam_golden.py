#!/usr/bin/python3
"""Writes tests/golden/mobile_sam.safetensors: a MobileSAM of random weights, narrow, with two blocks in each stage, and, named expected.*, a picture of
no square shape and what PyTorch (map_torch.py) makes of it in double precision: of the embedding every third place both ways, which meets the
windows that are filled up; and of a click's masks every sixteenth, with their scores. The network's picture has 1024 pixels a side, as the published
one's. Needs python3-torch and python3-pil. The same file comes out each time.
"""
import math
import os

import numpy
import torch
from PIL import Image

import make_full_map_model
import map_torch

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "mobile_sam.safetensors")
SIDE, STEP, LOW_STEP = 1024, 3, 16
CLICK = (40.0, 30.0)  # in pixels of the picture


def main():
    torch.set_default_dtype(torch.float32)
    m = make_full_map_model.Maker(3)
    stages = ((8, 2, 0, 0), (8, 2, 2, 7), (12, 2, 3, 14), (16, 2, 4, 7))
    make_full_map_model.make_tiny_vit(m, 4, stages, 2, 2)
    make_full_map_model.make_decoder(m, 16, embed=8, inner=8, mlp=16, up=(8, 4), prior=(2, 4))
    picture = make_full_map_model.drawn(61, 96, 1)
    scale = SIDE / 96
    height, width = int(61 * scale + 0.5), int(96 * scale + 0.5)
    sized = torch.from_numpy(numpy.asarray(Image.fromarray(picture).resize((width, height), Image.BILINEAR)).copy())
    mean, deviation = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
    pixels = torch.zeros(1, 3, SIDE, SIDE)
    pixels[0, :, :height, :width] = ((sized - mean) / deviation).permute(2, 0, 1)
    tensors = {n: t.double() if t.is_floating_point() else t for n, t in m.tensors.items()}
    torch.set_default_dtype(torch.float64)
    with torch.inference_mode():
        net = map_torch.MobileSam(tensors)
        embedding = net.encode(pixels.double())
        masks, scores = net.decode(embedding, torch.tensor([[CLICK[0] * width / 96, CLICK[1] * height / 61]]), SIDE)
    places = embedding[0].permute(1, 2, 0)[::STEP, ::STEP]
    expected = {"picture": torch.from_numpy(picture), "embedding": places.float().contiguous(),
                "low": masks[0, 1:, ::LOW_STEP, ::LOW_STEP].float().contiguous(), "iou": scores[0, 1:].float(),
                "click": torch.tensor(CLICK, dtype=torch.float32)}
    tensors = m.tensors | {"expected." + n: t for n, t in expected.items()}
    make_full_map_model.save(OUT, {n: t.numpy() for n, t in tensors.items()})
    assert math.isfinite(float(places.abs().max())) and float(places.abs().max()) > 0.1


if __name__ == "__main__":
    main()

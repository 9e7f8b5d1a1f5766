#!/usr/bin/env python3
"""Draws assets/canvas.png, the picture of README.md, from the demo pictures: the canvas as the model is shown it, and beside it the
same with the answer that is wanted in the empty cell (the true mask, not a model's). Needs Pillow."""
import pathlib

from PIL import Image

assets = pathlib.Path(__file__).resolve().parents[2] / "assets"
CELL, AT = 111, (0, 113)


def canvas(answer):
    picture = Image.new("RGB", (224, 224))
    names = {(0, 0): "scene1.png", (1, 0): "mask1.png", (0, 1): "scene2.png"}
    if answer:
        names[1, 1] = "mask2.png"
    for (column, row), name in names.items():
        cell = Image.open(assets / "demo" / name).convert("RGB").resize((CELL, CELL), Image.BILINEAR)
        picture.paste(cell, (AT[column], AT[row]))
    if not answer:
        picture.paste((96, 96, 96), (AT[1], AT[1], AT[1] + CELL, AT[1] + CELL))
    return picture


page = Image.new("RGB", (2 * 224 + 16, 224), "white")
page.paste(canvas(False), (0, 0))
page.paste(canvas(True), (224 + 16, 0))
page.quantize(128).save(assets / "canvas.png", optimize=True)

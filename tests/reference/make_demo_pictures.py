#!/usr/bin/python3
"""Draws assets/demo/ for the README's commands: four small scenes (sceneN.png), each with the mask of its main thing (maskN.png)
and a grey version (greyN.jpg).

Everything is drawn here from shapes and noise, so the pictures belong to the project. A scene is a landscape under soft light
(sky, hills, ground with texture) with one balloon, boat or house in front; 256 x 192, so that an answer shows whether it kept
the aspect. Needs python3-pil and python3-numpy. The same files come out each time.
"""
import os

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "assets", "demo")
WIDTH, HEIGHT = 256, 192
SCALE = 4  # drawn larger, then shrunk: smooth edges


def noise(rng, cell):
    """Cloudy noise around 0, blobs of about `cell` pixels."""
    small = rng.normal(0, 1, (max(HEIGHT // cell, 2) + 1, max(WIDTH // cell, 2) + 1))
    img = Image.fromarray(small.astype(np.float32), "F").resize((WIDTH, HEIGHT), Image.BICUBIC)
    return np.asarray(img)


def gradient(top, bottom):
    t = np.linspace(0, 1, HEIGHT)[:, None, None]
    return np.broadcast_to((1 - t) * np.array(top, float) + t * np.array(bottom, float), (HEIGHT, WIDTH, 3)).copy()


def shape(draw_on):
    """Coverage (HEIGHT, WIDTH) in 0..1 of what `draw_on` draws, in coordinates of the scene times SCALE."""
    img = Image.new("L", (WIDTH * SCALE, HEIGHT * SCALE), 0)
    draw_on(ImageDraw.Draw(img))
    return np.asarray(img.resize((WIDTH, HEIGHT), Image.BOX), float) / 255


def scaled(points):
    return [(x * SCALE, y * SCALE) for x, y in points]


def put(canvas, cover, colour):
    canvas += cover[..., None] * (colour - canvas)


def hills(canvas, rng, base, height, colour):
    x = np.arange(WIDTH)
    ridge = base - height * (0.5 + 0.3 * np.sin(x / 37 + rng.uniform(0, 6)) + 0.2 * np.sin(x / 17 + rng.uniform(0, 6)))
    cover = np.clip(np.arange(HEIGHT)[:, None] - ridge + 0.5, 0, 1)
    put(canvas, cover, np.array(colour, float) + 7 * noise(rng, 3)[..., None] + 9 * noise(rng, 12)[..., None])


def ball_light(cx, cy, radius):
    """Light from the upper left on something round: 1 in the middle."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    d = np.hypot(x - cx + radius * 0.35, y - cy + radius * 0.35) / radius
    return np.clip(1.25 - 0.55 * d, 0.35, 1.25)[..., None]


def balloon(canvas, rng, cx, cy, radius, colour, stripe):
    def envelope(d):
        d.ellipse([(cx - radius) * SCALE, (cy - radius) * SCALE, (cx + radius) * SCALE, (cy + radius) * SCALE], fill=255)
        d.polygon(scaled([(cx - radius * 0.8, cy + radius * 0.6), (cx + radius * 0.8, cy + radius * 0.6),
                          (cx + radius * 0.2, cy + radius * 1.45), (cx - radius * 0.2, cy + radius * 1.45)]), fill=255)

    def basket(d):
        d.rectangle([(cx - radius * 0.2) * SCALE, (cy + radius * 1.55) * SCALE, (cx + radius * 0.2) * SCALE,
                     (cy + radius * 1.85) * SCALE], fill=255)
        for side in (-0.18, 0.18):
            d.line(scaled([(cx + side * radius, cy + radius * 1.4), (cx + side * radius, cy + radius * 1.6)]), fill=255,
                   width=SCALE)

    cover, below = shape(envelope), shape(basket)
    x = (np.arange(WIDTH) - cx) / radius
    angle = np.arcsin(np.clip(x, -1, 1))
    striped = (np.sin(angle * 7) > 0)[None, :, None]
    paint = np.where(striped, np.array(colour, float), np.array(stripe, float)) * ball_light(cx, cy, radius)
    put(canvas, cover, paint + 3 * noise(rng, 2)[..., None])
    put(canvas, below, np.array([112, 74, 40], float) + 8 * noise(rng, 2)[..., None])
    return np.maximum(cover, below)


def boat(canvas, rng, cx, cy, size, colour):
    def hull(d):
        d.polygon(scaled([(cx - size, cy), (cx + size, cy), (cx + size * 0.65, cy + size * 0.4),
                          (cx - size * 0.7, cy + size * 0.4)]), fill=255)

    def sails(d):
        d.polygon(scaled([(cx + 1, cy - size * 1.5), (cx + 1, cy - 3), (cx + size * 0.85, cy - 3)]), fill=255)
        d.polygon(scaled([(cx - 3, cy - size * 1.3), (cx - 3, cy - 3), (cx - size * 0.6, cy - 3)]), fill=255)

    def mast(d):
        d.line(scaled([(cx - 1, cy - size * 1.6), (cx - 1, cy)]), fill=255, width=2 * SCALE)

    covers = [shape(mast), shape(sails), shape(hull)]
    shade = np.linspace(1.15, 0.8, WIDTH)[None, :, None]
    put(canvas, covers[0], np.array([90, 62, 40], float))
    put(canvas, covers[1], np.array([246, 240, 226], float) * shade + 3 * noise(rng, 5)[..., None])
    put(canvas, covers[2], np.array(colour, float) * shade + 6 * noise(rng, 2)[..., None])
    return np.maximum.reduce(covers)


def house(canvas, rng, cx, cy, size, colour, roof):
    def wall(d):
        d.rectangle([(cx - size) * SCALE, (cy - size) * SCALE, (cx + size) * SCALE, (cy + size * 0.5) * SCALE], fill=255)

    def top(d):
        d.polygon(scaled([(cx - size * 1.25, cy - size * 0.95), (cx + size * 1.25, cy - size * 0.95),
                          (cx, cy - size * 1.9)]), fill=255)
        d.rectangle([(cx + size * 0.5) * SCALE, (cy - size * 1.8) * SCALE, (cx + size * 0.75) * SCALE,
                     (cy - size) * SCALE], fill=255)

    def openings(d):
        for x in (-0.65, 0.3):
            d.rectangle([(cx + size * x) * SCALE, (cy - size * 0.65) * SCALE, (cx + size * (x + 0.35)) * SCALE,
                         (cy - size * 0.25) * SCALE], fill=255)
        d.rectangle([(cx - size * 0.17) * SCALE, (cy - size * 0.15) * SCALE, (cx + size * 0.2) * SCALE,
                     (cy + size * 0.5) * SCALE], fill=255)

    covers = [shape(wall), shape(top), shape(openings)]
    shade = np.clip(1.1 - (np.arange(WIDTH) - cx) / (8 * size), 0.7, 1.2)[None, :, None]
    put(canvas, covers[0], np.array(colour, float) * shade + 5 * noise(rng, 2)[..., None])
    tiles = 12 * np.sin(np.arange(HEIGHT) * 1.6)[:, None, None]
    put(canvas, covers[1], np.array(roof, float) * shade + tiles + 5 * noise(rng, 2)[..., None])
    put(canvas, covers[2], np.array([58, 52, 66], float))
    return np.maximum(covers[0], covers[1])


def meadow(rng):
    canvas = gradient((96, 156, 222), (226, 234, 240))
    put(canvas, np.clip(noise(rng, 40) * 0.4, 0, 0.7), np.array([250, 250, 252], float))
    hills(canvas, rng, 150, 50, (112, 142, 160))
    hills(canvas, rng, 172, 36, (94, 138, 82))
    hills(canvas, rng, 192, 26, (128, 160, 70))
    return canvas


def evening(rng):
    canvas = gradient((92, 84, 148), (255, 198, 140))
    put(canvas, np.clip(noise(rng, 36) * 0.35, 0, 0.6), np.array([255, 170, 150], float))
    hills(canvas, rng, 140, 40, (88, 74, 110))
    hills(canvas, rng, 170, 30, (80, 70, 74))
    hills(canvas, rng, 194, 20, (104, 88, 58))
    return canvas


def sea(rng):
    canvas = gradient((128, 190, 226), (236, 240, 236))
    put(canvas, np.clip(noise(rng, 44) * 0.4, 0, 0.7), np.array([255, 255, 255], float))
    hills(canvas, rng, 108, 22, (120, 140, 128))
    water = np.clip(np.arange(HEIGHT)[:, None] - 103.5, 0, 1) * np.ones((1, WIDTH))
    y = np.arange(HEIGHT)[:, None]
    waves = 12 * np.sin(y * 0.9 + 2 * noise(rng, 16)) + 6 * noise(rng, 4)
    deep = np.array([58, 124, 152], float) * (1.15 - y / HEIGHT * 0.45)[..., None]
    put(canvas, water, deep + waves[..., None])
    return canvas


def save(number, canvas, cover):
    rgb = np.clip(canvas, 0, 255).astype(np.uint8)
    img = Image.fromarray(rgb, "RGB").filter(ImageFilter.GaussianBlur(0.5))
    img.save(os.path.join(OUT, f"scene{number}.png"), optimize=True)
    img.convert("L").save(os.path.join(OUT, f"grey{number}.jpg"), quality=92)
    mask = Image.fromarray(np.where(cover > 0.5, 255, 0).astype(np.uint8), "L")
    mask.save(os.path.join(OUT, f"mask{number}.png"), optimize=True)


if __name__ == "__main__":
    os.makedirs(OUT, exist_ok=True)
    rng = np.random.default_rng(2)
    canvas = meadow(rng)
    save(1, canvas, balloon(canvas, rng, 88, 66, 40, (214, 54, 46), (246, 206, 92)))
    canvas = evening(rng)
    save(2, canvas, balloon(canvas, rng, 166, 78, 47, (36, 128, 134), (240, 232, 214)))
    canvas = sea(rng)
    save(3, canvas, boat(canvas, rng, 132, 138, 52, (176, 48, 44)))
    canvas = meadow(rng)
    save(4, canvas, house(canvas, rng, 112, 142, 46, (232, 214, 184), (160, 70, 52)))

#!/usr/bin/python3
"""Writes tests/golden/image/: small pictures in every form that engine/image/image.c reads, and what Pillow makes of them; and
the seeds of the fuzz target (beside those named found_*, which the fuzzer wrote).

Each expectation is a PNG of plain 8-bit RGB, so that the golden files need no reader beside the one under test (PNG RGB itself is
checked by values that the test computes). Needs python3-pil and python3-numpy. Run from anywhere; files are replaced.
"""
import io
import os
import struct
import zlib

import numpy as np
from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "..", "golden", "image")
SEEDS = os.path.join(HERE, "..", "fuzz", "seeds_fuzz_image")
rng = np.random.default_rng(7)


def path(name):
    return os.path.join(OUT, name)


def save_rgb(name, array):
    Image.fromarray(array.astype(np.uint8), "RGB").save(path(name), optimize=True)


def png(name, width, height, bits, colour, rows, extra=(), interlaced=0):
    """A PNG written by hand, for the forms that Pillow does not write. `rows`: bytes, each row with its filter byte; `extra`:
    chunks before them."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    with open(path(name), "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced))
                + b"".join(chunk(*e) for e in extra) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b""))


def rows_of(array, kind):
    return b"".join(b"\0" + row.astype(kind).tobytes() for row in array)


def over_white(rgb, alpha):
    rgb, alpha = rgb.astype(np.int64), alpha.astype(np.int64)[..., None]
    return (rgb * alpha + 255 * (255 - alpha) + 127) // 255


def scene(width, height):
    """Smooth colour with hard edges and some noise: enough for a filter to overshoot on."""
    y, x = np.mgrid[0:height, 0:width]
    img = np.stack([x * 255 / max(width - 1, 1), y * 255 / max(height - 1, 1), 127 + 127 * np.sin(x * 0.9) * np.cos(y * 0.7)], -1)
    img[(x - width * 0.4) ** 2 + (y - height * 0.5) ** 2 < (min(width, height) * 0.3) ** 2] = (255, 255, 255)
    img[(x > width * 0.7) & (y > height * 0.6)] = (0, 0, 0)
    return np.clip(img + rng.normal(0, 12, img.shape), 0, 255).astype(np.uint8)


def resizes():
    src = scene(53, 37)
    save_rgb("resize_src.png", src)
    img = Image.fromarray(src, "RGB")
    for name, how in (("bilinear", Image.BILINEAR), ("bicubic", Image.BICUBIC), ("nearest", Image.NEAREST)):
        for width, height in ((19, 11), (97, 61), (20, 70), (53, 9), (111, 37), (1, 1)):
            img.resize((width, height), how).save(path(f"resize_{name}_{width}x{height}.png"), optimize=True)


def orientations():
    """A 6 x 4 picture of flat 8 x 8 blocks, which JPEG keeps well; upright as stored by a camera that was held each way."""
    blocks = rng.integers(0, 256, (4, 6, 3))
    img = Image.fromarray(np.kron(blocks, np.ones((8, 8, 1))).astype(np.uint8), "RGB")
    img.save(path("upright.png"), optimize=True)
    # What a camera stored: the inverse of what a reader must do.
    stored = {1: None, 2: Image.FLIP_LEFT_RIGHT, 3: Image.ROTATE_180, 4: Image.FLIP_TOP_BOTTOM, 5: Image.TRANSPOSE,
              6: Image.ROTATE_90, 7: Image.TRANSVERSE, 8: Image.ROTATE_270}
    for orientation, how in stored.items():
        turned = img if how is None else img.transpose(how)
        exif = Image.Exif()
        exif[0x0112] = orientation
        exif[0x010F] = "a maker"  # a tag before it, held outside the directory
        turned.save(path(f"orientation{orientation}.jpg"), quality=95, subsampling=0, exif=exif.tobytes())
        if orientation in (6, 7):
            turned.save(path(f"orientation{orientation}.png"), exif=exif.tobytes(), optimize=True)
    # Little-endian, as most cameras write it.
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<H", 1) + struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0) + b"\0\0\0\0"
    img.transpose(Image.ROTATE_90).save(path("orientation6_intel.jpg"), quality=95, subsampling=0, exif=b"Exif\0\0" + tiff)


def forms():
    width, height = 13, 7
    rgb = scene(width, height)
    alpha = rng.integers(0, 256, (height, width)).astype(np.uint8)
    alpha[0, :3] = (0, 255, 128)
    grey = rgb[..., 1]

    Image.fromarray(rgb, "RGB").save(path("rgb.bmp"))
    save_rgb("rgb.bmp.expected.png", rgb)
    Image.fromarray(np.dstack([rgb, alpha]), "RGBA").save(path("rgba.png"), optimize=True)
    save_rgb("rgba.png.expected.png", over_white(rgb, alpha))
    Image.fromarray(grey, "L").save(path("grey.png"), optimize=True)
    save_rgb("grey.png.expected.png", np.repeat(grey[..., None], 3, -1))
    Image.fromarray(grey, "L").save(path("grey.bmp"))
    save_rgb("grey.bmp.expected.png", np.repeat(grey[..., None], 3, -1))
    Image.fromarray(np.dstack([grey, alpha]), "LA").save(path("grey_alpha.png"), optimize=True)
    save_rgb("grey_alpha.png.expected.png", over_white(np.repeat(grey[..., None], 3, -1), alpha))

    bits = Image.fromarray(np.where(grey > 127, 255, 0).astype(np.uint8), "L").convert("1")
    bits.save(path("bits.png"), optimize=True)
    bits.convert("RGB").save(path("bits.png.expected.png"), optimize=True)

    palette = Image.fromarray(rgb, "RGB").quantize(11)
    palette.save(path("palette.png"), optimize=True)
    palette.convert("RGB").save(path("palette.png.expected.png"), optimize=True)
    palette.save(path("palette_clear.png"), transparency=3)  # one entry of the palette is see-through
    clear = np.array(palette) == 3
    save_rgb("palette_clear.png.expected.png", np.where(clear[..., None], 255, np.array(palette.convert("RGB"))))

    grey16 = rng.integers(0, 65536, (height, width))
    png("grey16.png", width, height, 16, 0, rows_of(grey16, ">u2"))
    save_rgb("grey16.png.expected.png", np.repeat(grey16[..., None] >> 8, 3, -1))
    rgba16 = rng.integers(0, 65536, (height, width, 4))
    png("rgba16.png", width, height, 16, 6, rows_of(rgba16, ">u2"))
    save_rgb("rgba16.png.expected.png", over_white(rgba16[..., :3] >> 8, rgba16[..., 3] >> 8))

    flat = Image.fromarray(np.full((16, 24), 90, np.uint8), "L")
    flat.save(path("grey.jpg"), quality=95)
    save_rgb("grey.jpg.expected.png", np.full((16, 24, 3), 90))
    smooth = Image.fromarray(scene(9, 6), "RGB").resize((72, 48), Image.BICUBIC)
    smooth.save(path("progressive.jpg"), quality=95, progressive=True, subsampling=0)
    Image.open(path("progressive.jpg")).convert("RGB").save(path("progressive.jpg.expected.png"), optimize=True)
    smooth.convert("CMYK").save(path("cmyk.jpg"), quality=95)
    Image.open(path("cmyk.jpg")).convert("RGB").save(path("cmyk.jpg.expected.png"), optimize=True)
    # Photos do come with a PNG inside and .jpg outside: the kind is in the bytes.
    with open(path("rgba.png"), "rb") as f, open(path("png_inside.jpg"), "wb") as g:
        g.write(f.read())
    save_rgb("png_inside.jpg.expected.png", over_white(rgb, alpha))


def broken():
    png("zero.png", 0, 0, 8, 2, b"")
    png("huge.png", 60000, 60000, 8, 2, b"\0" * 64)
    png("thin.png", 16000, 16000, 8, 2, b"\0" * 64)  # allowed, but the file cannot hold it
    open(path("empty.png"), "wb").close()
    with open(path("text.png"), "w") as f:
        f.write("This is not a picture.\n")


def fuzz_seeds():
    """Smaller still, one of each form: a fuzzer does best from a few hundred bytes."""
    os.makedirs(SEEDS, exist_ok=True)
    tiny = Image.fromarray(scene(5, 3), "RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, img, how in (
            ("rgb.png", tiny, {}), ("exif.png", tiny, {"exif": exif.tobytes()}), ("rgba.png", tiny.convert("RGBA"), {}),
            ("grey.png", tiny.convert("L"), {}), ("bits.png", tiny.convert("1"), {}),
            ("palette.png", tiny.quantize(3), {"transparency": 1}), ("rgb.bmp", tiny, {}), ("grey.bmp", tiny.convert("L"), {}),
            ("bits.bmp", tiny.convert("1"), {}), ("exif.jpg", tiny, {"exif": exif.tobytes()}),
            ("grey.jpg", tiny.convert("L"), {}), ("progressive.jpg", tiny, {"progressive": True}),
            ("cmyk.jpg", tiny.convert("CMYK"), {})):
        img.save(os.path.join(SEEDS, name), **how)
    png(os.path.join(SEEDS, "grey16.png"), 5, 3, 16, 0, rows_of(rng.integers(0, 65536, (3, 5)), ">u2"))
    no_adobe(tiny.convert("CMYK"), os.path.join(SEEDS, "cmyk_plain.jpg"))
    clear = tiny.convert("RGBA")
    clear.putalpha(120)
    for name, img, how in (
            ("lossy.webp", tiny, {}), ("lossless.webp", tiny, {"lossless": True}), ("alpha.webp", clear, {}),
            ("exif.webp", tiny, {"exif": exif.tobytes()}),
            ("animated.webp", tiny, {"save_all": True, "append_images": [tiny.rotate(180)], "lossless": True})):
        img.save(os.path.join(SEEDS, name), **how)
    png(os.path.join(SEEDS, "interlaced.png"), 5, 3, 8, 2, adam7(np.array(tiny)), interlaced=1)
    png(os.path.join(SEEDS, "key.png"), 5, 3, 8, 0, rows_of(np.array(tiny)[..., 0], "u1"), [(b"tRNS", b"\0\x50")])


def no_adobe(ink, where):
    """A CMYK JPEG as others than Adobe write it: 0 is no ink, and Adobe's marker is not there. Pillow writes Adobe's."""
    data = io.BytesIO()
    Image.fromarray(255 - np.array(ink), "CMYK").save(data, "JPEG", quality=95)
    data = data.getvalue()
    marker = data.index(b"\xff\xee")
    with open(where, "wb") as f:
        f.write(data[:marker] + data[marker + 2 + struct.unpack(">H", data[marker + 2:marker + 4])[0]:])


def ycck(ink, where):
    """As Photoshop writes: the inks inverted, and what the three colours of them leave of white as light and chroma."""
    r, g, b, k = (np.array(ink)[..., i].astype(float) for i in range(4))
    k = 255 - k
    y, cb, cr = (.299 * r + .587 * g + .114 * b, 128 - .168736 * r - .331264 * g + .5 * b, 128 + .5 * r - .418688 * g - .081312 * b)
    data = io.BytesIO()
    stored = np.stack([y, cb, cr, k], -1).round().clip(0, 255).astype(np.uint8)
    Image.fromarray(255 - stored, "CMYK").save(data, "JPEG", quality=95, subsampling=0)
    data = bytearray(data.getvalue())
    data[data.index(b"Adobe") + 11] = 2
    with open(where, "wb") as f:
        f.write(data)


def adam7(array):
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    parts = [array[y::dy, x::dx] for x, y, dx, dy in passes]
    return b"".join(rows_of(part, "u1") for part in parts if part.size)


def expect(name):
    img = Image.open(path(name))
    if img.mode in ("RGBA", "LA"):
        both = np.array(img.convert("RGBA"))
        return save_rgb(name + ".expected.png", over_white(both[..., :3], both[..., 3]))
    return img.convert("RGB").save(path(name + ".expected.png"), optimize=True)


def later_forms():
    """JPEG whose bits must be those of libjpeg-turbo (chroma of half the size, odd sizes, inks), WebP, and the PNG of old."""
    smooth = Image.fromarray(scene(9, 6), "RGB").resize((47, 31), Image.BICUBIC)
    smooth.save(path("sampled.jpg"), quality=80)
    expect("sampled.jpg")
    ink = np.array(smooth.convert("CMYK"))
    black = ink[..., :3].min(-1)
    ink = Image.fromarray(np.dstack([ink[..., :3] - black[..., None], black]), "CMYK")
    ycck(ink, path("ycck.jpg"))
    expect("ycck.jpg")
    # Pillow takes all for Adobe's: of this one it shows the negative.
    no_adobe(ink, path("cmyk_plain.jpg"))
    stored = Image.open(path("cmyk_plain.jpg"))
    Image.fromarray(255 - np.array(stored), "CMYK").convert("RGB").save(path("cmyk_plain.jpg.expected.png"), optimize=True)

    clear = smooth.convert("RGBA")
    clear.putalpha(smooth.convert("L"))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = smooth.transpose(Image.ROTATE_90)
    for name, img, how in (
            ("lossy.webp", smooth, {"quality": 80}), ("lossless.webp", smooth, {"lossless": True}), ("alpha.webp", clear, {}),
            ("animated.webp", smooth, {"save_all": True, "append_images": [smooth.rotate(180)], "quality": 60})):
        img.save(path(name), **how)
        expect(name)
    turned.save(path("exif.webp"), exif=exif.tobytes(), lossless=True)
    smooth.save(path("exif.webp.expected.png"), optimize=True)

    small = scene(13, 7)
    png("interlaced.png", 13, 7, 8, 2, adam7(small), interlaced=1)
    save_rgb("interlaced.png.expected.png", small)
    small[2:5, 3:9] = (10, 200, 30)
    png("key.png", 13, 7, 8, 2, rows_of(small, "u1"), [(b"tRNS", struct.pack(">HHH", 10, 200, 30))])
    save_rgb("key.png.expected.png", np.where((small == (10, 200, 30)).all(-1)[..., None], 255, small))


if __name__ == "__main__":
    os.makedirs(OUT, exist_ok=True)
    resizes()
    orientations()
    forms()
    broken()
    fuzz_seeds()
    later_forms()

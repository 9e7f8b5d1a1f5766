"""What bench_strokes.sh measures by: pictures with masks and strokes, scikit-image's trainable segmentation, and the table.

    bench_strokes.py draw PHOTOS OUT [WORD]      NAME.png, NAME_target.png, NAME_strokes.png of each picture
    bench_strokes.py forest PICTURE STROKES MASK THREADS
    bench_strokes.py table WORK

Strokes are drawn as a person would: for each class up to three lines, 3 pixels wide, between two places far inside the class's
largest regions, along the way that keeps clear of its edges. They are drawn by the masks and a fixed seed, and by nothing that
either program does. Pictures are brought to at most 1000 x 750 pixels. A target's black pixels are not scored.
"""
import glob
import json
import os
import statistics
import sys
import time
import warnings

import numpy as np
from PIL import Image

COLOURS = np.array([(0, 0, 0), (40, 90, 255), (255, 60, 40), (60, 200, 60), (250, 200, 40), (180, 60, 220)], np.uint8)
MOST, SHARE, OF_MASK = 5, 0.04, 0.002  # classes of a picture; of its area that each has at least, and the inside of a mask


def fit(image, filter):
    scale = min(1, 1000 / max(image.size), 750 / min(image.size))
    return image.resize([max(1, round(s * scale)) for s in image.size], filter) if scale < 1 else image


def classes_of(values, share=SHARE):
    """Labels 1 ... of the most frequent values, 0 elsewhere."""
    found, counts = np.unique(values.reshape(-1, values.shape[-1]) if values.ndim == 3 else values.ravel(), axis=0, return_counts=True)
    order = [i for i in np.argsort(-counts, kind="stable") if counts[i] >= share * counts.sum()][:MOST]
    labels = np.zeros(values.shape[:2], np.uint8)
    for k, i in enumerate(order):
        same = (values == found[i]).all(-1) if values.ndim == 3 else values == found[i]
        labels[same] = k + 1
    return labels


def photographs(folder):
    for path in sorted(glob.glob(os.path.join(folder, "*.jpg"))):
        stem = os.path.splitext(path)[0]
        mask = next((stem + end for end in ("_target.png", "_seg.png") if os.path.exists(stem + end)), None)
        if not mask:
            continue
        picture, target = Image.open(path).convert("RGB"), Image.open(mask)
        if target.mode not in ("L", "RGB", "I"):
            target = target.convert("RGB")
        if mask.endswith("_target.png"):
            target = target.convert("L")
            low, high = target.getextrema()
            target = target.point(lambda v: 255 * (v > (low + high) / 2))
        if target.size != picture.size:
            target = target.resize(picture.size, Image.NEAREST)
        yield os.path.basename(stem), fit(picture, Image.LANCZOS), classes_of(np.asarray(fit(target, Image.NEAREST)),
                                                                                           OF_MASK if mask.endswith("_target.png") else SHARE)


def own_pictures():
    """scikit-image's test pictures: mosaics of its textures, whose masks are exact, and pictures with the masks of its own examples."""
    from scipy import ndimage
    from skimage import data, filters, segmentation

    def get(name):
        try:
            return getattr(data, name)()
        except Exception as why:  # not in every package
            print(f"{name} is left out: {why}", file=sys.stderr)
            return None

    rgb = lambda a: Image.fromarray(np.stack([a] * 3, -1) if a.ndim == 2 else a[..., :3])
    textures = [t for t in map(get, ("brick", "grass", "gravel")) if t is not None]
    if len(textures) == 3:
        y, x = np.mgrid[0:512, 0:512]
        for name, which in (("mosaic_disc", np.where((x - 256) ** 2 + (y - 256) ** 2 < 160 ** 2, 1, 2)),
                            ("mosaic_three", np.where(y + 60 * np.sin(x / 60) < 200, 1, np.where(x < 256, 2, 3)))):
            picture = np.select([which == k + 1 for k in range(3)], textures).astype(np.uint8)
            yield name, rgb(picture), which.astype(np.uint8)
    coins = get("coins")
    if coins is not None:  # as in the gallery's "Comparing edge-based and region-based segmentation"
        markers = np.zeros_like(coins, np.int32)
        markers[coins < 30], markers[coins > 150] = 1, 2
        yield "coins", rgb(coins), (ndimage.binary_fill_holes(segmentation.watershed(filters.sobel(coins), markers) - 1) + 1).astype(np.uint8)
    page = get("page")
    if page is not None:  # as in "Niblack and Sauvola thresholding"
        yield "page", rgb(page), np.where(page > filters.threshold_sauvola(page, window_size=25), 1, 2).astype(np.uint8)
    horse = get("horse")
    if horse is not None:  # a silhouette, here with noise
        noise = np.random.default_rng(1).normal(0, 50, horse.shape)
        yield "horse", rgb(np.clip(128 + 60 * (horse.astype(float) - 0.5) + noise, 0, 255).astype(np.uint8)), np.where(horse, 1, 2).astype(np.uint8)
    cells = get("immunohistochemistry")
    if cells is not None:  # as in "Separate colors in immunohistochemical staining"
        from skimage.color import rgb2hed
        stain = filters.gaussian(rgb2hed(cells)[..., 2], 2)
        yield "stain", rgb(cells), np.where(stain > filters.threshold_otsu(stain), 2, 1).astype(np.uint8)


def strokes_of(labels, seed):
    from scipy import ndimage
    from skimage.graph import route_through_array

    rng = np.random.default_rng(seed)
    out = np.zeros_like(labels)
    for c in range(1, labels.max() + 1):
        regions, count = ndimage.label(labels == c)
        if count == 0:
            continue
        sizes = ndimage.sum_labels(labels == c, regions, range(1, count + 1))
        for region in np.argsort(-sizes, kind="stable")[:3]:
            inside = np.pad(regions == region + 1, 1)
            depth = ndimage.distance_transform_edt(inside)[1:-1, 1:-1]
            deep = np.argwhere(depth >= max(1, 0.5 * depth.max()))
            a, b = deep[rng.integers(len(deep))], deep[rng.integers(len(deep))]
            way, _ = route_through_array(np.where(depth > 0, 1 + 20 / np.maximum(depth, 0.5), 1e6), a, b)
            way = np.array(way)[:150]
            for dy in (-1, 0, 1):
                for dx in (-1, 0, 1):
                    p = np.clip(way + (dy, dx), 0, np.array(labels.shape) - 1)
                    p = p[labels[p[:, 0], p[:, 1]] == c]
                    out[p[:, 0], p[:, 1]] = c
    return out


def draw(photos, out, word=""):
    os.makedirs(out)
    for seed, (name, picture, labels) in enumerate([*photographs(photos), *own_pictures()]):
        strokes = strokes_of(labels, seed)
        if word not in name or len(np.unique(strokes[strokes > 0])) < 2:
            continue
        picture.save(f"{out}/{name}.png")
        Image.fromarray(COLOURS[labels]).save(f"{out}/{name}_target.png")
        alpha = (255 * (strokes > 0)).astype(np.uint8)
        Image.fromarray(np.dstack([COLOURS[strokes], alpha])).save(f"{out}/{name}_strokes.png")


def labels_of(path):
    """1 ... of a picture in COLOURS; 0: none."""
    a = np.asarray(Image.open(path).convert("RGBA")).astype(int)
    labels = np.argmin(((a[..., None, :3] - COLOURS[1:].astype(int)) ** 2).sum(-1), -1) + 1
    return np.where((a[..., 3] > 0) & (a[..., :3].sum(-1) > 0), labels, 0)


def forest(picture, strokes, out, threads):
    from skimage import feature, future
    from sklearn.ensemble import RandomForestClassifier

    image, labels = np.asarray(Image.open(picture)), labels_of(strokes)
    warnings.simplefilter("ignore")
    start = time.perf_counter()
    features = feature.multiscale_basic_features(image, intensity=True, edges=True, texture=True, sigma_min=1, sigma_max=16,
                                                 num_workers=int(threads), channel_axis=-1)
    looked = time.perf_counter()
    forest = RandomForestClassifier(n_estimators=50, n_jobs=int(threads), max_depth=10, random_state=0)
    forest = future.fit_segmenter(labels, features, forest)
    fitted = time.perf_counter()
    answer = future.predict_segmenter(features, forest)
    end = time.perf_counter()
    Image.fromarray(COLOURS[answer]).save(out)
    print(json.dumps({"features": looked - start, "fit": fitted - looked, "predict": end - fitted}))


def iou(got, want):
    values = []
    for c in range(1, want.max() + 1):
        a, b = (got == c) & (want > 0), want == c
        if b.any():
            values.append((a & b).sum() / (a | b).sum())
    return float(np.mean(values))


def table(work):
    import skimage
    import sklearn

    print(f"scikit-image {skimage.__version__}, scikit-learn {sklearn.__version__}; seconds: medians of the rounds")
    print(f"{'':22}{'size':>11}{'strokes':>9}{'forest IoU':>12}{'our IoU':>9}{'forest s':>10}{'our s':>8}{'ratio':>7}")
    rows = []
    for path in sorted(glob.glob(f"{work}/*.forest")):
        name = os.path.basename(path)[:-len(".forest")]
        target = labels_of(f"{work}/pairs/{name}_target.png")
        painted = int((labels_of(f"{work}/pairs/{name}_strokes.png") > 0).sum())
        theirs = statistics.median(sum(json.loads(line).values()) for line in open(path))
        times = [list(map(float, line.split())) for line in open(f"{work}/{name}.ours")]
        ours = statistics.median(t[2] - t[0] for t in times)
        a, b = iou(labels_of(f"{work}/{name}.forest.png"), target), iou(labels_of(f"{work}/{name}.ours.png"), target)
        rows.append((a, b, theirs, ours))
        size = f"{target.shape[1]}x{target.shape[0]}"
        print(f"{name:22}{size:>11}{painted:9}{a:12.4f}{b:9.4f}{theirs:10.2f}{ours:8.2f}{ours / theirs:7.2f}")
    mean = np.mean(rows, 0)
    print(f"{'mean':22}{'':11}{'':9}{mean[0]:12.4f}{mean[1]:9.4f}{mean[2]:10.2f}{mean[3]:8.2f}{mean[3] / mean[2]:7.2f}")


{"draw": draw, "forest": forest, "table": table}[sys.argv[1]](*sys.argv[2:])

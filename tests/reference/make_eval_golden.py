#!/usr/bin/env python3
"""Writes tests/golden/eval_protocols.json: what the authors' evaluations ask, show and score on a small data set that is drawn here
and by tests/cli/test_eval_protocols.c alike, by numpy and Pillow from the protocols' description alone: of each trial the query, the example, a hash
of each cell's pixels, and the scores of two answers that no model is needed for, the query and the example's output copied.

Also prints numpy's own numbers for tests/grid/test_numpy.c. And with --check DIR LOG: scores the answers that `tessera eval ...
--keep DIR --log LOG` kept, and tells how far the model's scores in the log are from that.

    python3 tests/reference/make_eval_golden.py
    python3 tests/reference/make_eval_golden.py --check kept run.jsonl
"""

import json
import os
import sys
import tempfile
import xml.etree.ElementTree as ElementTree

import numpy as np
from PIL import Image

CELL = 111
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
WHITE_BLACK = np.array([[255, 255, 255], [0, 0, 0]])
YELLOW_PURPLE = np.array([[253, 231, 37], [68, 1, 84]])
CLASSES = ("aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person pottedplant sheep sofa "
           "train tvmonitor").split()

# ---- the data set -------------------------------------------------------------------------------------------------------

PICTURES = 10
OF_CLASS = [(1, 2), (1, 2), (1, 2), (1, 6), (6, 7), (6, 7), (6, 11), (11, 16), (11, 16), (16, 11)]
LISTS = {
    "val": ["p00__01 p00__02 p01__01 p02__02 p02__01", "p03__06 p04__06 p05__07 p04__07 p06__06",
            "p06__11 p07__11 p08__11 p09__11", "p07__16 p08__16 p09__16"],
    "trn": ["p03__01 p01__02 p02__02 p00__01 p01__01", "p06__06 p05__06 p04__07 p05__07 p03__06",
            "p09__11 p08__11 p06__11", "p09__16 p07__16 p08__16"],
}
NAMES = ["dog", "cat", "dog", "cat", "dog", "cat", "cat", "dog", "dog", "dog"]
SETS = {"train": range(0, 6), "val": range(5, 10)}
PLAIN = [(111, 111), (112, 114), (113, 112), (114, 111), (90, 150), (150, 90), (80, 85), (200, 120), (115, 117), (116, 250),
         (97, 100), (301, 113)]


def size_of(k):
    return 130 + k * 37 % 80, 120 + k * 53 % 70


def draw(k, width, height):
    y, x = np.mgrid[:height, :width]
    channel = [(x * (3 + c) + y * (5 + 2 * k) + k * 37 + (x // 7 + y // 5) % 3 * 40 * c) % 256 for c in range(3)]
    return np.stack(channel, axis=2).astype(np.uint8)


def draw_numbers(k):
    width, height = size_of(k)
    y, x = np.mgrid[:height, :width]
    distance, radius = (x - width // 3) ** 2 + (y - height // 2) ** 2, height // 3
    numbers = np.zeros((height, width), np.uint8)
    numbers[distance < (radius + 2) ** 2] = 255
    numbers[distance < radius**2] = OF_CLASS[k][0]
    numbers[(x > 2 * width // 3) & (y > height // 2)] = OF_CLASS[k][1]
    return numbers


def box_of(k):
    width, height = size_of(k)
    if k == 9:
        return 1, 1, width, height
    x0, y0 = 5 + 3 * k, 7 + 2 * k
    return x0, y0, x0 + 20 + k % 4 * 11 + (0.5 if k == 7 else 0), y0 + 25 + k


def annotation(k):
    def thing(box):
        corners = "".join(f"<{n}>{v}</{n}>" for n, v in zip(("xmin", "ymin", "xmax", "ymax"), box))
        part = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></part>"
        return (f"<object><name>{NAMES[k]}</name><difficult>{k % 2}</difficult><bndbox>{corners}</bndbox>"
                f"{part if k == 8 else ''}</object>")

    width, height = size_of(k)
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation><filename>p{k:02}.jpg</filename>{size}{thing(box_of(k)) * (2 if k == 5 else 1)}</annotation>"


def write(root):
    def text(path, content):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(content)

    for folder in ("JPEGImages", "SegmentationClassAug", "imagenet/val/n1", "imagenet/val/n1-b"):
        os.makedirs(f"{root}/{folder}")
    for k in range(PICTURES):
        Image.fromarray(draw(k, *size_of(k))).save(f"{root}/JPEGImages/p{k:02}.jpg", "PNG")
        Image.fromarray(draw_numbers(k)).save(f"{root}/SegmentationClassAug/p{k:02}.png")
        text(f"{root}/Annotations/p{k:02}.xml", annotation(k))
    for name, folds in LISTS.items():
        for fold, lines in enumerate(folds):
            text(f"{root}/splits/pascal/{name}/fold{fold}.txt", lines.replace(" ", "\n") + "\n")
    for name, numbers in SETS.items():
        text(f"{root}/ImageSets/Main/{name}.txt", "".join(f"p{k:02}\n" for k in numbers))
    for k, (width, height) in enumerate(PLAIN):
        folder = "n1" if k % 2 else "n1-b"
        Image.fromarray(draw(k, width, height)).save(f"{root}/imagenet/val/{folder}/c{k:02}.JPEG", "PNG")


# ---- pixels --------------------------------------------------------------------------------------------------------------


def cut(cell, single=False):
    """A target as it is after normalising, and back to whole numbers."""
    value = cell.astype(np.float32) / np.float32(255)
    if single:
        value = ((value - MEAN.astype(np.float32)) / DEVIATION.astype(np.float32)).astype(np.float64)
    else:
        value = (value.astype(np.float64) - MEAN) / DEVIATION
    return np.clip((value * DEVIATION + MEAN) * 255, 0, 255).astype(np.int64)


def snap(picture, colours):
    distance = ((picture.astype(np.int64)[:, :, None] - colours) ** 2).sum(axis=3)
    return colours[distance.argmin(axis=2)]


def masks(truth, answer, colours):
    wanted, got = (truth == colours[0]).all(axis=2), (answer == colours[0]).all(axis=2)
    some = (answer != colours[1]).any(axis=2)
    scores = {"accuracy": (truth == answer).all(axis=2).mean()}
    if (wanted | got).any():
        scores["iou"] = (wanted & got).sum() / (wanted | got).sum()
    if (wanted | some).any():
        scores["iou_blind"] = (wanted & some).sum() / (wanted | some).sum()
    return scores


def largest_box(picture):
    """Of a snapped picture: the largest white region's bounding box, filled."""
    white, seen, best = picture[:, :, 0] == 255, np.zeros(picture.shape[:2], bool), []
    for y, x in zip(*np.nonzero(white)):
        if seen[y, x]:
            continue
        region, todo = [], [(y, x)]
        seen[y, x] = True
        while todo:
            at = todo.pop()
            region.append(at)
            for ny in range(max(at[0] - 1, 0), min(at[0] + 2, white.shape[0])):
                for nx in range(max(at[1] - 1, 0), min(at[1] + 2, white.shape[1])):
                    if white[ny, nx] and not seen[ny, nx]:
                        seen[ny, nx] = True
                        todo.append((ny, nx))
        if len(region) >= len(best):
            best = region
    out = np.zeros_like(picture)
    if best:
        y, x = np.array(best).T
        out[y.min():y.max() + 1, x.min():x.max() + 1] = 255
    return out


def score_segmentation(truth, answer, colours=WHITE_BLACK):
    return masks(snap(cut(truth), colours), snap(answer, colours), colours)


def score_detection(truth, answer):
    return masks(snap(cut(truth, single=True), WHITE_BLACK), largest_box(snap(answer, WHITE_BLACK)), WHITE_BLACK)


def score_colorization(truth, answer):
    a, b = ((p.astype(np.float64) / 255 - MEAN) / DEVIATION for p in (cut(truth), answer))
    return {"mse": ((a - b) ** 2).mean()}


# ---- protocols: lists of (fold, query, example, cells), the cells as (input, output) of the example, then of the query --------


def segmentation(root, trials, supports="val", colours=WHITE_BLACK):
    def read(name, fold):
        with open(f"{root}/splits/pascal/{name}/fold{fold}.txt") as f:
            return [(line.split("__")[0], int(line.split("__")[1])) for line in f.read().split("\n")[:-1]]

    def pair(name, number):
        numbers = np.array(Image.open(f"{root}/SegmentationClassAug/{name}.png"))
        mask = np.where((numbers == number)[:, :, None], colours[0], colours[1]).astype(np.uint8)
        picture = Image.open(f"{root}/JPEGImages/{name}.jpg")
        return [np.array(p.resize((CELL, CELL), Image.BICUBIC)) for p in (picture, Image.fromarray(mask))]

    for fold in range(4):
        np.random.seed(0)
        asked, pool = read("val", fold), read(supports, fold)
        for i in range(trials):
            query, number = asked[i % len(asked)]
            example = query
            while example == query:
                example = np.random.choice([n for n, c in pool if c == number], 1, replace=False)[0]
            yield fold, query, str(example), pair(str(example), number) + pair(query, number)


def detection(root):
    def read(name):
        for line in open(f"{root}/ImageSets/Main/{name}.txt"):
            tree = ElementTree.parse(f"{root}/Annotations/{line.strip()}.xml").getroot()
            things = tree.findall("object")
            if len(things) != 1:
                continue
            box = [float(things[0].find("bndbox").find(k).text) for k in ("xmin", "ymin", "xmax", "ymax")]
            box[0] -= 1
            box[1] -= 1
            whole = int(tree.find("size/width").text) * int(tree.find("size/height").text)
            if (box[2] - box[0]) * (box[3] - box[1]) / whole < 0.2:
                yield line.strip(), CLASSES.index(things[0].find("name").text), np.array(box, np.float32).astype(int)

    def pair(name, box):
        picture = Image.open(f"{root}/JPEGImages/{name}.jpg")
        mask = np.zeros((picture.height, picture.width, 3), np.uint8)
        mask[box[1]:box[3], box[0]:box[2]] = 255
        return [np.array(p.resize((CELL, CELL), Image.BILINEAR)) for p in (picture, Image.fromarray(mask))]

    train, val = list(read("train")), list(read("val"))
    for run in range(4):
        np.random.seed(run)
        for query, number, box in val:
            order = np.arange(len(train))
            np.random.shuffle(order)
            example = next(train[i] for i in order if train[i][1] == number)
            yield run, query, example[0], pair(example[0], example[2]) + pair(query, box)


def colorization(root):
    val = f"{root}/imagenet/val"
    files = [f"{val}/{folder}/{name}" for folder in sorted(os.listdir(val)) for name in sorted(os.listdir(f"{val}/{folder}"))]
    np.random.seed(5)
    trials = min(1000, len(files) - 1)
    asked = np.random.choice(np.arange(0, len(files) - 1), size=trials, replace=False)

    def pair(path):
        picture = Image.open(path).convert("RGB")
        left, top = max(CELL - picture.width, 0), max(CELL - picture.height, 0)
        padded = Image.new("RGB", (picture.width + left, picture.height + top))
        padded.paste(picture, (left // 2, top // 2))
        x, y = round((padded.width - CELL) / 2), round((padded.height - CELL) / 2)
        middle = padded.crop((x, y, x + CELL, y + CELL))
        return [np.array(middle.convert("L").convert("RGB")), np.array(middle)]

    for i in asked:
        example = np.random.choice(np.arange(0, trials - 1))
        name = [os.path.splitext(os.path.basename(files[k]))[0] for k in (i, example)]
        yield 0, name[0], name[1], pair(files[example]) + pair(files[i])


# ---- writing -------------------------------------------------------------------------------------------------------------


def fnv(picture):
    """FNV-1a of 64 bits over the pixels' bytes."""
    h = 0xCBF29CE484222325
    for byte in picture.astype(np.uint8).tobytes():
        h = (h ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{h:016x}"


def golden(trials, score):
    return [{"fold": fold, "query": query, "example": example, "cells": [fnv(c) for c in cells],
             "copy_query": score(cells[3], cells[2]), "copy_example": score(cells[3], cells[1])}
            for fold, query, example, cells in trials]


def make(path):
    with tempfile.TemporaryDirectory() as root:
        write(root)
        out = {
            "segmentation": golden(segmentation(root, 6), score_segmentation),
            "segmentation_trn": golden(segmentation(root, 2, "trn"), score_segmentation),
            "segmentation_yellow": golden(segmentation(root, 1, colours=YELLOW_PURPLE),
                                          lambda a, b: score_segmentation(a, b, YELLOW_PURPLE)),
            "detection": golden(detection(root), score_detection),
            "colorization": golden(colorization(root), score_colorization),
        }
    with open(path, "w") as f:
        trials = ",\n".join(f'"{k}": [\n' + ",\n".join(json.dumps(t) for t in v) + "]" for k, v in out.items())
        f.write("{" + trials + "}\n")
    print({k: len(v) for k, v in out.items()})


def numpy_numbers():
    np.random.seed(0)
    print("seed 0, randint(0, 10, 10):", np.random.randint(0, 10, 10).tolist())
    np.random.seed(5)
    print("seed 5, six of randint(0, 999):", [int(np.random.randint(0, 999)) for _ in range(6)])
    np.random.seed(0)
    print("seed 0, permutation(10) twice:", np.random.permutation(10).tolist(), np.random.permutation(10).tolist())
    np.random.seed(5)
    print("seed 5, choice(49999, 1000, replace=False):", np.random.choice(np.arange(49999), 1000, replace=False)[:6].tolist())


def check(folder, log):
    score = {"segmentation": score_segmentation, "detection": score_detection, "colorization": score_colorization}
    worst = count = 0
    with open(log) as f:
        head = json.loads(f.readline())
        for line in map(json.loads, f):
            truth, answer = (np.array(Image.open(f"{folder}/{line['trial']:05}-{k}.png")) for k in ("target", "answer"))
            want = score[head["measured"]](truth, answer)
            if set(want) - set(line["model"]):
                sys.exit(f"trial {line['trial']} lacks a score")
            worst = max([worst] + [abs(line["model"][k] - v) for k, v in want.items()])
            count += 1
    print(f"{count} trials of {head['measured']}, largest difference {worst:.3g}")


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1] == "--check":
        check(sys.argv[2], sys.argv[3])
    else:
        make(os.path.join(os.path.dirname(__file__), "..", "golden", "eval_protocols.json"))
        numpy_numbers()

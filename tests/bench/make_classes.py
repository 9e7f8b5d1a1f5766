#!/usr/bin/env python3
"""Writes what a prompt for many classes is tuned on where only time and memory matter: a list of classes with a few pictures of
noise, and a made-up vocabulary that fits the published models (48894 merges), for the published one may not be at hand.

    make_classes.py OUT --classes N [--pictures N] [--side PX]

OUT/split_noise.json names the classes: of one to four words of two letters, each word one symbol of OUT/bpe_simple_vocab_16e6.txt, so
that a name has as many symbols as the names of the field's data sets have. The pictures are shared by the classes.
"""
import argparse
import json
import os
import random
import string
import struct

MERGES = 48894


def write_vocabulary(path):
    """Pairs of letters first, then pairs of whatever other bytes stand for themselves."""
    others = [chr(c) for c in [*range(33, 127), *range(161, 173), *range(174, 256)] if chr(c) not in string.ascii_lowercase]
    symbols = [*string.ascii_lowercase, *others]
    pairs = [(a, b + end) for letters in (string.ascii_lowercase, symbols) for end in ("</w>", "") for a in letters for b in letters]
    pairs = list(dict.fromkeys(pairs))[:MERGES]
    assert len(pairs) == MERGES
    with open(path, "w", encoding="utf-8") as f:
        f.write("#version: made up\n")
        f.writelines(f"{a} {b}\n" for a, b in pairs)


def class_name(k):
    """1 + k % 4 words; the first of them tells names with as many words apart."""
    numbers = [(k // 4 + 101 * j) % 676 for j in range(1 + k % 4)]
    return " ".join(string.ascii_lowercase[n // 26] + string.ascii_lowercase[n % 26] for n in numbers)


def write_picture(path, side, rng):
    """A BMP of 24 bits: no library is needed."""
    row = side * 3
    pad = -row % 4
    size = (row + pad) * side
    with open(path, "wb") as f:
        f.write(struct.pack("<2sIHHI", b"BM", 54 + size, 0, 0, 54))
        f.write(struct.pack("<IiiHHIIiiII", 40, side, side, 1, 24, 0, size, 2835, 2835, 0, 0))
        for _ in range(side):
            f.write(rng.randbytes(row) + bytes(pad))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--classes", type=int, required=True)
    parser.add_argument("--pictures", type=int, default=64, help="files, shared by the classes")
    parser.add_argument("--side", type=int, default=224)
    args = parser.parse_args()
    if not 1 <= args.classes <= 4 * 676:
        parser.error(f"--classes {args.classes}: 1 to {4 * 676}")
    os.makedirs(args.out, exist_ok=True)
    rng = random.Random(0)
    for i in range(args.pictures):
        write_picture(f"{args.out}/{i}.bmp", args.side, rng)
    write_vocabulary(f"{args.out}/bpe_simple_vocab_16e6.txt")
    count = max(args.classes, args.pictures)
    train = [[f"{i % args.pictures}.bmp", i % args.classes, class_name(i % args.classes)] for i in range(count)]
    with open(f"{args.out}/split_noise.json", "w") as f:
        json.dump({"train": train, "val": [], "test": train[:args.classes]}, f)  # nothing is tested, but something must be there


if __name__ == "__main__":
    main()

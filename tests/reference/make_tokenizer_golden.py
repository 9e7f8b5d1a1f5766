#!/usr/bin/env python3
"""Writes tests/golden/clip/text.json: texts, the words that CLIP's published tokenizer cuts them into, and their ids by the published
vocabulary. The steps are those of its simple_tokenizer.py. Needs the packages ftfy (6.3) and `regex` (of Unicode 15) and, as its
argument, bpe_simple_vocab_16e6.txt.gz.
"""
import gzip
import html
import json
import os
import random
import sys
import unicodedata

import ftfy
import regex

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "clip", "text.json")
PATTERN = regex.compile(
    r"""<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+""", regex.IGNORECASE)


def byte_symbols():
    printable = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    others = [b for b in range(256) if b not in printable]
    return dict(zip(printable + others, [chr(b) for b in printable] + [chr(256 + i) for i in range(len(others))]))


def words(text):
    text = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
    text = regex.sub(r"\s+", " ", text).strip().lower()
    return PATTERN.findall(text)


class Tokenizer:
    def __init__(self, path):
        lines = gzip.open(path).read().decode().split("\n")[1:49152 - 256 - 2 + 1]
        merges = [tuple(line.split()) for line in lines]
        self.byte = byte_symbols()
        names = list(self.byte.values())
        names += [n + "</w>" for n in names] + ["".join(m) for m in merges] + ["<|startoftext|>", "<|endoftext|>"]
        self.id = {name: i for i, name in enumerate(names)}
        self.rank = {m: i for i, m in enumerate(merges)}

    def symbols(self, word):
        if word in ("<|startoftext|>", "<|endoftext|>"):
            return [word]
        part = [self.byte[b] for b in word.encode()]
        part[-1] += "</w>"
        while len(part) > 1:
            best = min(zip(part, part[1:]), key=lambda p: self.rank.get(p, 1e9))
            if best not in self.rank:
                break
            out, i = [], 0
            while i < len(part):
                if i + 1 < len(part) and (part[i], part[i + 1]) == best:
                    out.append(part[i] + part[i + 1])
                    i += 2
                else:
                    out.append(part[i])
                    i += 1
            part = out
        return part

    def encode(self, text):
        return [self.id[s] for w in words(text) for s in self.symbols(w)]


FIXED = [
    "a dog\u2019s bone", "\u201cquoted\u201d \u2018it\u2019s\u2019 \ufb01ne", "the caf\u00c3\u00a9\u00e2\u20ac\u2122s door", "\uff26\uff35\uff2c\uff2c \u3000 width", "\x1b[31mred\x1b[0m \x07bell",
    "Unicode 15: \U00011f04\U00011f05 \U0001e4d0 \U00031350 \U00011f50",
    "a centered satellite photo of Annual Crop Land.", "X X X X dog.", "Hello, world! It's 2023", "DON'T 'S 'RE ''ll !!'d o'clock",
    "<|STARTOFTEXT|> <|endoftext|>x!!<|startoftext|>", "&eacute;&amp;eacute;&amp;amp;eacute; &notit; &notin; &am &ampamp &Eacute",
    "&#233;&#xe9;&#XE9 &#0; &#128; &#x81; &#xD800; &#1114112; &#99999999999999; &#1; &#x; &#; &#xfdd0; &#11; &#13;x",
    "&fjlig; &nGt; &NotEqualTilde; &CounterClockwiseContourIntegral; &CounterClockwiseContourIntegralx; &xyz; & ;&&gt;&",
    "&lt;&#60;&amp;lt; &amp;#60; &a\u00e9; &gt\u00e9", "\u03a3\u03a3 \u039f\u0394\u039f\u03a3. \u03a3 A\u03a3'A A\u03a3' \u03a3A \u00ad\u03a3",
    "\u0130stanbul I\u0307 \u1e9e \u2126 \u212a \u01c5 \U00010400 \ua64a \u13a0 \uab70", "cafe\u0301 A\u030angstro\u0308m e\u0323\u0302 e\u0302\u0323",
    "\u1112\u1161\u11ab\u1100\u1173\u11af \ud55c\uae00 \u0344 \u2126\u0301 \uf900 \u0958 \u1fed", "'\u017f <|\u017ftartoftext|>",
    "\u001c a\u001cb\u001d \u0085\u00a0\u3000c\u200bd\u2028e\u180ef", "\u00bd\u00b2\u2167\u0663\U0001d7d8\u3007", "a\u0300\u0316b \u0915\u094d\u0937",
    "\U0001f1e9\U0001f1ea\U0001f468\u200d\U0001f469 \ud7a3\uffff\U0010ffff", "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz ababababababab aaaaaaaaaaaaaaaaaaaaaaa",
]
# Where a random text takes its letters from: what has case, marks, composition, blanks, references, scripts.
ROOMS = [(0x20, 0x7E), (0x20, 0x7E), (0xA0, 0x24F), (0x300, 0x345), (0x370, 0x3FF), (0x400, 0x52F), (0x5B0, 0x5EA), (0x600, 0x6FF),
         (0x900, 0x9FF), (0x1100, 0x11F9), (0x1E00, 0x1FFF), (0x2000, 0x206F), (0x2100, 0x218F), (0x3000, 0x30FF), (0xAC00, 0xAC80),
         (0xF900, 0xF940), (0x1D15E, 0x1D16F), (0x1F300, 0x1F64F)]
PIECES = ["&amp;", "&amp", "&#x3a3;", "&#769;", "'s", "'LL", " the ", "&euml;", "&ampeuml;", "\u0301", "\u0327\u0301", "\u03a3", "A\u03a3", " ", "\t",
          "<|endoftext|>", "photo", "Dog", "42", "...", "'"]


def random_text(r):
    out = ""
    for _ in range(r.randint(3, 14)):
        low, high = r.choice(ROOMS)
        out += r.choice(PIECES) if r.random() < 0.35 else "".join(chr(r.randint(low, high)) for _ in range(r.randint(1, 3)))
    return out


if __name__ == "__main__":
    tokenizer = Tokenizer(sys.argv[1])
    r = random.Random(7)
    known = lambda t: all(unicodedata.category(c) not in ("Cn", "Cs") for c in t)  # newer tables must not differ
    texts = FIXED + [t for t in (random_text(r) for _ in range(400)) if known(t)][:150]
    os.makedirs(os.path.dirname(OUT), exist_ok=True)
    with open(OUT, "w", encoding="ascii") as f:
        f.write("[\n" + ",\n".join(json.dumps({"text": t, "words": words(t), "ids": tokenizer.encode(t)}, separators=(",", ":"))
                                   for t in texts) + "\n]\n")
    print(len(texts), "texts,", os.path.getsize(OUT), "bytes")

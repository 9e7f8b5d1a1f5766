#!/usr/bin/env python3
"""Writes tests/golden/text/repair.json: broken texts, and what ftfy.fix_text makes of them. Needs the package ftfy (6.3).

    make_repair_golden.py                        writes the file
    make_repair_golden.py SEED COUNT PROGRAM     compares COUNT other texts with what PROGRAM answers: it reads a text a line, its code
                                                 points in hexadecimal, and writes the same of what it makes of it
"""
import json
import os
import random
import subprocess
import sys

import ftfy

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "text", "repair.json")

# The code pages that texts are misread by here; the last comes oftener.
PAGES = ["latin-1", "cp1251", "cp1250", "cp1253", "cp1254", "cp1257", "iso8859-2", "mac-roman", "cp437", "latin-1", "cp1252", "cp1252"]
TEXTS = [
    "a dog\u2019s bone", "\u201cquotes\u201d \u2018and\u2019 \u201elow\u201a \u02bcn", "caf\u00e9", "na\u00efve", "l\u2019\u00e9cole \u00e0 la plage",
    "voil\u00e0 quelque chose", "\u2014 dash", "\u65e5\u672c\u8a9e", "\u041f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440",
    "\u0395\u03bb\u03bb\u03ac\u03b4\u03b1", "\u017c\u00f3\u0142\u0107", "\u00f1and\u00fa", "\u20ac100", "\u2122 mark", "\U0001f600",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467", "\u00fcber Stra\u00dfe", "S\u00e3o Paulo", "perch\u00e9 \u00e0 s ", "\u2026 and", "\u00bd cup",
    "\u013d\u00fabi\u0165", "\u00e6r\u00f8 \u00d8", "T\u00fcrk\u00e7e \u0130stanbul \u011f\u015f", "\ufb01ne \ufb02ow \ufb03 \ufb05 \u01c4 \u01c5 \u01c9 \u01f2 \u0132 \u0149",
    "\uff26\uff35\uff2c\uff2c\u3000\uff57\uff49\uff44\uff54\uff48 \uff76\uff80\uff76\uff85 \uffe3 \uffe1", "\x1b[31;1mred\x1b[0m \x1b[ not",
    "a\r\nb\rc\u2028d\u2029e\x85f", "\x07bell \ufeffmark \u206a", "&amp;amp; &lt; &NTILDE; &FRAC12; &eacute; &eacute &#233; &#x92; &#150; &#59; &#12a;",
    "<b>&amp;</b>\n&amp;", "&amp;\n<b>&amp;", "\u00c3 ", "\u00c2 \u00a0", "\u00bfQu\u00e9?", "\u00c3\u00a9", "\u00e2\u20ac\u2122", "\u00e2\u20ac\u0153",
    "\u00c3\u0083\u00c2\u00a9", "\u221a\u00b1", "\u00d7\u00b2", "\u00e0\u00b2", "\u0432\u0402\u2122", "\u03b2\u20ac\u2122", "\u0101\u20ac", "\u0152 ", "\u00cb\u0160",
    "\u0413\u045e\u0412\u0402\u0412\u2122s ok", "cafe\u0301 A\u030a", "\u1112\u1161\u11ab", "\u00c3\u00a9\u00c0\n", "caf\u00c3? \u00c3\u001a",
    "This \u00e2\u20ac\u201c and that caf\u00c3\u00a9, \u65e5\u672c", "already right: \u00fe \u00f0 Bront\u00eb\u2026\u201d", "AH\u00c5\u2122, the new sofa from IKEA\u00ae",
    "\u00ed\u00a0\u00bd\u00ed\u00b8\u20ac", "\u00f0\u0178\u02dc\u20ac", "\u0081\u008d\u008f\u0090\u009d\u0080\u0099",
]
MARKS = (list(range(0x80, 0x180)) + list(range(0x384, 0x3cf)) + list(range(0x401, 0x460)) + list(range(0x2550, 0x2594))
         + [0x192, 0x2c6, 0x2dc, 0x2013, 0x2014, 0x2018, 0x2019, 0x201a, 0x201c, 0x201d, 0x201e, 0x2020, 0x2021, 0x2022, 0x2026, 0x2030,
            0x2039, 0x203a, 0x20ac, 0x2122, 0xfffd, 0x1a, 0x2202, 0x221a, 0x2248, 0x2260])
PIECES = ["&", "amp;", "AMP;", "lt;", "#", "x", "123;", "eacute;", "EACUTE;", "#x41;", " ", "\u00e9", "\n", "<", "#0;", "#xD800;", "FRAC12;"]


def misread(data, page):
    """As a lenient program reads bytes that a code page has no character for."""
    out = ""
    for b in data:
        c = bytes([b]).decode(page, "replace")
        out += c if c != "\ufffd" else chr(b)
    return out


def surrogates(text):
    """UTF-8 of UTF-16, in which characters above U+FFFF have six bytes."""
    units = text.encode("utf-16-le")
    return b"".join(chr(units[i] | units[i + 1] << 8).encode("utf-8", "surrogatepass") for i in range(0, len(units), 2))


def broken(r, text):
    for _ in range(r.choice([0, 0, 1, 1, 1, 1, 2, 2, 3])):
        data = surrogates(text) if r.random() < 0.06 else text.encode()
        if r.random() < 0.15:
            data = bytes(b for b in data if r.random() < 0.97)
        if r.random() < 0.12:
            data = data.replace(b"\xa0", b" ")
        if r.random() < 0.1:
            data = bytes(b if b < 0x80 or r.random() < 0.8 else r.choice([0x3f, 0x1a]) for b in data)
        text = misread(data, r.choice(PAGES))
    return text


def random_text(r):
    kind = r.random()
    if kind < 0.55:
        out = broken(r, " ".join(r.choice(TEXTS) for _ in range(r.randint(1, 3))))
        return out + (r.choice(["", " ", "\n"]) + broken(r, r.choice(TEXTS)) if r.random() < 0.3 else "")
    if kind < 0.85:
        return "".join(chr(r.choice(MARKS)) if r.random() < 0.6 else r.choice("abcXYZ .,?! 's&;#19<>\n\t") for _ in range(r.randint(1, 14)))
    if kind < 0.93:
        return "".join(r.choice(PIECES) for _ in range(r.randint(1, 8)))
    rooms = [(0x20, 0x7E), (0xA0, 0x24F), (0x300, 0x36F), (0xFF00, 0xFFEF), (0xFB00, 0xFB10), (0x2000, 0x206F), (0x4E00, 0x4E20)]
    return "".join(chr(r.randint(*r.choice(rooms))) for _ in range(r.randint(1, 10)))


def hexadecimal(text):
    return " ".join(f"{ord(c):x}" for c in text)


def compare(seed, count, program):
    r = random.Random(seed)
    texts = [t for t in (random_text(r) for _ in range(count)) if "\0" not in t]
    answers = subprocess.run([program], input="".join(hexadecimal(t) + "\n" for t in texts).encode(), stdout=subprocess.PIPE, check=True)
    wrong = 0
    for text, answer in zip(texts, answers.stdout.decode().split("\n")):
        want = ftfy.fix_text(text)
        if answer != hexadecimal(want):
            print(ascii(text), "->", answer, "wanted", hexadecimal(want))
            wrong += 1
    print(len(texts), "texts,", wrong, "of them wrong")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    if len(sys.argv) == 4:
        compare(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
    r = random.Random(12)
    texts = [t for t in TEXTS + [random_text(r) for _ in range(300)] if "\0" not in t and len(t) < 120]
    os.makedirs(os.path.dirname(OUT), exist_ok=True)
    with open(OUT, "w", encoding="ascii") as f:
        f.write("[\n" + ",\n".join(json.dumps({"text": t, "repaired": ftfy.fix_text(t)}, separators=(",", ":")) for t in texts) + "\n]\n")
    print(len(texts), "texts,", os.path.getsize(OUT), "bytes")

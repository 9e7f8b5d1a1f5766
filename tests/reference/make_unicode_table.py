#!/usr/bin/python3
"""Writes text/unicode_table.h, text/normal_table.h and text/entity_table.h: what Python knows of Unicode and of HTML, as tables
that text/unicode.c, normal.c and entity.c search. Letters and numbers are those of UnicodeData.txt (Debian's package unicode-data:
Unicode 15), as the package `regex` of the published tokenizer has them; all else is Python's. The tables say which Unicode it was.
Run from anywhere; files are replaced.
"""
import os
import sys
import unicodedata
from html.entities import html5

TEXT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "text")
DATA, VERSION = "/usr/share/unicode/UnicodeData.txt", "15.0.0"
POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def categories():
    """The category of each code point that has one; a range is given by its first and last."""
    out, first = {}, None
    for line in open(DATA, encoding="ascii"):
        fields = line.split(";")
        c = int(fields[0], 16)
        for k in range(first if fields[1].endswith(", Last>") else c, c + 1):
            out[k] = fields[2]
        first = c
    return out


def ranges(holds):
    """Pairs of first and last code point."""
    out = []
    for c in range(0x110001):
        if c < 0x110000 and not 0xD800 <= c < 0xE000 and holds(c):
            if out and out[-1][1] == c - 1:
                out[-1][1] = c
            else:
                out.append([c, c])
    return out


def flow(items):
    """Items with commas between, in lines of at most 130 columns."""
    lines, line = [], "   "
    for item in items:
        if len(line) + len(item) + 2 > 130:
            lines.append(line)
            line = "   "
        line += " " + item + ","
    return "\n".join(lines + [line]) + "\n"


def range_table(name, about, holds):
    return (f"/* {about} */\nstatic const code_range {name}[] = {{\n"
            + flow(f"{{0x{a:x}, 0x{b:x}}}" for a, b in ranges(holds)) + "};\n\n")


def lower_table():
    """Runs of code points whose lower case lies at one distance, every one or every second of them."""
    one = [(c, ord(chr(c).lower()) - c) for c in POINTS if len(chr(c).lower()) == 1 and chr(c).lower() != chr(c)]
    many = [c for c in POINTS if len(chr(c).lower()) > 1]
    assert many == [0x130], many  # which text/unicode.c knows
    runs = []
    for c, delta in one:
        last = runs[-1] if runs else None
        if last and last[3] == delta and (c - last[1] == last[2] or (last[0] == last[1] and c - last[1] in (1, 2))):
            last[2] = c - last[1]
            last[1] = c
        else:
            runs.append([c, c, 1, delta])
    for first, last, step, delta in runs:
        assert all(chr(c).lower() == chr(c + delta) for c in range(first, last + 1, step))
    return ("/* First, last, step, and how far off the lower case is. */\nstatic const lower_run LOWER[] = {\n"
            + flow(f"{{0x{a:x}, 0x{b:x}, {s}, {d}}}" for a, b, s, d in runs) + "};\n\n")


def canonical(c):
    d = unicodedata.decomposition(chr(c))
    return [] if not d or d.startswith("<") else [int(x, 16) for x in d.split()]


def normal_tables():
    parts = [(c, canonical(c)) for c in POINTS if canonical(c)]
    out = ("/* Canonical decompositions: the code point, its first and its second part (0: it has one). Hangul is computed. */\n"
           "static const decomposition PARTS[] = {\n"
           + flow(f"{{0x{c:x}, 0x{p[0]:x}, {hex(p[1]) if len(p) > 1 else 0}}}" for c, p in parts) + "};\n\n")
    composes = sorted((p, i) for i, (c, p) in enumerate(parts) if len(p) == 2 and unicodedata.normalize("NFC", chr(c)) == chr(c))
    out += ("/* Places in PARTS of what composes again, by first and second part. */\nstatic const uint16_t COMPOSES[] = {\n"
            + flow(str(i) for _, i in composes) + "};\n\n")
    classes = []
    for c in POINTS:
        k = unicodedata.combining(chr(c))
        if k and classes and classes[-1][2] == k and classes[-1][1] == c - 1:
            classes[-1][1] = c
        elif k:
            classes.append([c, c, k])
    return (out + "/* Combining classes other than 0. */\nstatic const class_range COMBINING[] = {\n"
            + flow(f"{{0x{a:x}, 0x{b:x}, {k}}}" for a, b, k in classes) + "};\n")


# What Python's lower() asks before it chooses between the two small sigmas, found by asking it.
def ignorable(c):
    return ("A" + chr(c) + "\u03a3").lower()[-1] == "\u03c2" and (chr(c) + "\u03a3").lower()[-1] == "\u03c3"


def cased(c):
    return (chr(c) + "\u03a3").lower()[-1] == "\u03c2"


def head(name, about, script):
    return f"/* {name} - {about} Written by\n * tests/reference/{os.path.basename(script)}. */\n/* clang-format off */\n"


def unicode_header():
    category = categories()
    return (head("unicode_table.h", f"classes of Unicode {VERSION} and lower case of {unicodedata.unidata_version}, for text/unicode.c "
                 "alone.", __file__)
            + range_table("LETTERS", "Categories L*.", lambda c: category.get(c, "Cn")[0] == "L")
            + range_table("NUMBERS", "Categories N*.", lambda c: category.get(c, "Cn")[0] == "N")
            + range_table("DECIMALS", "Category Nd.", lambda c: category.get(c, "Cn") == "Nd")
            + range_table("CASED", "Has a case, and is not passed over when a word's end is looked for.", cased)
            + range_table("IGNORABLE", "Passed over when a word's end is looked for.", ignorable)
            + lower_table() + "/* clang-format on */\n")


def normal_header():
    return (head("normal_table.h", f"canonical equivalence in Unicode {unicodedata.unidata_version}, for text/normal.c alone.", __file__)
            + normal_tables() + "/* clang-format on */\n")


def c_string(text):
    """Octal where C or a reader would stumble: three digits end by themselves."""
    plain = [chr(b) if 0x20 <= b < 0x7F and chr(b) not in "\"\\?" else f"\\{b:03o}" for b in text.encode()]
    return "\"" + "".join(plain) + "\""


def entity_header():
    names = sorted(html5, key=lambda n: n.encode())
    return (head("entity_table.h", "the named character references of HTML5, sorted by bytes, for text/entity.c alone.", __file__)
            + "/* Those that may stand without a semicolon stand here twice, as in the standard. */\nstatic const entity ENTITIES[] = {\n"
            + flow(f"{{{c_string(n)}, {c_string(html5[n])}}}" for n in names) + "};\n/* clang-format on */\n")


if __name__ == "__main__":
    for name, text in (("unicode_table.h", unicode_header()), ("normal_table.h", normal_header()),
                       ("entity_table.h", entity_header())):
        with open(os.path.join(TEXT, name), "w", encoding="ascii") as f:
            f.write(text)
    print(f"Unicode {unicodedata.unidata_version}, Python {sys.version.split()[0]}")

#!/usr/bin/python3
"""Writes text/mojibake_table.h and text/repair_table.h, which text/mojibake.c and text/repair.c search. The single-byte encodings, widths and capital names of
characters are Python's own; which characters make mojibake likely is the knowledge of the package ftfy (6.3), which is needed.
Run from anywhere; the files are replaced.
"""
import html
import os
import unicodedata
from html.entities import html5

from ftfy.badness import MOJIBAKE_CATEGORIES
from ftfy.chardata import UTF8_CLUES

from make_unicode_table import c_string, flow, head

TEXT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "text")

# Bits of a character, in the order of text/mojibake.c.
CLASSES = ["common", "c1", "bad", "law", "currency", "start_punctuation", "end_punctuation", "numeric", "kaomoji", "upper_accented",
           "lower_accented", "upper_common", "lower_common", "box"]
CLUES = ["utf8_first_of_2", "utf8_first_of_3", "utf8_first_of_4", "utf8_continuation", "utf8_continuation_strict"]

# In the order in which they are tried, after Latin-1; "sloppy": a byte that stands for nothing stands for the code point of its number.
ENCODINGS = ["windows-1252", "windows-1251", "windows-1250", "windows-1253", "windows-1254", "windows-1257", "iso-8859-2", "mac-roman",
             "cp437"]


def members(text):
    """The code points of the inside of a regular expression's [...]."""
    out, i = set(), 0
    while i < len(text):
        last = i + 2 if text[i + 1:i + 2] == "-" and i + 2 < len(text) else i
        out.update(range(ord(text[i]), ord(text[last]) + 1))
        i = last + 1
    return out


def class_table():
    sets = [members(MOJIBAKE_CATEGORIES[c]) for c in CLASSES] + [members(UTF8_CLUES[c]) for c in CLUES]
    firsts = sets[len(CLASSES):len(CLASSES) + 3]
    assert not any(a & b for i, a in enumerate(firsts) for b in firsts[:i])  # so a sequence is read in one way only
    points = sorted(set().union(*sets))
    rows = [(c, sum(1 << bit for bit, s in enumerate(sets) if c in s)) for c in points]
    runs = []
    for c, bits in rows:
        if runs and runs[-1][1] == c - 1 and runs[-1][2] == bits:
            runs[-1][1] = c
        else:
            runs.append([c, c, bits])
    return ("/* First, last, and the classes that they are in, a bit each. */\nstatic const class_run CLASSES[] = {\n"
            + flow(f"{{0x{a:x}, 0x{b:x}, 0x{bits:x}}}" for a, b, bits in runs) + "};\n\n")


def code_page_table():
    out = "/* Bytes 0x80 to 0xff. */\nstatic const uint16_t CODE_PAGES[][128] = {\n"
    for name in ENCODINGS:
        sloppy = name.startswith("windows")
        page = []
        for b in range(0x80, 0x100):
            c = bytes([b]).decode(name, "replace")
            page.append(b if c == "\ufffd" and sloppy else ord(c))
        assert 0xfffd not in page
        out += f"    {{/* {name} */\n" + flow(f"0x{c:x}" for c in page) + "    },\n"
    return out + "};\n\n"


def width_table():
    rows = []
    for c in range(0xFF01, 0xFFF0):
        plain = unicodedata.normalize("NFKC", chr(c))
        if plain != chr(c):
            assert len(plain) <= 2
            rows.append((c, ord(plain[0]), ord(plain[1]) if len(plain) > 1 else 0))
    return ("/* Full and half width, and what they are otherwise: one code point, or two. */\nstatic const width WIDTHS[] = {\n"
            + flow(f"{{0x{c:x}, 0x{a:x}, 0x{b:x}}}" for c, a, b in rows) + "};\n\n")


def capital_table():
    rows = {}
    for name, text in html5.items():
        if name.endswith(";") and name == name.lower():
            capital = name.upper()
            if html.unescape("&" + capital) == "&" + capital:
                rows[capital] = text.upper()
    return ("/* References by names in capitals that HTML5 does not know, sorted by bytes. */\nstatic const entity CAPITALS[] = {\n"
            + flow(f"{{{c_string(n)}, {c_string(rows[n])}}}" for n in sorted(rows)) + "};\n")


if __name__ == "__main__":
    for name, about, text in (("mojibake_table.h", "what mojibake is made of, for text/mojibake.c alone.", class_table() + code_page_table()),
                              ("repair_table.h", "widths and capital names, for text/repair.c alone.", width_table() + capital_table())):
        with open(os.path.join(TEXT, name), "w", encoding="ascii") as f:
            f.write(head(name, about, __file__) + text + "/* clang-format on */\n")

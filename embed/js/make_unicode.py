"""Writes src/tokenizer/unicode_tables.ts: what the tokenizers library takes every code point for.

    python embed/js/make_unicode.py            writes the file
    python embed/js/make_unicode.py --check    fails where the file says anything else

Engines of JavaScript have tables of several Unicode versions, and so have the library's parts: embed/c/make_unicode.py
asks the library itself, and this packs what it found for regular expressions.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "c"))

from make_unicode import HANGUL, POINTS, classes_of, combining_classes, mapped, pairs_of
from tokenizers import normalizers

TABLES = Path(__file__).parent / "src" / "tokenizer" / "unicode_tables.ts"
NAMES = ("LETTER", "NUMBER", "WORD", "PUNCTUATION", "CONTROL", "NONSPACING", "MARK", "NUMERIC")
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
WIDTH = 110


def base36(number: int) -> str:
    """Returns a number as JavaScript's `parseInt(text, 36)` reads it."""
    text = ""
    while True:
        number, digit = divmod(number, 36)
        text = DIGITS[digit] + text
        if not number:
            return text


def packed(points: Iterable[int]) -> str:
    """Returns runs of code points: how far each begins behind the last one's end, and how long it is."""
    numbers: list[int] = []
    end = 0
    for point in sorted(points):
        if numbers and point == end:
            numbers[-1] += 1
        else:
            numbers += [point - end, 1]
        end = point + 1
    return " ".join(map(base36, numbers))


def render() -> str:
    """Returns the whole file."""
    decomposed = mapped(normalizers.NFD(), POINTS)
    decomposed[0] = "\0"
    pairs, _ = pairs_of(decomposed)
    classes = classes_of(decomposed, pairs)
    changing = {point for point, text in decomposed.items() if text != chr(point)}
    parts = {part for pair in pairs.values() for part in pair}
    classes["CANONICAL"] = changing | set(combining_classes(decomposed)) | classes["UNCOMPOSED"] | set(HANGUL) | parts
    lines = [
        "/**",
        " * What code points are to the tokenizers library, written by make_unicode.py: don't change it by hand.",
        " * Runs are in base 36: how far each begins behind the last one's end, and how long it is.",
        " */",
    ]
    for name in (*NAMES, "CANONICAL"):
        text = packed(classes[name])
        rows = [text[start : start + WIDTH] for start in range(0, len(text), WIDTH)]
        lines += [f"export const {name} =", *(f'  "{row}" +' for row in rows[:-1]), f'  "{rows[-1]}";']
    return "\n".join(lines) + "\n"


def main() -> None:
    """Writes the tables, or compares them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the file instead of writing it")
    check = parser.parse_args().check
    text = render()
    if not check:
        TABLES.write_text(text, "utf-8")
    elif text != TABLES.read_text("utf-8"):
        sys.exit(f"{TABLES} is not what the tokenizers library says. Run {Path(__file__).name} again.")


if __name__ == "__main__":
    main()

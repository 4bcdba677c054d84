"""Writes embed/c/src/unicode_tables.h: what the tokenizers library takes every code point for.

    python embed/c/make_unicode.py            writes the file
    python embed/c/make_unicode.py --check    fails where the file says anything else

The library's parts have tables of several Unicode versions (regular expressions, BERT's normalizer, canonical
normalization, Rust's own), and Python's `unicodedata` has yet another. So all code points are shown to the library
itself, and `unicodedata` is what the result is compared with: the differences are counted at the top of the file.
"""

from __future__ import annotations

import argparse
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers
from unicode_packing import array, bits, keys_of, low, lower_runs, ranges, stream

TABLES = Path(__file__).parent / "src" / "unicode_tables.h"

POINTS = [point for point in range(0x110000) if not 0xD800 <= point <= 0xDFFF]
CHUNK = 4096

# The names and bits of unicode.h.
FLAGS = {
    name: 1 << bit
    for bit, name in enumerate(
        ("LETTER", "NUMBER", "SPACE", "WORD", "PUNCTUATION", "CONTROL", "NONSPACING", "MARK", "NUMERIC", "UNCOMPOSED")
    )
}

HANGUL = range(0xAC00, 0xAC00 + 11172)


def chunks(points: Sequence[int]) -> Iterator[Sequence[int]]:
    """Yields all code points, some thousands at a time."""
    for start in range(0, len(points), CHUNK):
        yield points[start : start + CHUNK]


def matched(pattern: str) -> set[int]:
    """Returns the code points that a regular expression of one character matches."""
    splitter = pre_tokenizers.Split(Regex(pattern), "removed")
    found: set[int] = set()
    for chunk in chunks(POINTS):
        rest: set[int] = set()
        for _, (start, end) in splitter.pre_tokenize_str("".join(map(chr, chunk))):
            rest.update(chunk[start:end])
        found.update(set(chunk) - rest)
    return found


def isolated(splitter: pre_tokenizers.PreTokenizer) -> set[int]:
    """Returns the code points that are a word of their own between two letters."""
    found: set[int] = set()
    for chunk in chunks(POINTS):
        text = "a" + "".join(f"{chr(point)}a" for point in chunk)
        for _, (start, end) in splitter.pre_tokenize_str(text):
            if start % 2 == 1 and end == start + 1:
                found.add(chunk[start // 2])
    return found


def beside_added(token: AddedToken, text: Callable[[str], str], hit: Callable[[str, int, int], bool]) -> set[int]:
    """Returns the code points beside which an added token is found as `hit` says, given a text and its place there."""
    tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    tokenizer.add_tokens([token])
    found: set[int] = set()
    for chunk in chunks(POINTS):
        parts = [text(chr(point)) for point in chunk]
        whole, starts = "".join(parts), {}
        place = 0
        for point, part in zip(chunk, parts, strict=True):
            starts.update(dict.fromkeys(range(place, place + len(part)), point))
            place += len(part)
        encoding = tokenizer.encode(whole)
        for number, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            if number == 1 and hit(whole, start, end):
                found.add(starts[start])
    return found


def mapped(
    normalizer: normalizers.Normalizer, points: Sequence[int], mark: str = "\0", before: str = "", behind: str = ""
) -> dict[int, str]:
    """Returns what a normalizer makes of each code point, alone between marks that it leaves alone."""
    result: dict[int, str] = {}
    for chunk in chunks([point for point in points if chr(point) != mark]):
        text = mark.join(before + chr(point) + behind for point in chunk)
        parts = normalizer.normalize_str(text).split(mark)
        assert len(parts) == len(chunk), "a mark was lost or made"
        result.update(zip(chunk, parts, strict=True))
    return result


def combining_classes(decomposed: dict[int, str]) -> dict[int, int]:
    """Returns the combining class of what doesn't decompose, by where NFD puts it beside marks whose class is known."""
    nfd = normalizers.NFD()
    acute = "\u0301"
    known: dict[int, str] = {unicodedata.combining(acute): acute}
    for point in POINTS:
        combining, mark = unicodedata.combining(chr(point)), chr(point)
        if not combining or combining in known or decomposed.get(point) != mark:
            continue
        # The library may not know the mark yet, and would leave it where it is.
        if nfd.normalize_str(acute + mark + acute).index(mark) != 1:
            known[combining] = mark
    order = sorted(known)
    for lower, high in pairwise(order):
        pair = known[lower] + known[high]
        assert nfd.normalize_str(pair[::-1]) == pair, f"the library has other classes than {lower} and {high}"
    plain = [point for point in POINTS if decomposed.get(point, "") == chr(point)]
    highest, lowest = known[order[-1]], known[order[0]]
    marks = {point for point, text in mapped(nfd, plain, before=highest).items() if text[0] != highest}
    marks |= {point for point, text in mapped(nfd, plain, behind=lowest).items() if text[0] != chr(point)}
    marks.update(map(ord, known.values()))
    classes: dict[int, int] = {}
    for point in marks:
        mark = chr(point)
        low, high = 0, len(order) - 1
        while low < high:  # the first known class that is not less
            middle = (low + high) // 2
            if mark != known[order[middle]] and nfd.normalize_str(mark + known[order[middle]])[0] != mark:
                low = middle + 1
            else:
                high = middle
        same = known[order[low]]
        assert mark == same or nfd.normalize_str(same + mark) == same + mark, f"U+{point:04X} has a class of its own"
        classes[point] = order[low]
    return classes


def pairs_of(decomposed: dict[int, str]) -> tuple[dict[int, tuple[int, int]], dict[int, int]]:
    """Returns one step of each canonical decomposition: those to two code points, and those to one."""
    whole = {point: text for point, text in decomposed.items() if text != chr(point) and point not in HANGUL}
    by_text = {text: point for point, text in sorted(whole.items(), reverse=True) if len(text) > 1}
    nfc = normalizers.NFC()
    pairs: dict[int, tuple[int, int]] = {}
    singles: dict[int, int] = {}
    for point, text in whole.items():
        if len(text) == 1:
            singles[point] = ord(text)
            continue
        composed = nfc.normalize_str(text)
        if len(composed) == 1 and composed != chr(point):
            singles[point] = ord(composed)
            continue
        first = text[:-1] if len(text) == 2 else nfc.normalize_str(text[:-1])
        if len(first) > 1:
            first = chr(by_text[text[:-1]])
        pairs[point] = ord(first), ord(text[-1])
    return pairs, singles


def classes_of(decomposed: dict[int, str], pairs: dict[int, tuple[int, int]]) -> dict[str, set[int]]:
    """Returns the code points of each class."""
    cleaned = mapped(
        normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=False),
        POINTS,
        mark="a",
    )
    stripped = mapped(
        normalizers.BertNormalizer(clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False),
        POINTS,
    )
    composed = mapped(normalizers.NFC(), POINTS)
    word = AddedToken("<w>", single_word=True, normalized=False)
    space = AddedToken("<w>", rstrip=True, normalized=False)
    nfc = normalizers.NFC()
    classes = {
        "LETTER": matched(r"\p{L}"),
        "NUMBER": matched(r"\p{N}"),
        "SPACE": matched(r"\s"),
        "WORD": set(POINTS) - beside_added(word, lambda point: f" {point}<w> ", lambda text, start, end: True),
        "PUNCTUATION": isolated(pre_tokenizers.BertPreTokenizer()),
        "CONTROL": {point for point, text in cleaned.items() if text == ""},
        "NONSPACING": {point for point, text in stripped.items() if text == ""},
        "MARK": {point for point, text in mapped(normalizers.StripAccents(), POINTS).items() if text == ""},
        "NUMERIC": isolated(pre_tokenizers.Digits(individual_digits=True)),
        "UNCOMPOSED": {point for point, text in composed.items() if text != chr(point)}
        | {
            second
            for point, (first, second) in pairs.items()
            if nfc.normalize_str(chr(first) + chr(second)) == chr(point)
        }
        | set(range(0x1161, 0x1176))
        | set(range(0x11A8, 0x11C3)),
    }
    spaces = classes["SPACE"]
    others = {
        "WhitespaceSplit": set(POINTS) - covered(pre_tokenizers.WhitespaceSplit()),
        "clean_text": {point for point, text in cleaned.items() if text == " "} | (spaces & classes["CONTROL"]),
        "rstrip": beside_added(space, lambda point: f"<w>{point}y", lambda text, start, end: end > start + 3),
    }
    for name, found in others.items():
        assert found == spaces, f"{name} has other spaces: {sorted(found ^ spaces)}"
    return classes


def covered(splitter: pre_tokenizers.PreTokenizer) -> set[int]:
    """Returns the code points that are in a word."""
    found: set[int] = set()
    for chunk in chunks(POINTS):
        for _, (start, end) in splitter.pre_tokenize_str("".join(map(chr, chunk))):
            found.update(chunk[start:end])
    return found


def differences(classes: dict[str, set[int]], decomposed: dict[int, str], lower: dict[int, str]) -> Iterator[str]:
    """Yields how many code points Python's `unicodedata` sees in another way, class by class."""
    category = {point: unicodedata.category(chr(point)) for point in POINTS}
    expected: dict[str, Callable[[int], bool]] = {
        "LETTER": lambda point: category[point][0] == "L",
        "NUMBER": lambda point: category[point][0] == "N",
        "SPACE": lambda point: chr(point).isspace() and not 0x1C <= point <= 0x1F,
        "PUNCTUATION": lambda point: category[point][0] == "P" or chr(point) in "$+<=>^`|~",
        "CONTROL": lambda point: (
            (category[point] in ("Cc", "Cf", "Co") and point not in (9, 10, 13)) or point == 0xFFFD
        ),
        "NONSPACING": lambda point: category[point] == "Mn",
        "MARK": lambda point: category[point][0] == "M",
        "NUMERIC": lambda point: category[point][0] == "N",
    }
    for name, holds in expected.items():
        other = [point for point in POINTS if holds(point) != (point in classes[name])]
        yield f"{name}: {len(other)}"
    nfd = [point for point, text in decomposed.items() if text != unicodedata.normalize("NFD", chr(point))]
    yield f"canonical decomposition: {len(nfd)}"
    yield f"lowercase: {sum(text != chr(point).lower() for point, text in lower.items())}"


def render() -> str:
    """Returns the whole file."""
    decomposed = mapped(normalizers.NFD(), POINTS)
    decomposed[0] = "\0"
    pairs, singles = pairs_of(decomposed)
    classes = classes_of(decomposed, pairs)
    lower = mapped(normalizers.Lowercase(), POINTS)
    combining = combining_classes(decomposed)
    nfc = normalizers.NFC()

    values = dict.fromkeys(range(0x110000), 0)
    for name, points in classes.items():
        for point in points:
            values[point] |= FLAGS[name]
    kinds = sorted(set(values.values()))
    marks = sorted({0, *combining.values()})
    lowers = lower_runs(lower)
    two = [(point, text) for point, text in lower.items() if len(text) > 1]
    assert len(two) == 1 and len(two[0][1]) == 2, f"lowercase of more than one code point: {two}"
    keys = sorted(pairs)
    assert all(ord(text) >> 16 == point >> 16 for point, text in lower.items() if len(text) == 1)
    for key in keys:
        assert key >> 16 <= 1 and all(part >> 16 == key >> 16 for part in pairs[key]), f"U+{key:04X} leaves its plane"
        assert decomposed[pairs[key][1]] == chr(pairs[key][1]), f"the second part of U+{key:04X} decomposes"
    assert all(point >> 16 in (0, 2) for point in singles.values())
    assert all(len(text) <= 4 for text in decomposed.values())
    assert not any(point < 0x300 for point in combining) and not any(point < 0xC0 for point in [*pairs, *singles])
    targets = [singles[point] for point in sorted(singles)]
    seconds = sorted({second for _, second in pairs.values()})
    assert len(seconds) <= 256
    excluded = [nfc.normalize_str(chr(pairs[key][0]) + chr(pairs[key][1])) != chr(key) for key in keys]

    counts = "\n".join(f" *   {line}" for line in differences(classes, decomposed, lower))
    head = f"""/* What code points are to the tokenizers library, written by make_unicode.py: don't change it by hand.
 *
 * Read from tokenizers {tokenizers.__version__}.
 * Code points that unicodedata {unicodedata.unidata_version} of Python sees in another way:
{counts}
 */
#ifndef EAI_UNICODE_TABLES_H
#define EAI_UNICODE_TABLES_H

#include <stdint.h>

/* Classes of code points, which stand for the flags of unicode.h. */
"""
    return head + "\n".join(
        [
            array("uint16_t", "class_flags", map(hex, kinds)),
            array("uint8_t", "class_ascii", (kinds.index(values[point]) for point in range(0x80))),
            "/* Runs of code points: see `stream` in unicode_packing.py. */",
            *stream("class", ranges(values), kinds, 3),
            "/* Canonical combining classes, in the same way. */",
            array("uint8_t", "combining_classes", marks),
            *stream("combining", ranges(combining), marks, 2),
            "/* Lowercase: the first of a run in 21 bits, how many in 10, and 1 where every other one is;\n"
            " * and how far away, in the same plane. */",
            array(
                "uint32_t",
                "lower_ranges",
                (hex(first << 11 | count << 1 | step - 1) for first, step, count, _ in lowers),
            ),
            array("uint16_t", "lower_deltas", (low(distance) for *_, distance in lowers)),
            f"#define LOWER_TWO {two[0][0]:#x}",
            array("uint32_t", "lower_two", (hex(ord(part)) for part in two[0][1])),
            "/* Canonical decomposition to two code points of one plane; what doesn't compose again is excluded. */",
            *keys_of("pair", keys),
            f"enum {{ PAIR_PLANE_1 = {sum(key < 0x10000 for key in keys)} }}; /* the first one of plane 1 */\n",
            array("uint16_t", "pair_firsts", (low(pairs[key][0]) for key in keys)),
            array("uint16_t", "pair_marks", map(low, seconds)),
            array("uint8_t", "pair_seconds", (seconds.index(pairs[key][1]) for key in keys)),
            array("uint8_t", "pair_excluded", bits(excluded)),
            "/* Canonical decomposition to one code point, of plane 2 where a bit is set. */",
            *keys_of("single", sorted(singles)),
            array("uint16_t", "single_targets", map(low, targets)),
            array("uint8_t", "single_high", bits([target >> 16 == 2 for target in targets])),
            "#endif\n",
        ]
    )


def main() -> None:
    """Writes the tables, or compares them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the file instead of writing it")
    check = parser.parse_args().check
    text = render()
    if not check:
        TABLES.write_text(text, "utf-8")
    elif tables_of(text) != tables_of(TABLES.read_text("utf-8")):
        sys.exit(f"{TABLES} is not what tokenizers {tokenizers.__version__} says. Run {Path(__file__).name} again.")


def tables_of(text: str) -> str:
    """Returns the file without the comment at its top, which names versions."""
    return text[text.index("#ifndef") :]


if __name__ == "__main__":
    main()

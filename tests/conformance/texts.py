"""Texts and pairs with the tokens that the tokenizers library makes of them, as edgeadapt's pipelines ask for them."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgeadapt.bundle import TokenizerRecord
from edgeadapt.runtime.tokenizer import TextTokenizer
from tests.conformance.cases import TokenCase

SOURCE = Path(__file__).with_name("texts.json")
MODELS = Path(__file__).resolve().parents[2] / ".models"
REAL = ("all-MiniLM-L6-v2", "SmolLM2-135M-Instruct")
"""Models whose tokenizers are taken too, where `make` got them."""
OWN = ("classifiers", "taggers", "steps")
"""Bundles with a WordPiece that knows token types, one that doesn't, and a byte-level BPE."""

TEXTS, PAIRS = 150, 50
LENGTHS = (5, 8, 13, 24)
"""What texts are cut to; each of them to one, and once to none."""
NO_LIMIT = 1 << 30


def tokenizers(root: Path) -> list[str]:
    """Returns the `tokenizer.json` files that there are, relative to `root`, where real ones are copied to."""
    found = [f"bundles/{name}/tokenizer.json" for name in OWN]
    for name in REAL:
        file = MODELS / name / "tokenizer.json"
        if file.is_file():
            copy = root / "tokenizers" / name / file.name
            copy.parent.mkdir(parents=True)
            shutil.copyfile(file, copy)
            found.append(copy.relative_to(root).as_posix())
    return found


def texts() -> list[tuple[str, str | None]]:
    """Returns all texts, and pairs: those that were written by hand, and as many more, put together at random."""
    told = json.loads(SOURCE.read_text("utf-8"))
    generator = random.Random(7)
    pieces: Sequence[str] = told["pieces"]

    def made() -> str:
        return "".join(generator.choice(pieces) for _ in range(generator.randint(1, 14)))

    singles: list[tuple[str, str | None]] = [(text, None) for text in told["texts"]]
    pairs: list[tuple[str, str | None]] = [(first, second) for first, second in told["pairs"]]
    singles += [(made(), None) for _ in range(TEXTS - len(singles))]
    pairs += [(made(), made()) for _ in range(PAIRS - len(pairs))]
    return [*singles, *pairs]


def cases(root: Path) -> Iterator[TokenCase]:
    """Yields each text with each tokenizer, cut and whole."""
    rows = texts()
    for tokenizer in tokenizers(root):
        yield from _tokens(root, tokenizer, rows, [0] * len(rows))
        yield from _tokens(root, tokenizer, rows, [LENGTHS[index % len(LENGTHS)] for index in range(len(rows))])


def _tokens(
    root: Path, tokenizer: str, rows: Sequence[tuple[str, str | None]], lengths: Sequence[int]
) -> Iterator[TokenCase]:
    found: dict[int, TextTokenizer] = {}
    for (text, pair), length in zip(rows, lengths, strict=True):
        if length not in found:
            record = TokenizerRecord("tokenizer.json", length or NO_LIMIT, "right", 0, "", 0, None)
            found[length] = TextTokenizer(root / tokenizer, record)
        (row,) = found[length].tokens([text if pair is None else (text, pair)], truncation=length > 0)
        ids, types = (tuple(int(each) for each in array) for array in (row.ids, row.type_ids))
        yield TokenCase(tokenizer, text, pair, length, ids, types)

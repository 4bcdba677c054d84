"""Writes tokenizers of many kinds, and what the tokenizers library makes of texts: `write_tokenizers.py OUT`.

OUT must not be there. It gets a folder for each kind with `tokenizer.json` and `texts.json`, a list of
`{"text", "pair", "max_length", "ids", "type_ids"}`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.embed.tokenizer_program import Case, reference
from tests.embed.tokenizer_styles import STEPS, STYLES
from tests.embed.tokenizer_texts import HARD, every_point, pairs_and_cuts, random_texts
from tokenizers import Tokenizer


def write(folder: Path, tokenizer: Tokenizer, cases: Sequence[Case]) -> None:
    """Writes one tokenizer, and its tokens of these texts."""
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    texts = [
        {"text": case.text, "pair": case.pair, "max_length": case.max_length, "ids": ids, "type_ids": type_ids}
        for case, (ids, type_ids) in zip(cases, reference(tokenizer, cases), strict=True)
    ]
    (folder / "texts.json").write_text(json.dumps(texts, ensure_ascii=True), "utf-8")


def main(out: Path) -> None:
    """Writes all of them."""
    plain = [Case(text) for text in HARD + random_texts(1000, seed=1)]
    for name, make in STYLES.items():
        write(out / "styles" / name, make(), [*plain, *pairs_and_cuts(HARD + random_texts(200, seed=2), seed=3)])
    points = [Case(text) for text in [*HARD, *random_texts(500, seed=4, longest=40), *every_point()]]
    for name, make in STEPS.items():
        write(out / "steps" / name, make(), points)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

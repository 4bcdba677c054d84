"""Writes what Python makes of texts: `write_references.py CASES OUT`, where CASES are those of conformance.

OUT must not be there. It gets

    tokenizers/<kind>/tokenizer.json     tokenizers of many kinds
    tokenizers/<kind>/texts.json         a list of {"text", "pair", "max_length", "ids", "type_ids"}
    scores.json                          a list of {"bundle", "texts", "adapter", "scores"}, of edgeadapt.pipeline
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

import edgeadapt
from tests.embed.tokenizer_program import Case, reference
from tests.embed.tokenizer_styles import STEPS, STYLES
from tests.embed.tokenizer_texts import HARD, pairs_and_cuts, random_texts

TEXTS = ["You won a free phone!", "", "see you at six", "a " * 300, "naïve café 中文", "Hello, World!"] * 2


def write_tokenizer(folder: Path, tokenizer: Tokenizer, cases: Sequence[Case]) -> None:
    """Writes one tokenizer, and its tokens of these texts."""
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    texts = [
        {"text": case.text, "pair": case.pair, "max_length": case.max_length, "ids": ids, "type_ids": type_ids}
        for case, (ids, type_ids) in zip(cases, reference(tokenizer, cases), strict=True)
    ]
    (folder / "texts.json").write_text(json.dumps(texts), "utf-8")


def scores(bundles: Path) -> list[dict[str, object]]:
    """Returns the scores of texts with one adapter, with one for each text, and with the base where it has a head."""
    rows = []
    for name in ("classifiers", "headed"):
        classify = edgeadapt.pipeline(str(bundles / name))
        session = edgeadapt.load(str(bundles / name))
        names: list[str | None] = list(session.adapters)
        choices: list[str | list[str | None] | None] = [
            *names,
            [names[index % len(names)] for index in range(len(TEXTS))],
        ]
        if name == "headed":
            choices += [None, [None, *names, *([names[0]] * (len(TEXTS) - len(names) - 1))]]
        for adapter in choices:
            found = classify(TEXTS, adapter=adapter, top_k=None)
            rows.append({"bundle": name, "texts": TEXTS, "adapter": adapter, "scores": found})
    return rows


def main(cases: Path, out: Path) -> None:
    """Writes all of it."""
    plain = [Case(text) for text in HARD + random_texts(1000, seed=1)]
    for name, make in STYLES.items():
        texts = [*plain, *pairs_and_cuts(HARD + random_texts(200, seed=2), seed=3)]
        write_tokenizer(out / "tokenizers" / name, make(), texts)
    for name, make in STEPS.items():
        texts = [Case(text) for text in [*HARD, *random_texts(500, seed=4, longest=40)]]
        write_tokenizer(out / "tokenizers" / f"step-{name}", make(), texts)
    (out / "scores.json").write_text(json.dumps(scores(cases / "bundles")), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

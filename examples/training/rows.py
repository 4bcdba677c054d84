"""The data: texts with their class, read from JSON Lines, and split so that no text is on both sides."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from training.recipes import Recipe
from training.settings import HELD_OUT_SHARE, SEED


@dataclass(frozen=True, slots=True)
class Row:
    """One text with its class.

    Attributes:
        text: As it stands in the file.
        label: Id of the class: its place in `Recipe.labels`.
    """

    text: str
    label: int


@dataclass(frozen=True, slots=True)
class Split:
    """Rows to train on, and rows only to measure on; no text is in both."""

    train: list[Row]
    held_out: list[Row]


def read_rows(path: Path, labels: Sequence[str]) -> Iterator[Row]:
    r"""Yield the rows of a JSON Lines file whose label is among `labels`.

    The tab-separated original of the SMS collection opens quotation marks that it never closes, so readers swallow
    the lines up to the next mark: such a text holds `\n<label>\t<text>` once or more, and is taken apart here.

    Args:
        path: File of `{"text", "label"}` lines.
        labels: Class names in the order of their ids.

    Raises:
        click.ClickException: The file is not there.
    """
    if not path.is_file():
        raise click.ClickException(f"No file '{path.name}' in {path.parent}.\nName the folder that has it by --data.")
    ids = {label: number for number, label in enumerate(labels)}
    swallowed_line = re.compile(rf"\n({'|'.join(map(re.escape, labels))})\t")
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            first, *rest = swallowed_line.split(record["text"])
            for label, text in [(record["label"], first), *zip(rest[::2], rest[1::2], strict=True)]:
                if label in ids:
                    yield Row(text, ids[label])


def drop_repeats(rows: Iterable[Row], known: Iterable[Row] = ()) -> list[Row]:
    """Keep the first row of each text, and none whose text is in `known`; case and whitespace do not count."""
    seen = {normalise(row.text) for row in known}
    kept = []
    for row in rows:
        key = normalise(row.text)
        if key not in seen:
            seen.add(key)
            kept.append(row)
    return kept


def normalise(text: str) -> str:
    """Fold case and runs of whitespace away."""
    return " ".join(text.split()).casefold()


def split_by_class(rows: Sequence[Row], share: float, rng: np.random.Generator) -> Split:
    """Hold out the same `share` of every class, drawn at random."""
    by_class: defaultdict[int, list[Row]] = defaultdict(list)
    for row in rows:
        by_class[row.label].append(row)
    train: list[Row] = []
    held_out: list[Row] = []
    for _, members in sorted(by_class.items()):
        shuffled = [members[place] for place in rng.permutation(len(members))]
        cut = round(share * len(shuffled))
        held_out += shuffled[:cut]
        train += shuffled[cut:]
    return Split(train, held_out)


def load_split(recipe: Recipe, data: Path) -> Split:
    """Read a recipe's rows, drop repeated texts, and only then hold some out."""
    source = recipe.source
    rows = read_rows(data / source.train, recipe.labels)
    if source.held_out is None:
        return split_by_class(drop_repeats(rows), HELD_OUT_SHARE, np.random.default_rng(SEED))
    held_out = drop_repeats(read_rows(data / source.held_out, recipe.labels))
    return Split(drop_repeats(rows, known=held_out), held_out)

"""How tokens become entities: words of tokens, groups of words, and groups of overlapping windows.

The functions follow `transformers.TokenClassificationPipeline` step by step, scores in float32 as there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from edgeadapt.tasks._runner import Array, Vocabulary

Strategy: TypeAlias = Literal["none", "simple", "first", "average", "max"]


@dataclass(frozen=True, slots=True)
class Piece:
    """One token of a text.

    Attributes:
        word: The token as the vocabulary writes it.
        scores: `(labels,)`.
        start: Its first character in the text.
        end: The character after its last.
        index: Its place among all tokens, special ones counted.
        inside: Whether it continues the word of the token before.
    """

    word: str
    scores: Array
    start: int
    end: int
    index: int
    inside: bool


@dataclass(frozen=True, slots=True)
class Entity:
    """A token, a word or a group with its label; `index` is a token's, None for a word, and a group is `group`."""

    label: str
    score: np.floating[Any]
    word: str
    start: int
    end: int
    index: int | None = None
    group: bool = False

    def record(self) -> dict[str, Any]:
        """Returns the dict that a user gets, keys in transformers' order."""
        score = float(self.score)
        if self.group:
            return {"entity_group": self.label, "score": score, "word": self.word, "start": self.start, "end": self.end}
        index = {} if self.index is None else {"index": self.index}
        return {"entity": self.label, "score": score, **index, "word": self.word, "start": self.start, "end": self.end}


def grouped(pieces: Sequence[Piece], labels: Sequence[str], vocabulary: Vocabulary, strategy: Strategy) -> list[Entity]:
    """Returns the entities of one window (`TokenClassificationPipeline.aggregate`)."""
    if strategy in ("none", "simple"):
        entities = [
            Entity(labels[best], piece.scores[best], piece.word, piece.start, piece.end, piece.index)
            for piece in pieces
            for best in [int(piece.scores.argmax())]
        ]
    else:
        entities = [_word(word, labels, vocabulary, strategy) for word in _words(pieces)]
    return entities if strategy == "none" else _groups(entities, vocabulary)


def _words(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Returns the tokens of each word (`TokenClassificationPipeline.aggregate_words`)."""
    words: list[list[Piece]] = []
    for piece in pieces:
        if words and piece.inside:
            words[-1].append(piece)
        else:
            words.append([piece])
    return words


def _word(pieces: Sequence[Piece], labels: Sequence[str], vocabulary: Vocabulary, strategy: Strategy) -> Entity:
    """Returns one word with one label (`TokenClassificationPipeline.aggregate_word`)."""
    if strategy == "first":
        scores = pieces[0].scores
    elif strategy == "max":
        scores = max(pieces, key=lambda piece: float(piece.scores.max())).scores
    else:
        scores = np.nanmean(np.stack([piece.scores for piece in pieces]), axis=0)
    best = int(scores.argmax())
    word = vocabulary.join([piece.word for piece in pieces])
    return Entity(labels[best], scores[best], word, pieces[0].start, pieces[-1].end)


def _groups(entities: Sequence[Entity], vocabulary: Vocabulary) -> list[Entity]:
    """Returns runs of neighbours with one tag (`TokenClassificationPipeline.group_entities`)."""
    runs: list[list[Entity]] = []
    for entity in entities:
        begins, tag = _tag(entity.label)
        if runs and not begins and tag == _tag(runs[-1][-1].label)[1]:
            runs[-1].append(entity)
        else:
            runs.append([entity])
    return [_group(run, vocabulary) for run in runs]


def _tag(label: str) -> tuple[bool, str]:
    """Returns whether a label begins an entity, and its tag: a label with neither `B-` nor `I-` continues one.

    Example:
        >>> _tag("B-PER"), _tag("I-PER"), _tag("PER")
        ((True, 'PER'), (False, 'PER'), (False, 'PER'))
    """
    return label.startswith("B-"), label[2:] if label.startswith(("B-", "I-")) else label


def _group(run: Sequence[Entity], vocabulary: Vocabulary) -> Entity:
    """Returns a run as one entity (`TokenClassificationPipeline.group_sub_entities`)."""
    return Entity(
        label=run[0].label.split("-", 1)[-1],
        score=np.nanmean([entity.score for entity in run]),
        word=vocabulary.join([entity.word for entity in run]),
        start=run[0].start,
        end=run[-1].end,
        group=True,
    )


def without_overlaps(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the records of several windows with one of each overlap: the longer, then the surer.

    Source: `TokenClassificationPipeline.aggregate_overlapping_entities`.

    Example:
        >>> new = {"entity_group": "LOC", "score": 0.9, "word": "new", "start": 0, "end": 3}
        >>> new_york = {"entity_group": "LOC", "score": 0.8, "word": "new york", "start": 0, "end": 8}
        >>> [record["word"] for record in without_overlaps([new, new_york])]
        ['new york']
    """
    kept: list[dict[str, Any]] = []
    for record in sorted(records, key=lambda record: int(record["start"])):
        if not kept or not kept[-1]["start"] <= record["start"] < kept[-1]["end"]:
            kept.append(record)
        elif _weight(record) > _weight(kept[-1]):
            kept[-1] = record
    return kept


def _weight(record: dict[str, Any]) -> tuple[int, float]:
    return record["end"] - record["start"], record["score"]

"""A case: what is opened, what is asked of it, and what has to come back. The JSON of a case is in `documents`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Choices: TypeAlias = str | list[str | None] | None
"""An adapter's name or None, the base, for all rows; or a list with one for each row."""
Step: TypeAlias = Literal["open", "add", "run"]
ErrorName: TypeAlias = Literal["AdapterError", "BundleError", "InputError", "UnsupportedError"]


@dataclass(frozen=True, slots=True)
class Added:
    """An adapter's folder outside of the bundle, relative to `cases.json`, and the name that it is added under."""

    folder: str
    name: str


@dataclass(frozen=True, slots=True)
class Question:
    """What a loader is asked.

    Attributes:
        name: Of the case; no other has it.
        bundle: Its folder, relative to `cases.json`.
        inputs: What the model is run with.
        adapter: Which adapter, or which for each row.
        add: Adapters to add after the bundle is open.
        remove: Adapters to remove after that.
    """

    name: str
    bundle: str
    inputs: Mapping[str, Array] = field(default_factory=dict)
    adapter: Choices = None
    add: tuple[Added, ...] = ()
    remove: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a run gives.

    Attributes:
        outputs: By name one array, `(batch, ...)`, or, where rows have different label counts, one for each row.
        labels: The names of the labels; None where rows have adapters of their own, or there are no names.
        adapters: The names of all adapters but `none`, sorted by their bytes.
    """

    outputs: Mapping[str, Array | list[Array]]
    labels: tuple[str, ...] | None
    adapters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a loader refuses, and how.

    Attributes:
        step: Where the loader that reads adapters as late as it can refuses it; others may do so earlier.
        error: The error's class, by its name in `edgeadapt.errors`.
        message: What the Python loader says; no part of the case.
    """

    step: Step
    error: ErrorName
    message: str = field(default="", compare=False)


Outcome: TypeAlias = Answer | Refusal


@dataclass(frozen=True, slots=True)
class Case:
    """A question and what has to come of it."""

    question: Question
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class TokenCase:
    """What a tokenizer makes of a text, or of a pair of texts.

    Attributes:
        tokenizer: Its `tokenizer.json`, relative to `cases.json`.
        text: The text, or the first of a pair.
        pair: The second of a pair.
        max_length: Tokens are cut to so many, special ones included, the longer half first; 0 leaves all.
        ids: The tokens, special ones included.
        type_ids: 0 for what belongs to the first text, 1 for the second, as the tokenizer has it.
    """

    tokenizer: str
    text: str
    pair: str | None
    max_length: int
    ids: tuple[int, ...]
    type_ids: tuple[int, ...]

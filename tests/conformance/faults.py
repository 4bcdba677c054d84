"""One thing that is wrong with a bundle, and the means to make it so."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from edgeadapt import bundle as bundles
from tests.conformance.cases import Added, Array, Choices, ErrorName, Step

Document: TypeAlias = dict[str, Any]

MANIFEST = "edgeadapt.json"
SPAM = "adapters/spam"
"""The adapter that is broken where one is; runs ask for it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a copy of a good bundle.

    Attributes:
        name: What it is.
        says: A part of the message of the Python loader, so that nothing is refused for another reason; a pattern.
        change: Breaks the bundle whose folder it is given; None where it is whole, and what is asked is wrong.
        error: The class of the error.
        step: Where it shows.
        bundle: The good bundle.
        adapter: What a run asks for.
        add: What is added.
        remove: What is removed after that.
        inputs: What a run is given; None is a good batch.
    """

    name: str
    says: str
    change: Callable[[Path], object] | None
    error: ErrorName = "BundleError"
    step: Step = "open"
    bundle: str = "tiny"
    adapter: Choices = "spam"
    add: tuple[Added, ...] = ()
    remove: tuple[str, ...] = ()
    inputs: Mapping[str, Array] | None = None


def edit(path: Path, change: Callable[[Document], object]) -> None:
    """Changes what a JSON file says, and leaves it JSON."""
    document = json.loads(path.read_text("utf-8"))
    change(document)
    path.write_text(json.dumps(document, ensure_ascii=False, indent=1), "utf-8")


def replace(path: Path, old: str, new: str) -> None:
    """Changes the text of a file.

    Raises:
        ValueError: It doesn't hold `old` once.
    """
    text = path.read_text("utf-8")
    if text.count(old) != 1:
        raise ValueError(f"{path} holds {old!r} {text.count(old)} times, expected once.")
    path.write_text(text.replace(old, new), "utf-8", newline="")


def relist(document: Path, names: Iterable[str]) -> None:
    """Writes sizes and sha256 of files into the list of a document beside them, which then tells the truth again."""
    found = bundles.record_files(document.parent, names)
    edit(
        document,
        lambda told: told["files"].update(
            {name: {"bytes": each.bytes, "sha256": each.sha256} for name, each in found.items()}
        ),
    )

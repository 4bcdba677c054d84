"""What is asked of bundles that load: the base, each adapter, mixed rows, batches of one, adapters that come and go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeadapt import bundle as bundles
from edgeadapt.bundle import Manifest
from tests.conformance.bundles import EXTRA
from tests.conformance.cases import Added, Array, Question
from tests.runtime import tiny_bundle

ROWS, COLUMNS, SHORT, CROWD = 4, 24, 5, 9
"""Rows and tokens of a batch; tokens of a shorter one; rows of one with more rows than there are adapters."""

OUTSIDE: Mapping[str, Sequence[str]] = {
    "classifiers": ["topics"],
    "headed": ["late"],
    "tiny": ["firm", "brief", "nameless", "renames"],
    "tiny-passes": ["firm", "brief"],
    "strewn": ["firm"],
}
"""The folders in `extra/` that fit a bundle."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that loads, as its cases see it.

    Attributes:
        name: Its folder in `bundles/`.
        adapters: The names of its adapters, without the base.
        base: Whether the base answers alone.
        inputs: A batch for its model.
        sequence: The names of the inputs whose second axis is that of tokens.
    """

    name: str
    adapters: tuple[str, ...]
    base: bool
    inputs: Mapping[str, Array]
    sequence: frozenset[str]

    @property
    def rows(self) -> tuple[str | None, ...]:
        """All that a row can be: each adapter, and the base where it answers alone."""
        return (*self.adapters, None) if self.base else self.adapters

    def batch(self, count: int = ROWS, columns: int | None = None) -> dict[str, Array]:
        """Returns a batch of so many rows, cut to so many tokens where it has any."""
        chosen = {name: np.resize(array, (count, *array.shape[1:])) for name, array in self.inputs.items()}
        return {
            name: np.ascontiguousarray(array[:, :columns] if name in self.sequence else array)
            for name, array in chosen.items()
        }


def opened(root: Path, name: str) -> Bundle:
    """Returns a bundle in `bundles/`, with a batch of its parity case: real texts, or pictures."""
    folder = root / "bundles" / name
    manifest = bundles.read_manifest(folder)
    adapters = tuple(each for each in bundles.adapter_names(folder) if each != bundles.NONE)
    base = all(slot.neutral is not None for slot in manifest.slots)
    return Bundle(name, adapters, base, _batch(folder, manifest), _sequences(manifest))


def _batch(folder: Path, manifest: Manifest) -> dict[str, Array]:
    if manifest.model_type == "tiny":
        return tiny_bundle.inputs(batch=ROWS)
    with np.load(folder / "adapters" / "none" / "parity.npz", allow_pickle=False) as case:
        inputs = {name: case[f"input/{name}"][:ROWS] for name in (tensor.name for tensor in manifest.inputs)}
    return {name: array[:, :COLUMNS] if name in _sequences(manifest) else array for name, array in inputs.items()}


def _sequences(manifest: Manifest) -> frozenset[str]:
    return frozenset(tensor.name for tensor in manifest.inputs if tensor.shape[1] == "sequence")


def questions(bundle: Bundle) -> Iterator[Question]:
    """Yields all questions for a bundle whose runs are independent of each other."""
    yield from _alone(bundle)
    yield from _mixed(bundle)
    yield from _changed(bundle)


def _alone(bundle: Bundle) -> Iterator[Question]:
    name, home = bundle.name, f"bundles/{bundle.name}"
    for row in bundle.rows:
        yield Question(f"{name}: {row or 'the base'}", home, bundle.batch(), row)
    first = bundle.rows[0]
    yield Question(f"{name}: a batch of one", home, bundle.batch(1), first)
    if bundle.sequence:
        yield Question(f"{name}: short rows", home, bundle.batch(2, SHORT), first)
        yield Question(f"{name}: one token", home, bundle.batch(1, 1), first)
    if bundle.base:
        yield Question(f"{name}: the base by its name", home, bundle.batch(), "none")
        yield Question(f"{name}: the base, a batch of one", home, bundle.batch(1), None)


def _mixed(bundle: Bundle) -> Iterator[Question]:
    name, home, rows = bundle.name, f"bundles/{bundle.name}", bundle.rows
    every = [rows[index % len(rows)] for index in range(max(CROWD, len(rows)))]
    yield Question(f"{name}: every row another", home, bundle.batch(len(every)), every)
    for start in range(0, len(rows), ROWS):
        chosen = [rows[(start + index) % len(rows)] for index in range(ROWS)]
        yield Question(f"{name}: mixed from {start}", home, bundle.batch(), chosen)
        yield Question(f"{name}: mixed from {start}, reversed", home, bundle.batch(), chosen[::-1])
    for row in rows:
        others = [each for each in rows if each != row]
        pair = [row, others[len(others) // 2]]
        yield Question(f"{name}: {row or 'the base'} beside another", home, bundle.batch(2), pair)
    first, last = rows[0], rows[-1]
    yield Question(f"{name}: a list with one", home, bundle.batch(1), [last])
    yield Question(f"{name}: a list of the same", home, bundle.batch(), [first] * ROWS)
    yield Question(f"{name}: all but one the same", home, bundle.batch(), [first, first, last, first])
    if bundle.base:
        yield Question(f"{name}: the base twice by its names", home, bundle.batch(3), [None, first, "none"])


def _changed(bundle: Bundle) -> Iterator[Question]:
    name, home, gone = bundle.name, f"bundles/{bundle.name}", bundle.adapters[0]
    left = [row for row in bundle.rows if row != gone]
    yield Question(f"{name}: one removed", home, bundle.batch(), left[0], remove=(gone,))
    chosen = [left[index % len(left)] for index in range(ROWS)]
    yield Question(f"{name}: one removed, mixed", home, bundle.batch(), chosen, remove=(gone,))
    if bundle.base:
        yield Question(f"{name}: all removed", home, bundle.batch(), None, remove=bundle.adapters)
    for folder in OUTSIDE.get(name, []):
        new = Added(f"{EXTRA}/{folder}", f"added-{folder}")
        yield Question(f"{name}: {folder} added", home, bundle.batch(), new.name, (new,))
        beside: list[str | None] = [new.name, gone, left[0], new.name]
        yield Question(f"{name}: {folder} added, mixed", home, bundle.batch(), beside, (new,))
        again = Added(new.folder, f"{folder}.2")
        both: list[str | None] = [again.name, left[0], left[-1], again.name]
        yield Question(f"{name}: {folder} twice", home, bundle.batch(), both, (new, again), (new.name, gone))

"""Whether two bundles answer alike: one is made of the other, and its model was changed on the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeadapt import bundle, parity
from edgeadapt.adapter import Array
from edgeadapt.bundle import NONE, PARITY
from edgeadapt.errors import BundleError, UnsupportedError
from edgeadapt.parity import ParityReport, Tolerance
from edgeadapt.runtime import Session, load
from edgeadapt.runtime.verify import padding, read_parity

MIXED = "mixed rows"

TOLERANCE = Tolerance(max_abs=1e-5, of_largest=1e-5)
"""A float32's 24 bits, and sums of some hundred numbers in another order; most models give the same bits."""


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked of both.

    Attributes:
        name: An adapter, the base, or all of them in one batch.
        inputs: Those of a parity case.
        choices: Who answers; None is the base.
        probe: Arrays for slots that the base can't fill.
    """

    name: str
    inputs: Mapping[str, Array]
    choices: str | Sequence[str | None] | None
    probe: Mapping[str, Array]


def check(folder: Path, names: Sequence[str]) -> None:
    """Refuses a bundle without a parity case, and so without inputs to ask with.

    Raises:
        BundleError: Neither the base nor one of these adapters has any.
    """
    if not any(PARITY in bundle.read_adapter(folder / bundle.ADAPTERS / name).files for name in names):
        raise _unproven(folder)


def reports(before: Path, after: Path, names: Sequence[str]) -> tuple[ParityReport, ...]:
    """Runs both bundles on the inputs of parity cases and returns how far their answers are apart.

    Each adapter and the base on its own case's inputs, or on another's where it has none, and as many of them in one
    batch as that has rows. What PyTorch gave has no part in it.

    Args:
        before: A bundle with a parity case.
        after: What was made of it.
        names: The adapters of `after`, `none` among them.

    Raises:
        BundleError: One can't be loaded, or nothing can be asked: a base alone that can't be run.
        ParityError: Outputs have other names, shapes or dtypes.
    """
    session = load(before, verify="adapters")
    asked = list(_questions(session, names))
    if not asked:
        raise _unproven(before)
    expected = _answers(session, asked)
    del session  # two bases would be in memory
    session = load(after, verify="adapters")
    got = _answers(session, asked)
    classes = session.manifest.task != "feature-extraction"
    return tuple(
        parity.compare(
            question.name,
            got[question.name],
            wanted,
            None,
            TOLERANCE,
            padding(question.inputs, session.manifest),
            classes=classes,
        )
        for question in asked
        if (wanted := expected.get(question.name)) is not None
    )


def _unproven(folder: Path) -> BundleError:
    return BundleError(
        f"{folder} holds no {PARITY} to prove by that these adapters, or the base, answer as before.\n"
        "Take the bundle that export wrote, and convert the model before these files are left out."
    )


def _questions(session: Session, names: Sequence[str]) -> Iterator[_Question]:
    cases = {}
    for name in names:
        adapter = session.adapter(name)
        if PARITY in adapter.record.files:
            cases[name] = read_parity(adapter.folder, adapter.record)
    any_case = cases.get(NONE) or next(iter(cases.values()))
    alone = all(slot.neutral is not None for slot in session.manifest.slots)
    for name in names:
        case = cases.get(name, any_case)
        if name != NONE:
            yield _Question(name, case["input"], name, {})
        elif alone or case["probe"]:
            yield _Question(name, case["input"], None, case["probe"])
    every = [None if name == NONE else name for name in names if alone or name != NONE]
    if len(every) > 1:
        count = len(next(iter(any_case["input"].values())))
        rows = [every[index % len(every)] for index in range(count)]
        yield _Question(MIXED, any_case["input"], rows, {})


def _answers(session: Session, questions: Sequence[_Question]) -> dict[str, dict[str, Array]]:
    """Returns what a session gives for each question; of rows with other numbers of labels, each row by itself."""
    found = {}
    for question in questions:
        try:
            outputs = (
                session.run_slots(question.inputs, question.probe)
                if question.choices is None
                else session.replay(question.inputs, question.choices)
            )
        except UnsupportedError:
            if question.name != MIXED:
                raise
            continue  # these adapters share no batch, in no bundle
        flat: dict[str, Array] = {}
        for name, arrays in outputs.items():
            flat |= {name: arrays} if isinstance(arrays, np.ndarray) else _each(name, arrays)
        found[question.name] = flat
    return found


def _each(name: str, arrays: Sequence[Array]) -> dict[str, Array]:
    return {f"{name}, row {index}": array for index, array in enumerate(arrays)}

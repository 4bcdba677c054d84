"""What the outputs of a run mean: the labels, and what the head was trained to answer, of the adapters it had."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeadapt.bundle import AdapterRecord, Manifest, ProblemType
    from edgeadapt.runtime.choice import Row


def labels(row: Row, manifest: Manifest) -> tuple[str, ...]:
    """Returns the names of the labels that a row is answered with, in order; none for a task without."""
    for record, has_head in _records(row, manifest):
        # Without a head, labels of an adapter are its names for the base's.
        if record.labels is not None or has_head:
            return record.labels or ()
    return manifest.labels or ()


def problem_type(row: Row, manifest: Manifest) -> ProblemType | None:
    """Returns what the head that answers a row was trained to answer; None where nobody said."""
    for record, has_head in _records(row, manifest):
        if record.problem_type is not None or has_head:
            return record.problem_type
    return manifest.problem_type


def _records(row: Row, manifest: Manifest) -> list[tuple[AdapterRecord, bool]]:
    """Returns the record of each adapter of a row, and whether it has a head of its own; that one comes first.

    A slot that is filled with a number for adapters without it adds to a head (a LoRA, a bias), and is none.
    """
    head = {slot.name for slot in manifest.slots if "labels" in slot.shape and slot.neutral in ("stored", None)}
    # At most one part of a blend has a head.
    parts = [(part.record, bool(part.brings & head)) for part, _ in row]
    return sorted(parts, key=lambda entry: not entry[1])

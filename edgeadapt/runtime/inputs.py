"""Checks the inputs of a run against the manifest, so that an error names the input and not a node of the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeadapt.errors import InputError, nearest

if TYPE_CHECKING:
    from edgeadapt.bundle import TensorRecord
    from edgeadapt.runtime.filling import Array


def check_inputs(inputs: Mapping[str, Array], records: Sequence[TensorRecord]) -> int | None:
    """Returns the batch size: the length of the axes named `batch`, or None where there is none.

    Raises:
        InputError: One line for each input that is missing, spare, no array, or of another dtype or shape, and for each
            named dimension in which inputs disagree.
    """
    if not isinstance(inputs, Mapping):
        raise InputError(f"The inputs of a run are arrays by name: got {type(inputs).__name__}, expected a mapping.")
    problems: list[str] = []
    lengths: dict[str, tuple[int, str]] = {}
    for record in records:
        if record.name not in inputs:
            problems.append(f"{record.name}: missing, expected {record.dtype} {shown(record.shape)}")
        elif problem := _problem(inputs[record.name], record):
            problems.append(f"{record.name}: {problem}")
        else:
            for symbol, length in zip(record.shape, inputs[record.name].shape, strict=True):
                if isinstance(symbol, str):
                    known, name = lengths.setdefault(symbol, (length, record.name))
                    if known != length:
                        problems.append(f"{symbol}: {known} in {name}, {length} in {record.name}")
    if len(inputs) > len(records) or problems:
        names = [record.name for record in records]
        problems += [
            f"{name}: no input of this model{nearest(str(name), names)}" for name in inputs if name not in names
        ]
    if problems:
        raise InputError.collect("The inputs don't fit the model:", problems)
    return lengths["batch"][0] if "batch" in lengths else None


def _problem(array: Any, record: TensorRecord) -> str:
    """Returns what is wrong with one input, or nothing."""
    if not isinstance(array, np.ndarray):
        return f"got {type(array).__name__}, expected a numpy array of {record.dtype} {shown(record.shape)}"
    if array.dtype != record.dtype:
        return f"got {array.dtype}, expected {record.dtype}; convert it with .astype(np.{record.dtype})"
    if not fits(array.shape, record.shape):
        return f"got {array.shape}, expected {shown(record.shape)}"
    return ""


def fits(shape: Sequence[int], expected: Sequence[int | str]) -> bool:
    """Tells whether `shape` has the numbers of `expected`, whatever stands for its names.

    Example:
        >>> fits((2, 7, 384), ("batch", "sequence", 384)), fits((2, 7), ("batch", "sequence", 384))
        (True, False)
    """
    return len(shape) == len(expected) and all(
        isinstance(symbol, str) or length == symbol for length, symbol in zip(shape, expected, strict=True)
    )


def shown(shape: Sequence[int | str]) -> str:
    """Returns a shape as a message shows it.

    Example:
        >>> shown(("rows", 384, "rank")), shown(("batch",))
        ('(rows, 384, rank)', '(batch,)')
    """
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"

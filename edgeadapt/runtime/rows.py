"""Mixed batches: arrays of several rows stacked into one, rows parted into passes, outputs put together again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgeadapt.errors import UnsupportedError
from edgeadapt.runtime.fit import Symbol, symbol_of
from edgeadapt.runtime.layout import layout, side_by_side

if TYPE_CHECKING:
    from edgeadapt.bundle import Slot, TensorRecord
    from edgeadapt.runtime.filling import Array, Filling
    from edgeadapt.runtime.layout import Allocate


def stacked(
    rows: Sequence[Mapping[str, Array]], slots: Sequence[Slot], allocate: Allocate = side_by_side
) -> dict[str, Array]:
    """Returns the rows' arrays of each slot, `(1, ...)`, as one `(rows, ...)`, or `(1, ...)` where all have the same.

    Ranks and label counts are padded with zeros to the largest: a zero rank adds 0, a zero label is cut off again.

    Args:
        rows: The arrays of each row, by slot.
        slots: The manifest's.
        allocate: Gives the memory for the stacks.
    """
    columns = {slot.name: [row[slot.name] for row in rows] for slot in slots}
    # Mostly one, as adapters of one training recipe have the same.
    shapes = {name: {array.shape for array in arrays} for name, arrays in columns.items()}
    lengths: dict[Symbol, int] = {}
    for slot in slots:
        for axis, dimension in enumerate(slot.shape[1:], start=1):
            if isinstance(dimension, str):
                symbol = symbol_of(slot, dimension)
                lengths[symbol] = max(lengths.get(symbol, 1), *(shape[axis] for shape in shapes[slot.name]))
    stacks: dict[str, Array] = {}
    wanted = {}
    for slot in slots:
        arrays = columns[slot.name]
        shape = tuple(lengths[symbol_of(slot, size)] if isinstance(size, str) else size for size in slot.shape[1:])
        first = arrays[0]
        if any(array is not first for array in arrays):
            wanted[slot.name] = (len(arrays), *shape), first.dtype
        elif first.shape[1:] == shape:
            stacks[slot.name] = first
        else:
            wanted[slot.name] = (1, *shape), first.dtype
    for name, stack in allocate(layout(wanted)).items():
        if shapes[name] == {(1, *stack.shape[1:])}:
            np.concatenate(columns[name], out=stack)
        else:
            _fill(stack, columns[name])
        stacks[name] = stack
    return {slot.name: stacks[slot.name] for slot in slots}


def _fill(stack: Array, arrays: Sequence[Array]) -> None:
    """Copies one array into each row, `(1, ...)` each, with zeros where a row is longer than its array."""
    stack[...] = 0
    for row, array in enumerate(arrays[: len(stack)]):
        region: tuple[int | slice, ...] = (row, *map(slice, array.shape[1:]))
        stack[region] = array[0]


def passes(rows: Sequence[Filling], slots: Sequence[Slot]) -> list[list[int]]:
    """Returns which rows can share a run: those with the same arrays in all slots that take one for the whole batch."""
    whole = [slot.name for slot in slots if slot.shape[0] == 1]
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault(tuple(id(row.arrays[name]) for name in whole), []).append(index)
    return list(groups.values())


def taken(inputs: Mapping[str, Array], members: Sequence[int], records: Sequence[TensorRecord]) -> dict[str, Array]:
    """Returns the inputs of the rows `members`, padded as they were; what has no batch axis stays whole."""
    return {
        record.name: np.take(inputs[record.name], members, axis=record.shape.index("batch"))
        if "batch" in record.shape
        else inputs[record.name]
        for record in records
    }


def together(
    parts: Sequence[Mapping[str, Array]],
    groups: Sequence[Sequence[int]],
    counts: Sequence[int | None],
    records: Sequence[TensorRecord],
) -> dict[str, Array | list[Array]]:
    """Returns the outputs of all passes as those of one, each row cut to its own labels.

    Args:
        parts: The outputs of each pass.
        groups: The rows of each pass.
        counts: The label count of each row.
        records: The manifest's outputs.

    Returns:
        One array, or, where rows have different label counts, a list with an array for each row and no batch axis.

    Raises:
        UnsupportedError: Rows have to be told apart in an output without a batch axis.
    """
    outputs: dict[str, Array | list[Array]] = {}
    for record in records:
        labelled = record.shape[-1:] == ("labels",)
        if len(parts) == 1 and not (labelled and len(set(counts)) > 1):
            outputs[record.name] = parts[0][record.name]
            continue
        if "batch" not in record.shape:
            raise UnsupportedError(
                f"These rows need a run for each adapter, and output {record.name} has no batch axis to join them on.\n"
                "Run the adapters one by one."
            )
        axis = record.shape.index("batch")
        rows: dict[int, Array] = {}
        for part, members in zip(parts, groups, strict=True):
            for position, row in enumerate(members):
                array = part[record.name].take(position, axis=axis)
                rows[row] = array[..., : counts[row]] if labelled else array
        ordered = [rows[row] for row in sorted(rows)]
        outputs[record.name] = np.stack(ordered, axis=axis) if len({row.shape for row in ordered}) == 1 else ordered
    return outputs

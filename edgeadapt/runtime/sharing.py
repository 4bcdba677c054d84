"""How rows of several requests share a run: which may, how their inputs become one batch, how outputs are parted again.

Rows of different lengths share one only where padding can't be seen by what is not padding: on the right, under a mask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from edgeadapt.errors import UnsupportedError, listed

if TYPE_CHECKING:
    from edgeadapt.bundle import Manifest
    from edgeadapt.runtime.filling import Array

Group: TypeAlias = int | tuple[tuple[int, ...], ...]
"""What is equal for rows that may share a run: the most tokens that they have, or else the shapes of their inputs."""

MASK = "attention_mask"
SHORT = 16
"""Rows of up to so many tokens are one group."""


class Sharing:
    """What a bundle's manifest says about rows that share a run. Threads share it."""

    def __init__(self, manifest: Manifest) -> None:
        """Takes the manifest.

        Raises:
            UnsupportedError: An input or output has no batch axis, so there is nothing to join or to part.
        """
        records = (*manifest.inputs, *manifest.outputs)
        if whole := [record.name for record in records if "batch" not in record.shape]:
            raise UnsupportedError(
                f"{listed(whole)}: has no axis 'batch', so requests can't share a run.\nCall session.run(...) for each."
            )
        self._axes = {record.name: record.shape.index("batch") for record in records}
        self._inputs = [record.name for record in manifest.inputs]
        self._fills = _fills(manifest)
        symbol = _length_symbol(manifest) if self._fills else None
        # Of each output, the axis that has a row's length; None where there is none.
        self._long = {
            record.name: record.shape.index(symbol) if symbol in record.shape else None for record in manifest.outputs
        }

    @property
    def pads(self) -> bool:
        """Whether rows of different lengths can share a run."""
        return bool(self._fills)

    def group(self, inputs: Mapping[str, Array]) -> Group:
        """Returns what is equal for rows that may share a run with this one, `(1, ...)`.

        Groups of lengths end at 16, then four times in each octave: 20, 24, 28, 32, 40, 48 and so on. So less than a
        fifth of a row is padding, or at most 15 tokens where it is short. A row that hides tokens of its own shares
        with its equals alone: how a model treats what is hidden may depend on how much there is.
        """
        if self._fills and inputs[MASK].size and inputs[MASK].all():
            length = int(inputs[MASK].shape[1])
            step = 1 << ((length - 1).bit_length() - 3) if length > SHORT else SHORT
            return -(-length // step) * step
        return tuple(inputs[name].shape for name in self._inputs)

    def length(self, inputs: Mapping[str, Array]) -> int:
        """Returns a row's tokens; 0 where rows aren't padded."""
        return int(inputs[MASK].shape[1]) if self._fills else 0

    def joined(self, rows: Sequence[Mapping[str, Array]]) -> Mapping[str, Array]:
        """Returns rows of one group, `(1, ...)` each, as a batch `(rows, ...)`, padded on the right to the longest."""
        if len(rows) == 1:
            return rows[0]
        longest = max(map(self.length, rows))
        if all(self.length(row) == longest for row in rows):
            return {name: np.concatenate([row[name] for row in rows], self._axes[name]) for name in self._inputs}
        batch = {}
        for name, fill in self._fills.items():
            batch[name] = np.full((len(rows), longest), fill, rows[0][name].dtype)
            for index, row in enumerate(rows):
                batch[name][index, : row[name].shape[1]] = row[name][0]
        return batch

    def parted(
        self, outputs: Mapping[str, Array | Sequence[Array]], rows: Sequence[Mapping[str, Array]]
    ) -> list[dict[str, Array]]:
        """Returns the outputs of each row, `(1, ...)`, of its own length; they share no memory.

        Args:
            outputs: Arrays by name, `(rows, ...)`, or lists with an array for each row, without the batch axis.
            rows: The inputs of each row.
        """
        longest = max(map(self.length, rows))
        parts: list[dict[str, Array]] = [{} for _ in rows]
        for name, array in outputs.items():
            axis, long = self._axes[name], self._long[name]
            for index, (row, part) in enumerate(zip(rows, parts, strict=True)):
                if isinstance(array, np.ndarray):
                    own = array[(slice(None),) * axis + (slice(index, index + 1),)]
                else:
                    own = np.expand_dims(array[index], axis)
                if long is not None and self.length(row) < longest:
                    own = own[(slice(None),) * long + (slice(self.length(row)),)]
                part[name] = own.copy()
        return parts


def looks_at_padding(manifest: Manifest) -> bool:
    """Tells whether a row's answer may depend on its padding, whatever its mask says.

    `gated` methods take means over the sequence, padding included; what a `module-...` of one's own does is not known.
    """
    return any("gated" in slot.method or slot.method.startswith("module-") for slot in manifest.slots)


def _length_symbol(manifest: Manifest) -> int | str | None:
    """Returns the name of the axis that the mask hides parts of, or None where there is no mask."""
    return next((record.shape[-1] for record in manifest.inputs if record.name == MASK), None)


def _fills(manifest: Manifest) -> dict[str, int]:
    """Returns what each input is padded with; nothing where rows can't be padded.

    They can't where the bundle doesn't say with what or pads on the left, where an input is none of a tokenizer's or
    an output has a length that is not the rows', or where an adapter may look at padding.
    """
    record, symbol = manifest.tokenizer, _length_symbol(manifest)
    if record is None or record.padding_side != "right" or not isinstance(symbol, str):
        return {}
    if looks_at_padding(manifest):
        return {}
    known = {"input_ids": record.pad_id, MASK: 0, "token_type_ids": record.pad_type_id}
    if any(each.name not in known or each.shape != ("batch", symbol) for each in manifest.inputs):
        return {}
    free = {size for each in manifest.outputs for size in each.shape if isinstance(size, str)}
    return {} if free - {"batch", "labels", symbol} else {each.name: known[each.name] for each in manifest.inputs}

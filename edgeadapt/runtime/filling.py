"""What a run feeds into the slots: one array for each, on the host and on the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnxruntime import OrtValue

    from edgeadapt.bundle import Slot
    from edgeadapt.runtime.provider import Device

    Array: TypeAlias = NDArray[Any]


class Filling:
    """One array for every slot, by the slot's name; on the device from the first run on that binds it.

    Attributes:
        arrays: On the host, `(rows, ...)`; stacks and blends are made of these.
    """

    __slots__ = ("_below", "_device", "_values", "arrays")

    def __init__(self, arrays: Mapping[str, Array], device: Device, below: Filling | None = None) -> None:
        """Takes arrays for some slots; `below` fills the others, and what it gives is shared, not copied."""
        self.arrays: Mapping[str, Array] = arrays if below is None else {**below.arrays, **arrays}
        self._device = device
        self._below = below
        self._values: Mapping[str, OrtValue] | None = None

    @property
    def values(self) -> Mapping[str, OrtValue]:
        """The arrays on the device; a run binds these. Two threads may both make them, and get equal ones."""
        if self._values is None:
            below = self._below
            self._values = {
                name: below.values[name]
                if below is not None and below.arrays.get(name) is array
                else self._device.value(array)
                for name, array in self.arrays.items()
            }
        return self._values

    def replaced(self, arrays: Mapping[str, Array]) -> Filling:
        """Returns this filling with `arrays` in place of its own; what stays is shared, not copied."""
        return Filling(arrays, self._device, self)

    def size(self) -> int:
        """Returns the bytes of its own arrays, on the host and, where that is another place, on the device."""
        shared = {} if self._below is None else self._below.arrays
        own = sum(array.nbytes for name, array in self.arrays.items() if shared.get(name) is not array)
        return own if self._device.kind == "cpu" else 2 * own


def label_count(arrays: Mapping[str, Array], slots: Sequence[Slot]) -> int | None:
    """Returns how many labels the head in these arrays has, or None where no slot has a label axis.

    An array of another number of dimensions than its slot is none; that it doesn't fit is for others to say.
    """
    for slot in slots:
        if "labels" in slot.shape and slot.name in arrays and arrays[slot.name].ndim == len(slot.shape):
            return int(arrays[slot.name].shape[slot.shape.index("labels")])
    return None


def stretched(arrays: Mapping[str, Array], slots: Sequence[Slot]) -> dict[str, Array]:
    """Returns the neutrals that a head in `arrays` needs in another length than the base's, for the slots it leaves.

    Another adapter may have a LoRA on the base's own head: where a head of five labels replaces that one, the neutral
    of the LoRA has five too.
    """
    count = label_count(arrays, slots)
    found: dict[str, Array] = {}
    for slot in slots:
        if count is None or "labels" not in slot.shape or slot.name in arrays:
            continue
        if slot.neutral is not None and slot.neutral != "stored":
            shape = [
                count if size == "labels" else length
                for size, length in zip(slot.shape, slot.neutral.shape, strict=True)
            ]
            found[slot.name] = np.full(shape, slot.neutral.fill, slot.dtype)
    return found

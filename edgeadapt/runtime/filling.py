"""What a run feeds into the slots: one array for each, on the host and on the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from edgeadapt.runtime.layout import Block

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnxruntime import OrtValue

    from edgeadapt.bundle import Slot
    from edgeadapt.runtime.provider import Device

    Array: TypeAlias = NDArray[Any]


class Filling:
    """One array for every slot, by the slot's name; on the device from the first run on that binds it.

    Attributes:
        own: The arrays that it fills slots with itself.
        below: What fills the others; None where there are none.
    """

    __slots__ = ("_arrays", "_device", "_values", "below", "own")

    def __init__(self, arrays: Mapping[str, Array], device: Device, below: Filling | None = None) -> None:
        """Takes arrays for some slots; `below` fills the others, and what it gives is shared, not copied."""
        self.own = arrays
        self.below = below
        self._device = device
        self._arrays: Mapping[str, Array] | None = None
        self._values: Mapping[str, OrtValue] | None = None

    @property
    def arrays(self) -> Mapping[str, Array]:
        """On the host, `(rows, ...)`; stacks and blends are made of these. The same ones each time."""
        if self._arrays is None:
            self._arrays = self.own if self.below is None else {**self.below.arrays, **dict(self.own.items())}
        return self._arrays

    def labels(self, slots: Sequence[Slot]) -> int | None:
        """Returns how many labels its head has, or None where no slot has a label axis."""
        own = label_count(self.own, slots)
        return self.below.labels(slots) if own is None and self.below is not None else own

    @property
    def values(self) -> Mapping[str, OrtValue]:
        """The arrays on the device; a run binds these. Two threads may both make them, and get equal ones."""
        if self._values is None:
            below = self.below
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
        if isinstance(self.own, Block):
            size = self.own.layout.nbytes
        else:
            shared = {} if self.below is None else self.below.arrays
            size = sum(array.nbytes for name, array in self.own.items() if shared.get(name) is not array)
        return size if self._device.kind == "cpu" else 2 * size


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

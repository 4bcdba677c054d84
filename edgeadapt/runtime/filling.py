"""What a run feeds into the slots: one array for each, on the host and on the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnxruntime import OrtValue

    from edgeadapt.bundle import Slot
    from edgeadapt.runtime.provider import Device

    Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Filling:
    """One array for every slot, by the slot's name.

    Attributes:
        arrays: On the host, `(rows, ...)`; stacks and blends are made of these.
        values: The same on the device; a run binds these.
    """

    arrays: Mapping[str, Array]
    values: Mapping[str, OrtValue]

    def replaced(self, arrays: Mapping[str, Array], device: Device) -> Filling:
        """Returns this filling with `arrays` in place of its own; what stays is shared, not copied."""
        values = {name: device.value(array) for name, array in arrays.items()}
        return Filling({**self.arrays, **arrays}, {**self.values, **values})

    def size(self) -> int:
        """Returns the bytes of all arrays, those included that it shares with others."""
        return sum(array.nbytes for array in self.arrays.values())


EMPTY = Filling({}, {})


def label_count(arrays: Mapping[str, Array], slots: Sequence[Slot]) -> int | None:
    """Returns how many labels the head in these arrays has, or None where no slot has a label axis."""
    for slot in slots:
        if "labels" in slot.shape and slot.name in arrays:
            return int(arrays[slot.name].shape[slot.shape.index("labels")])
    return None

"""What rows of a batch are fed: an adapter's arrays, a blend, or a stack of several rows' arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from edgeadapt.errors import UnsupportedError
from edgeadapt.runtime.blend import blended
from edgeadapt.runtime.filling import stretched
from edgeadapt.runtime.layout import stacked_alike
from edgeadapt.runtime.rows import passes, stacked

if TYPE_CHECKING:
    from edgeadapt.bundle import Slot
    from edgeadapt.runtime.choice import Row
    from edgeadapt.runtime.filling import Filling
    from edgeadapt.runtime.store import Lease


class Fillings:
    """Makes what one run is fed in the slots of a model, and keeps it for the next ones.

    Keys hold the adapters, not their names: one that was replaced is never taken for the new one of its name.
    """

    def __init__(self, slots: Sequence[Slot], lease: Lease) -> None:
        """Takes the model's slots, and the run's adapters."""
        self._slots = slots
        self._lease = lease

    def of(self, row: Row) -> Filling:
        """Returns what to feed for one row: an adapter's own, or a blend, kept from earlier or made now."""
        first, weight = row[0]
        if len(row) == 1 and weight == 1.0:
            return first.filling

        def make() -> Filling:
            arrays = blended(row, self._slots)
            # Over the first part's, whose other slots hold what all parts leave: neutrals.
            return first.filling.replaced({**stretched(arrays, self._slots), **arrays})

        return self._lease.made((row,), make)

    def stack(self, rows: tuple[Row, ...], fillings: Mapping[Row, Filling]) -> Filling:
        """Returns what to feed for rows that share a run, kept from earlier or made now."""
        first = fillings[rows[0]]
        if len(set(rows)) == 1:
            return first

        def make() -> Filling:
            own = [fillings[row] for row in rows]
            alike = stacked_alike([each.own for each in own], self._lease.allocate)
            if alike is not None and first.below is not None:  # the base, as for every adapter
                return first.below.replaced(alike)
            stacks = stacked([each.arrays for each in own], self._slots, self._lease.allocate)
            # What all rows share is on the device already.
            return first.replaced({name: array for name, array in stacks.items() if array is not first.arrays[name]})

        return self._lease.made(rows, make)

    def shared(self, rows: tuple[Row, ...]) -> Filling:
        """Returns what to feed for rows that share one run after another, such as those of a cache.

        Raises:
            UnsupportedError: They can't share a run.
        """
        if len(rows) == 1:
            return self.of(rows[0])
        fillings = {row: self.of(row) for row in dict.fromkeys(rows)}
        if len(passes([fillings[row] for row in rows], self._slots)) > 1:
            raise UnsupportedError(
                "The base calls some sites of these adapters without a batch axis, so their rows can't share a "
                "cache.\nGenerate with one adapter at a time."
            )
        return self.stack(rows, fillings)

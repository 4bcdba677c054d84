"""Keeps the stacks and blends that runs made last, since the next batches often want the same ones."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from edgeadapt.runtime.choice import Row
from edgeadapt.runtime.filling import Filling


class Stacks:
    """The least recently used go first once all together are over `limit` bytes.

    Keys hold the adapters, not their names: one that was replaced is never taken for the new one of its name.
    """

    def __init__(self, limit: int = 256 << 20) -> None:
        self._limit = limit
        self._size = 0
        self._kept: OrderedDict[tuple[Row, ...], Filling] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, rows: tuple[Row, ...], make: Callable[[], Filling]) -> Filling:
        """Returns what is kept for `rows`, or what `make` returns; two threads may both make it, and get equal ones."""
        with self._lock:
            if rows in self._kept:
                self._kept.move_to_end(rows)
                return self._kept[rows]
        made = make()
        with self._lock:
            if rows not in self._kept:
                self._kept[rows] = made
                self._size += made.size()
            while self._size > self._limit:
                _, dropped = self._kept.popitem(last=False)
                self._size -= dropped.size()
        return made

    def clear(self) -> None:
        """Forgets all; runs under way keep what they have."""
        with self._lock:
            self._kept.clear()
            self._size = 0

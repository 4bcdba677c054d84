"""What a session has done so far."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeadapt.runtime.memory import Memory


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts since a session was loaded, and what it holds now.

    Attributes:
        runs: Runs, generations and texts that were read.
        rows: Their rows.
        known: Adapters that can be chosen, without the base.
        loaded: How often an adapter was read from disk.
        evicted: How often one was dropped from memory to make room.
        hits: How often what a run wanted was in memory: an adapter, a stack or a blend.
        misses: How often it was not.
        bytes: What adapters, stacks and blends take now, without what they share with the base.
    """

    runs: int
    rows: int
    known: int
    loaded: int
    evicted: int
    hits: int
    misses: int
    bytes: int


class Ran:
    """Counts runs. Threads share it."""

    __slots__ = ("_lock", "_rows", "_runs")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs = 0
        self._rows = 0

    def count(self, rows: int) -> None:
        """Counts a run of so many rows."""
        with self._lock:
            self._runs += 1
            self._rows += rows

    def stats(self, known: int, memory: Memory) -> Stats:
        """Returns all counts."""
        counts = memory.counts
        return Stats(
            self._runs,
            self._rows,
            known,
            loaded=counts.read,
            evicted=counts.evicted,
            hits=counts.hits,
            misses=counts.misses,
            bytes=counts.bytes,
        )

"""What a session, and a batcher before it, have done so far."""

from __future__ import annotations

import threading
from collections.abc import Sequence
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


@dataclass(frozen=True, slots=True)
class BatcherStats:
    """Counts since a batcher was made, and what waits now.

    Attributes:
        batches: Runs that gave answers.
        rows: Their rows.
        mean_rows: Rows of a batch on average; 0.0 before the first one.
        padding: The part of all tokens that was padding, 0.0 to 1.0; 0.0 where rows aren't padded.
        waiting: Rows that wait now, those of callers that wait for room included.
        cancelled: Rows that were cancelled before they were run.
        failed: Rows whose run failed.
        refused: Requests that were refused at once: wrong inputs, unknown adapters, no room in time.
    """

    batches: int
    rows: int
    mean_rows: float
    padding: float
    waiting: int
    cancelled: int
    failed: int
    refused: int


class Batched:
    """Counts batches. Threads share it."""

    __slots__ = ("_batches", "_cancelled", "_failed", "_lock", "_padded", "_refused", "_rows", "_tokens")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._batches = self._rows = self._tokens = self._padded = 0
        self._cancelled = self._failed = self._refused = 0

    def count(self, lengths: Sequence[int]) -> None:
        """Counts a batch whose rows have so many tokens each."""
        padded = max(lengths) * len(lengths)
        with self._lock:
            self._batches += 1
            self._rows += len(lengths)
            self._padded += padded
            self._tokens += sum(lengths)

    def miss(self, *, cancelled: int = 0, failed: int = 0, refused: int = 0) -> None:
        """Counts rows that got no answer."""
        with self._lock:
            self._cancelled += cancelled
            self._failed += failed
            self._refused += refused

    def stats(self, waiting: int) -> BatcherStats:
        """Returns all counts."""
        with self._lock:
            return BatcherStats(
                self._batches,
                self._rows,
                mean_rows=self._rows / self._batches if self._batches else 0.0,
                padding=1 - self._tokens / self._padded if self._padded else 0.0,
                waiting=waiting,
                cancelled=self._cancelled,
                failed=self._failed,
                refused=self._refused,
            )

"""Memory for arrays that come and go with their adapters: of a budget it is one region, used again and again.

The system's allocator leaves gaps between pieces of several sizes, which add up to a third of what is asked for, and
what it gives back to the system has to be fetched again, 4 KB at a time.
"""

from __future__ import annotations

import mmap
import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from edgeadapt.runtime.filling import Array

Wanted: TypeAlias = Mapping[str, tuple[Sequence[int], np.dtype[Any]]]
"""Shapes and dtypes of arrays by name."""
Allocate: TypeAlias = "Callable[[Wanted], dict[str, Array]]"
"""Gives arrays that are not yet filled."""

Hole: TypeAlias = tuple[int, int]
"""Where it starts, and where it ends."""

_ALIGNED = 64
"""Bytes of a line of a processor's cache, and of its widest register: arrays lie a multiple of it apart."""


class Arena:
    """A region that arrays are placed in, wherever there is a hole. Threads share it."""

    def __init__(self, size: int) -> None:
        """Takes the region's bytes; the system gives a page of it when it is first written to."""
        self._memory = _region(size)
        self._used = 0
        # Where nothing is; never two that touch.
        self._holes = [(0, size)]
        self._left: deque[tuple[list[Hole], int]] = deque()
        self._lock = threading.Lock()

    def arrays(self, wanted: Wanted) -> dict[str, Array] | None:
        """Returns arrays that are not yet filled, or None where there is no room; theirs is free when all are gone."""
        with self._lock:
            self._tidy()
            found = self._take([_apart(*each) for each in wanted.values()])
            if found is None:
                return None
            size = bytes_of(wanted)
            self._used += size
        starts, taken = found
        # An array of its own for these: what numpy makes of it holds it, and nobody else does.
        owner = np.frombuffer(self._memory, np.uint8)
        weakref.finalize(owner, self._left.append, (taken, size)).atexit = False
        return _views(owner, wanted, starts)

    def used(self) -> int:
        """Returns the bytes of all arrays that are not gone."""
        with self._lock:
            self._tidy()
            return self._used

    def _tidy(self) -> None:
        # Left by finalisers, which come in the middle of anything and must not want the lock.
        while self._left:
            places, size = self._left.popleft()
            self._merge(places)
            self._used -= size

    def _take(self, sizes: Sequence[int]) -> tuple[list[int], list[Hole]] | None:
        """Returns where each starts, and what they take together: the smallest hole for all, or else the largest holes.

        So an adapter mostly lies in one piece, and leaves one when it goes.
        """
        total = sum(sizes)
        holes = sorted(self._holes, key=_length)
        whole = next((index for index, hole in enumerate(holes) if _length(hole) >= total), None)
        if whole is not None:
            holes.append(holes.pop(whole))
        rest: list[Hole] = []
        taken: list[Hole] = []
        starts: list[int] = []
        first = start = end = 0
        for size in sizes:
            while end - start < size:
                if not holes:
                    return None
                rest += [(start, end)] if end > start else []
                taken += [(first, start)] if start > first else []
                start, end = holes.pop()
                first = start
            starts.append(start)
            start += size
        taken += [(first, start)] if start > first else []
        self._holes = [*rest, *([(start, end)] if end > start else []), *holes]
        return starts, taken

    def _merge(self, places: Sequence[Hole]) -> None:
        merged: list[Hole] = []
        for start, end in sorted([*self._holes, *places]):
            if merged and merged[-1][1] == start:
                merged[-1] = merged[-1][0], end
            else:
                merged.append((start, end))
        self._holes = merged


def _length(hole: Hole) -> int:
    return hole[1] - hole[0]


def opened(size: int) -> Arena | None:
    """Returns a region of so many bytes, or None where the system doesn't give one."""
    try:
        return Arena(size)
    except (OSError, OverflowError, ValueError):
        return None


def side_by_side(wanted: Wanted) -> dict[str, Array]:
    """Returns arrays that are not yet filled, in one piece of memory of their own."""
    starts, end = [], 0
    for each in wanted.values():
        starts.append(end)
        end += _apart(*each)
    return _views(np.empty(end, np.uint8), wanted, starts)


def _views(memory: Array, wanted: Wanted, starts: Sequence[int]) -> dict[str, Array]:
    return {
        name: np.ndarray(shape, kind, memory.data, start)
        for start, (name, (shape, kind)) in zip(starts, wanted.items(), strict=True)
    }


def bytes_of(wanted: Wanted) -> int:
    """Returns the bytes of arrays of these shapes and dtypes."""
    return sum(prod(shape) * kind.itemsize for shape, kind in wanted.values())


def _apart(shape: Sequence[int], kind: np.dtype[Any]) -> int:
    """Returns how far from an array's start the next one's is."""
    return -(-prod(shape) * kind.itemsize // _ALIGNED) * _ALIGNED


def _region(size: int) -> mmap.mmap:
    private = getattr(mmap, "MAP_PRIVATE", 0) | getattr(mmap, "MAP_ANONYMOUS", 0) | getattr(mmap, "MAP_NORESERVE", 0)
    return mmap.mmap(-1, size, flags=private) if private else mmap.mmap(-1, size)

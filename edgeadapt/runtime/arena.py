"""Memory for arrays that come and go with their adapters: of a budget it is one region, used again and again.

The system's allocator leaves gaps between pieces of several sizes, which add up to a third of what is asked for, and
what it gives back to the system has to be fetched again, 4 KB at a time.
"""

from __future__ import annotations

import contextlib
import mmap
import threading
import weakref
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from edgeadapt.runtime.layout import Block

if TYPE_CHECKING:
    from edgeadapt.runtime.layout import Layout

Hole: TypeAlias = tuple[int, int]
"""Where it starts, and where it ends."""
Found: TypeAlias = tuple[list[int], list[int], list[Hole]]
"""Where each array starts, the numbers of those that begin a piece, and the pieces."""


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

    def arrays(self, wanted: Layout) -> Block | None:
        """Returns arrays that are not yet filled, or None where there is no room; theirs is free when all are gone."""
        with self._lock:
            self._tidy()
            whole = self._whole(wanted.span)
            found = ([], [], [whole]) if whole else self._parted(wanted)
            if found is None:
                return None
            self._used += wanted.nbytes
        starts, firsts, taken = found
        # An array of its own for these: what numpy makes of it holds it, and nobody else does.
        owner = np.frombuffer(self._memory, np.uint8)
        weakref.finalize(owner, self._left.append, (taken, wanted.nbytes)).atexit = False
        if len(taken) == 1:
            return Block(wanted, owner[slice(*taken[0])])
        return Block(wanted, owner, starts, firsts)

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

    def _whole(self, size: int) -> Hole | None:
        """Takes the smallest hole for so many bytes.

        So an adapter mostly lies in one piece, and leaves one when it goes.
        """
        hole = min((hole for hole in self._holes if _length(hole) >= size), key=_length, default=None)
        if hole is None:
            return None
        start, end = hole
        self._holes.remove(hole)
        if start + size < end:
            self._holes.append((start + size, end))
        return start, start + size

    def _parted(self, wanted: Layout) -> Found | None:
        """Takes the largest holes."""
        holes = sorted(self._holes, key=_length)
        rest: list[Hole] = []
        taken: list[Hole] = []
        starts: list[int] = []
        firsts: list[int] = []
        first = start = end = 0
        for number, size in enumerate(wanted.strides):
            if number == 0 or end - start < size:
                firsts.append(number)
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
        return starts, firsts, taken

    def _merge(self, places: Sequence[Hole]) -> None:
        merged: list[Hole] = []
        for start, end in sorted([*self._holes, *places]):
            if start == end:  # of arrays without elements
                continue
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


def _region(size: int) -> mmap.mmap:
    private = getattr(mmap, "MAP_PRIVATE", 0) | getattr(mmap, "MAP_ANONYMOUS", 0) | getattr(mmap, "MAP_NORESERVE", 0)
    region = mmap.mmap(-1, size, flags=private) if private else mmap.mmap(-1, size)
    # Pages of 2 MB where Linux has some: copies through the whole region find those sooner than 4 KB each.
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):
            region.madvise(mmap.MADV_HUGEPAGE)
    return region

"""How arrays lie in one piece of memory. Adapters of one training recipe have the same shapes, and so one layout."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from math import prod
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from edgeadapt.runtime.filling import Array

Wanted: TypeAlias = Mapping[str, tuple[Sequence[int], np.dtype[Any]]]
"""Shapes and dtypes of arrays by name."""
Allocate: TypeAlias = "Callable[[Layout], Block]"
"""Gives arrays that are not yet filled."""

_ALIGNED = 64
"""Bytes of a line of a processor's cache, and of its widest register: arrays lie a multiple of it apart."""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Arrays side by side, the largest first, so that those of one length have one stride; see `layout`.

    Attributes:
        arrays: Name, shape and dtype of each, in the order in which they lie.
        numbers: Where each stands in that order, by name.
        names: The names.
        lengths: The bytes of each.
        strides: How many bytes after an array's start the next one's is.
        starts: The byte at which each starts, in one piece.
        runs: The numbers of those whose length is not that of the one before.
        span: Bytes of the whole piece.
        nbytes: Bytes of the arrays alone.
    """

    arrays: tuple[tuple[str, tuple[int, ...], np.dtype[Any]], ...]
    numbers: Mapping[str, int]
    names: frozenset[str]
    lengths: tuple[int, ...]
    strides: tuple[int, ...]
    starts: tuple[int, ...]
    runs: tuple[int, ...]
    span: int
    nbytes: int

    def of_stacks(self, rows: int) -> Layout:
        """Returns the layout of stacks `(rows, ...)` of these arrays, `(1, ...)`; they lie in the same order."""
        return _of_stacks(self, rows)


class Block(Mapping[str, "Array"]):
    """Arrays by name in one memory, in one piece of it or in several; each is made when it is first asked for.

    Attributes:
        layout: What they are, and how they lie within a piece.
        firsts: The numbers of those that begin a piece.
    """

    __slots__ = ("_arrays", "_data", "_memory", "_starts", "firsts", "layout")

    def __init__(
        self, layout: Layout, memory: Array, starts: Sequence[int] | None = None, firsts: Sequence[int] = (0,)
    ) -> None:
        """Takes where they lie.

        Args:
            layout: What they are.
            memory: Bytes, `(n,)` uint8.
            starts: Where in them each starts; None where they are one piece.
            firsts: The numbers of those that begin a piece.
        """
        self.layout = layout
        self.firsts = firsts
        self._memory = memory
        self._data = memory.data
        self._starts = layout.starts if starts is None else starts
        self._arrays: dict[str, Array] = {}

    def __getitem__(self, name: str) -> Array:
        """Returns an array, the same one each time."""
        found = self._arrays.get(name)
        if found is None:
            number = self.layout.numbers[name]
            _, shape, kind = self.layout.arrays[number]
            # Threads that make it at once take that of the first.
            found = self._arrays.setdefault(name, np.ndarray(shape, kind, self._data, self._starts[number]))
        return found

    def items(self) -> ItemsView[str, Array]:
        """Returns all arrays by name; sooner than one by one."""
        made = self._arrays
        for (name, shape, kind), start in zip(self.layout.arrays, self._starts, strict=True):
            if name not in made:
                made.setdefault(name, np.ndarray(shape, kind, self._data, start))
        return made.items()

    def __iter__(self) -> Iterator[str]:
        return iter(self.layout.numbers)

    def __len__(self) -> int:
        return len(self.layout.numbers)

    def __contains__(self, name: object) -> bool:
        return name in self.layout.numbers

    def forget(self) -> None:
        """Lets the arrays go that were made, for what is kept and may never be asked for them again."""
        self._arrays = {}

    def raw(self, number: int) -> memoryview:
        """Returns the bytes of one array, `(n,)`."""
        start = self._starts[number]
        return self._data[start : start + self.layout.lengths[number]]

    def raw_run(self, first: int, end: int) -> Array:
        """Returns the bytes of the arrays from number `first` to before `end`, of one piece and one length `n`.

        Returns:
            uint8 `(arrays, 1, n)`, in the memory of the arrays.
        """
        start, stride, length = self._starts[first], self.layout.strides[first], self.layout.lengths[first]
        return self._memory[start : start + (end - first) * stride].reshape(end - first, 1, stride)[:, :, :length]


def layout(wanted: Wanted) -> Layout:
    """Returns how arrays of these shapes and dtypes lie; the same object for the same ones, whatever their order."""
    return _laid(frozenset((name, tuple(shape), kind) for name, (shape, kind) in wanted.items()))


def side_by_side(wanted: Layout) -> Block:
    """Returns arrays that are not yet filled, in one piece of memory of their own."""
    return Block(wanted, np.empty(wanted.span, np.uint8))


def stacked_alike(rows: Sequence[Mapping[str, Array]], allocate: Allocate) -> Block | None:
    """Returns stacks `(rows, ...)` of the rows' arrays, `(1, ...)`, or None where the rows are not of one layout.

    Arrays of one length that lie in one piece are one copy.
    """
    blocks = [row for row in rows if isinstance(row, Block)]
    own = blocks[0].layout if blocks else None
    if own is None or len(blocks) < len(rows) or any(block.layout is not own for block in blocks):
        return None
    stack = allocate(own.of_stacks(len(rows)))
    cuts = sorted({*own.runs, *stack.firsts, *(first for block in blocks for first in block.firsts)})
    for first, end in zip(cuts, [*cuts[1:], len(own.arrays)], strict=True):
        if length := own.lengths[first]:
            target = stack.raw_run(first, end).reshape(end - first, len(rows), length)
            np.concatenate([block.raw_run(first, end) for block in blocks], axis=1, out=target)
    return stack


@lru_cache(maxsize=256)
def _laid(wanted: frozenset[tuple[str, tuple[int, ...], np.dtype[Any]]]) -> Layout:
    return _ordered(sorted(wanted, key=lambda each: (-_bytes(*each[1:]), each[0])))


@lru_cache(maxsize=256)
def _of_stacks(one: Layout, rows: int) -> Layout:
    return _ordered([(name, (rows, *shape[1:]), kind) for name, shape, kind in one.arrays])


def _ordered(arrays: Sequence[tuple[str, tuple[int, ...], np.dtype[Any]]]) -> Layout:
    lengths = tuple(_bytes(shape, kind) for _, shape, kind in arrays)
    strides = tuple(-(-length // _ALIGNED) * _ALIGNED for length in lengths)
    *starts, end = accumulate(strides, initial=0)
    runs = tuple(number for number, length in enumerate(lengths) if number == 0 or length != lengths[number - 1])
    numbers = {name: number for number, (name, _, _) in enumerate(arrays)}
    return Layout(
        arrays=tuple(arrays),
        numbers=numbers,
        names=frozenset(numbers),
        lengths=lengths,
        strides=strides,
        starts=tuple(starts),
        runs=runs,
        span=end,
        nbytes=sum(lengths),
    )


def _bytes(shape: Sequence[int], kind: np.dtype[Any]) -> int:
    return prod(shape) * kind.itemsize

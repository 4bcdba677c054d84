"""How arrays lie in one piece of memory. Adapters of one training recipe have the same shapes, and so one layout."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
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
_MAKING = threading.Lock()


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Arrays side by side, the largest first, so that those of one size have one distance; see `layout`.

    Attributes:
        arrays: Name, shape and dtype of each, in the order in which they lie.
        shapes: Shapes by name.
        names: The names.
        exact: The bytes of each.
        sizes: How far from an array's start the next one's is.
        starts: Where each starts, in one piece.
        runs: The numbers of those whose bytes are not those of the one before.
        size: Bytes of the whole piece.
        bytes: Bytes of the arrays alone.
    """

    arrays: tuple[tuple[str, tuple[int, ...], np.dtype[Any]], ...]
    shapes: Mapping[str, tuple[int, ...]]
    names: frozenset[str]
    exact: tuple[int, ...]
    sizes: tuple[int, ...]
    starts: tuple[int, ...]
    runs: tuple[int, ...]
    size: int
    bytes: int

    def times(self, rows: int) -> Layout:
        """Returns the layout of stacks `(rows, ...)` of these arrays, `(1, ...)`; they lie in the same order."""
        return _times(self, rows)


class Block(Mapping[str, "Array"]):
    """Arrays by name in one memory, in one piece of it or in several; made when one is first asked for.

    Attributes:
        layout: What they are, and how they lie within a piece.
        parts: The numbers of those that begin a piece.
    """

    __slots__ = ("_arrays", "_data", "_memory", "_starts", "layout", "parts")

    def __init__(
        self, layout: Layout, memory: Array, starts: Sequence[int] | None = None, parts: Sequence[int] = (0,)
    ) -> None:
        """Takes where they lie.

        Args:
            layout: What they are.
            memory: Bytes.
            starts: Where in them each starts; None where they are one piece.
            parts: The numbers of those that begin a piece.
        """
        self.layout = layout
        self.parts = parts
        self._memory = memory
        self._data = memory.data
        self._starts = layout.starts if starts is None else starts
        self._arrays: dict[str, Array] | None = None

    def __getitem__(self, name: str) -> Array:
        """Returns an array, the same one each time."""
        if self._arrays is None:
            made: dict[str, Array] = {
                name: np.ndarray(shape, kind, self._data, start)
                for (name, shape, kind), start in zip(self.layout.arrays, self._starts, strict=True)
            }
            with _MAKING:  # threads that make them at once take those of the first
                self._arrays = made if self._arrays is None else self._arrays
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.layout.shapes)

    def __len__(self) -> int:
        return len(self.layout.shapes)

    def __contains__(self, name: object) -> bool:
        return name in self.layout.shapes

    def forget(self) -> None:
        """Lets the arrays go that were made, for what is kept and may never be asked for them again."""
        self._arrays = None

    def part(self, number: int) -> memoryview:
        """Returns the bytes of one array."""
        start = self._starts[number]
        return self._data[start : start + self.layout.exact[number]]

    def run(self, first: int, end: int, size: int) -> Array:
        """Returns the bytes of the arrays numbered `first` to `end`, of one piece and of one size, `(n, 1, size)`."""
        start, apart = self._starts[first], self.layout.sizes[first]
        return self._memory[start : start + (end - first) * apart].reshape(end - first, 1, apart)[:, :, :size]


def layout(wanted: Wanted) -> Layout:
    """Returns how arrays of these shapes and dtypes lie; the same object for the same ones, whatever their order."""
    return _laid(frozenset((name, tuple(shape), kind) for name, (shape, kind) in wanted.items()))


def side_by_side(wanted: Layout) -> Block:
    """Returns arrays that are not yet filled, in one piece of memory of their own."""
    memory = np.empty(wanted.size, np.uint8)
    return Block(wanted, memory)


def stacked_alike(rows: Sequence[Mapping[str, Array]], allocate: Allocate) -> Block | None:
    """Returns stacks `(rows, ...)` of the rows' arrays, `(1, ...)`, or None where the rows are not of one layout.

    Arrays of one size that lie in one piece are one copy.
    """
    blocks = [row for row in rows if isinstance(row, Block)]
    own = blocks[0].layout if blocks else None
    if own is None or len(blocks) < len(rows) or any(block.layout is not own for block in blocks):
        return None
    stack = allocate(own.times(len(rows)))
    exact = own.exact
    cuts = sorted({*own.runs, *stack.parts, *(part for block in blocks for part in block.parts)})
    for first, end in zip(cuts, [*cuts[1:], len(exact)], strict=True):
        if size := exact[first]:
            target = stack.run(first, end, len(rows) * size).reshape(end - first, len(rows), size)
            np.concatenate([block.run(first, end, size) for block in blocks], axis=1, out=target)
    return stack


@lru_cache(maxsize=256)
def _laid(wanted: frozenset[tuple[str, tuple[int, ...], np.dtype[Any]]]) -> Layout:
    return _ordered(sorted(wanted, key=lambda each: (-_bytes(*each[1:]), each[0])))


@lru_cache(maxsize=256)
def _times(one: Layout, rows: int) -> Layout:
    return _ordered([(name, (rows, *shape[1:]), kind) for name, shape, kind in one.arrays])


def _ordered(arrays: Sequence[tuple[str, tuple[int, ...], np.dtype[Any]]]) -> Layout:
    exact = tuple(_bytes(shape, kind) for _, shape, kind in arrays)
    sizes = tuple(-(-size // _ALIGNED) * _ALIGNED for size in exact)
    *starts, end = accumulate(sizes, initial=0)
    runs = tuple(index for index, size in enumerate(exact) if index == 0 or size != exact[index - 1])
    shapes = {name: shape for name, shape, _ in arrays}
    return Layout(tuple(arrays), shapes, frozenset(shapes), exact, sizes, tuple(starts), runs, end, sum(exact))


def _bytes(shape: Sequence[int], kind: np.dtype[Any]) -> int:
    return prod(shape) * kind.itemsize

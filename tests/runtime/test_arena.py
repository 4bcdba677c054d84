"""Arrays in one region: they never overlap, what is gone is free again, and the region stays within its bounds."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from edgeadapt.runtime.arena import Arena, opened
from edgeadapt.runtime.layout import Block, Layout, layout, side_by_side
from edgeadapt.runtime.memory import Memory

F32, F16 = np.dtype("float32"), np.dtype("float16")
LINE = 64


def filled(arrays: Block | None, value: float) -> Block:
    assert arrays is not None
    for array in arrays.values():
        array[...] = value
    return arrays


def wanted(*shapes: tuple[int, ...]) -> Layout:
    return layout({str(index): (shape, F32) for index, shape in enumerate(shapes)})


@pytest.mark.parametrize("allocate", [side_by_side, Arena(1 << 12).arrays])
def test_arrays_are_what_was_asked_for_and_share_nothing(allocate: Any) -> None:
    asked: dict[str, Any] = {"a": ((2, 3), F32), "b": ((1, 0, 4), F32), "c": ((5,), F16), "d": ((), F32)}
    arrays = allocate(layout(asked))
    assert {name: (array.shape, array.dtype) for name, array in arrays.items()} == asked
    for value, array in enumerate(arrays.values()):
        array[...] = value
    for value, array in enumerate(arrays.values()):
        assert array.flags.c_contiguous
        assert (array == value).all()


def test_any_view_keeps_its_memory() -> None:
    arena = Arena(8 * LINE)
    arrays = filled(arena.arrays(wanted((16,), (16,))), 1.0)
    view = arrays["1"].reshape(4, 4)[2:]
    del arrays
    for _ in range(4):
        filled(arena.arrays(wanted((16,), (16,))), 2.0)
        assert (view == 1.0).all()
    assert arena.used() == 2 * LINE
    del view
    assert arena.used() == 0


def test_what_has_no_room_is_refused_and_changes_nothing() -> None:
    arena = Arena(4 * LINE)
    held = arena.arrays(wanted((16,), (16,), (16,)))
    assert arena.arrays(wanted((16,), (16,))) is None
    assert arena.used() == 3 * LINE
    assert arena.arrays(wanted((16,))) is not None
    del held
    assert arena.arrays(wanted((64,))) is not None  # holes that touch are one


def test_an_array_goes_between_gaps_and_one_piece_into_the_hole_of_its_size() -> None:
    arena = Arena(10 * LINE)
    pieces = [arena.arrays(wanted(*[(16,)] * count)) for count in (2, 1, 3, 1, 2, 1)]
    pieces[0] = pieces[2] = pieces[4] = None
    exact = arena.arrays(wanted((32,)))
    assert arena.arrays(wanted((48,))) is not None  # so the one of three was left whole
    spread = filled(arena.arrays(wanted((16,), (16,), (16,), (16,), (16,))), 2.0)
    assert spread.firsts == [0, 3]
    exact = filled(exact, 1.0)
    assert all((array == 2.0).all() for array in spread.values())


def test_arrays_without_elements_leave_no_trace() -> None:
    arena = Arena(4 * LINE)
    before = arena.arrays(wanted((16,), (16,)))
    empty = filled(arena.arrays(wanted((0, 3), (0,))), 1.0)
    assert empty["0"].shape == (0, 3)
    after = arena.arrays(wanted((16,), (16,)))
    del empty
    assert arena.used() == 4 * LINE
    assert arena._holes == []
    del before, after
    assert arena.used() == 0
    assert arena._holes == [(0, 4 * LINE)]


def test_at_random_nothing_overlaps() -> None:
    chance = random.Random(0)
    arena = Arena(1 << 14)
    held: list[tuple[float, Block]] = []
    refused = 0
    for step in range(3000):
        shapes = [(chance.randint(1, 60),) for _ in range(chance.randint(1, 6))]
        arrays = arena.arrays(wanted(*shapes))
        if arrays is None:
            refused += 1
            held.pop(chance.randrange(len(held)))
            continue
        held.append((step, filled(arrays, step)))
        del arrays
        if chance.random() < 0.3:
            held.pop(chance.randrange(len(held)))
        assert all((array == value).all() for value, own in held for array in own.values())
        assert arena.used() == sum(array.nbytes for _, own in held for array in own.values())
    assert refused > 100


def test_room_is_made_before_and_what_others_were_given_counts() -> None:
    piece = wanted((1 << 16,))
    size = piece.nbytes
    memory = Memory(2 * size)
    for key in ("a", "b"):
        arrays = memory.allocate(piece)
        memory.leave([memory.hold("read", key, arrays, size)])
    del arrays
    given = memory.allocate(piece)  # by a thread that holds nothing yet
    assert (memory.peek("read", "a"), memory.counts.evicted) == (None, 1)
    other = memory.allocate(piece)
    assert (memory.peek("read", "b"), memory.counts.evicted) == (None, 2)
    assert not np.shares_memory(given["0"], other["0"])
    assert memory.allocate(wanted((1 << 18,)))["0"].size == 1 << 18  # larger than the budget: memory of its own


def test_all_that_others_were_given_counts() -> None:
    piece = wanted((1 << 16,))
    size = piece.nbytes
    memory = Memory(4 * size)
    for key in ("a", "b"):
        arrays = memory.allocate(piece)
        memory.leave([memory.hold("read", key, arrays, size)])
    del arrays
    given = [memory.allocate(piece) for _ in range(3)]
    assert (memory.peek("read", "a"), memory.counts.evicted) == (None, 1)
    assert memory.peek("read", "b") is not None
    del given


def test_without_a_region_memory_is_the_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    assert opened(1 << 80) is None
    monkeypatch.setattr("edgeadapt.runtime.arena.opened", lambda _: None)
    assert Memory(1000).allocate(wanted((7,)))["0"].shape == (7,)

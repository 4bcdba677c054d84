"""Arrays of one layout: where they lie, made when they are asked for, and stacked in few copies, piece by piece."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgeadapt.runtime import layout as module
from edgeadapt.runtime.arena import Arena
from edgeadapt.runtime.layout import Block, Layout, layout, side_by_side, stacked_alike

F32, F16 = np.dtype("float32"), np.dtype("float16")


def filled(block: Block | None, seed: int) -> Block:
    assert block is not None
    generator = np.random.default_rng(seed)
    for array in block.values():
        array[...] = generator.integers(-99, 99, array.shape)
    return block


def some(seed: int) -> Layout:
    """Returns arrays of one row, of a few sizes that come again and again, not all of them whole lines, some empty."""
    chance = random.Random(seed)
    shapes = [(1, chance.randint(0, 4), chance.randint(1, 12)) for _ in range(4)]
    return layout({f"{index}": (chance.choice(shapes), chance.choice((F32, F16))) for index in range(40)})


def fragmented() -> Callable[[Layout], Block | None]:
    """Returns what gives arrays in a region full of holes, most of which are too small for all of them."""
    arena = Arena(1 << 18)
    small = layout({"": ((1, 200), F32)})
    held = [arena.arrays(small) for _ in range((1 << 18) // small.span)]
    for index in range(0, len(held), 2):
        held[index] = None
    rest = held  # held for as long as the function is
    return lambda wanted: arena.arrays(wanted) if rest else None


def test_the_same_arrays_are_one_layout() -> None:
    one = layout({"a": ((1, 3), F32), "b": ((1, 9), F16)})
    assert layout({"b": ([1, 9], F16), "a": ((1, 3), F32)}) is one
    assert layout({"b": ((1, 9), F32), "a": ((1, 3), F32)}) is not one
    assert list(one.numbers) == ["b", "a"]
    assert (one.nbytes, one.span, one.starts) == (30, 128, (0, 64))


@pytest.mark.parametrize("ask", [lambda block: block["7"], lambda block: dict(block.items())["7"]])
def test_threads_that_ask_at_once_get_the_same_array(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    block, threads = side_by_side(some(0)), 4
    all_make_it = threading.Barrier(threads, timeout=30)

    def made(*arguments: Any) -> Any:
        all_make_it.wait()
        return np.ndarray(*arguments)

    monkeypatch.setattr(module, "np", SimpleNamespace(ndarray=made))
    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(lambda _: ask(block), range(threads)))
    assert all(each is block["7"] for each in found)


def test_what_is_forgotten_is_made_again_of_the_same_memory() -> None:
    block = filled(side_by_side(some(1)), 1)
    before = {name: array.copy() for name, array in block.items()}
    block.forget()
    assert all(np.array_equal(block[name], array) for name, array in before.items())


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("rows", "stacks"), [("whole", "whole"), ("whole", "parted"), ("parted", "parted")])
def test_stacks_hold_what_their_rows_hold(rows: str, stacks: str, seed: int) -> None:
    own, count = some(seed), 1 + seed % 4
    places: dict[str, Any] = {"whole": side_by_side, "parted": fragmented()}
    blocks = [filled(places[rows](own), index) for index in range(count)]
    stack = stacked_alike(blocks, places[stacks])
    assert stack is not None
    if rows == "parted":
        assert all(len(block.firsts) > 1 for block in blocks)
    if stacks == "parted":
        assert len(stack.firsts) > 1
    assert set(stack) == own.names
    for name, array in stack.items():
        assert array.flags.c_contiguous
        np.testing.assert_array_equal(array, np.concatenate([block[name] for block in blocks]))


def test_rows_of_several_layouts_are_for_others_to_stack() -> None:
    one = side_by_side(some(0))
    assert stacked_alike([one, side_by_side(some(1))], side_by_side) is None
    assert stacked_alike([one, dict(one)], side_by_side) is None

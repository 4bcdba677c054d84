"""Stacks of rows, and the outputs of several passes as those of one."""

from __future__ import annotations

import numpy as np
import pytest

from edgeadapt.bundle import Slot, TensorRecord
from edgeadapt.errors import UnsupportedError
from edgeadapt.runtime.filling import Filling
from edgeadapt.runtime.provider import HOST
from edgeadapt.runtime.rows import passes, stacked, together
from tests.runtime.tiny_bundle import Array

SLOTS = (
    Slot("q.lora_A", "lora", "q", "lora_A", "float32", ("rows", 4, "rank"), None),
    Slot("q.lora_B", "lora", "q", "lora_B", "float32", ("rows", "rank", 6), None),
    Slot("v.lora_A", "lora", "v", "lora_A", "float32", ("rows", 4, "rank"), None),
    Slot("v.lora_B", "lora", "v", "lora_B", "float32", ("rows", "rank", 6), None),
)


def pair(site: str, rank: int) -> dict[str, Array]:
    return {
        f"{site}.lora_A": np.full((1, 4, rank), rank, np.float32),
        f"{site}.lora_B": np.full((1, rank, 6), -rank, np.float32),
    }


def test_ranks_are_padded_for_each_site_apart() -> None:
    stacks = stacked([{**pair("q", 2), **pair("v", 3)}, {**pair("q", 5), **pair("v", 1)}], SLOTS)
    assert {name: stack.shape for name, stack in stacks.items()} == {
        "q.lora_A": (2, 4, 5),
        "q.lora_B": (2, 5, 6),
        "v.lora_A": (2, 4, 3),
        "v.lora_B": (2, 3, 6),
    }
    np.testing.assert_array_equal(stacks["q.lora_B"][0], np.vstack([np.full((2, 6), -2), np.zeros((3, 6))]))


def test_what_all_rows_share_is_passed_on() -> None:
    shared = pair("v", 3)
    stacks = stacked([{**pair("q", 2), **shared}, {**pair("q", 5), **shared}], SLOTS)
    assert stacks["v.lora_A"] is shared["v.lora_A"]
    # One half alone is shared: padded to the other's rank all the same.
    halves = stacked(
        [{**shared, **pair("q", 1)}, {**shared, "q.lora_A": pair("q", 1)["q.lora_A"], **pair("q", 2)}], SLOTS
    )
    assert halves["q.lora_A"].shape == (2, 4, 2)


def test_without_slots_for_the_whole_batch_one_pass_is_enough() -> None:
    rows = [Filling({**pair("q", q), **pair("v", v)}, HOST) for q, v in ((2, 3), (5, 1))]
    assert passes(rows, SLOTS) == [[0, 1]]


def test_an_output_that_rows_cant_be_told_apart_in() -> None:
    records = [TensorRecord("loss", "float32", ())]
    part = {"loss": np.zeros((), np.float32)}
    assert together([part], [[0, 1]], [None, None], records) == part
    with pytest.raises(UnsupportedError, match="output loss has no batch axis"):
        together([part, part], [[0], [1]], [None, None], records)


def test_a_batch_axis_that_is_not_the_first() -> None:
    records = [TensorRecord("state", "float32", ("layers", "batch", 2))]
    whole = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    parts = [{"state": whole[:, [0, 2]]}, {"state": whole[:, [1]]}]
    np.testing.assert_array_equal(together(parts, [[0, 2], [1]], [None] * 3, records)["state"], whole)

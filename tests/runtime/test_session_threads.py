"""One session, many threads: the same numbers as alone, while adapters come and go."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from edgeadapt.errors import AdapterError
from edgeadapt.runtime import load
from tests.runtime.tiny_bundle import TinyBundle, arrays, inputs, write_adapter

CHOICES: list[Any] = [
    None,
    "spam",
    "polite",
    "short",
    ["spam", None, "polite", "short"],
    ["short", "polite", "spam", "spam"],
    {"polite": 0.5, "short": 2.0},
    [{"polite": 0.5, "short": 2.0}, "spam", None, {"spam": 0.5}],
]
ROUNDS = 60


def test_threads_get_the_numbers_that_one_gets(headed: TinyBundle, tmp_path: Path) -> None:
    session = load(headed.path, threads=1)
    fed = [inputs(4, seed=seed) for seed in range(len(CHOICES))]
    alone = [session.run(x, choice) for x, choice in zip(fed, CHOICES, strict=True)]
    visitor = write_adapter(tmp_path / "visitor", "visitor", arrays(4, 9, labels=7))
    done = threading.Event()

    def run(index: int) -> int:
        for _ in range(ROUNDS):
            got = session.run(fed[index], CHOICES[index])
            for output, wanted in alone[index].items():
                for row, expected in zip(got[output], wanted, strict=True):
                    np.testing.assert_array_equal(row, expected)
        return ROUNDS

    def come_and_go() -> int:
        visits = 0
        while not done.is_set():
            session.add_adapter(visitor)
            session.run(fed[0], ["visitor", "spam", None, "visitor"])
            session.remove_adapter("visitor")
            visits += 1
        return visits

    with ThreadPoolExecutor(len(CHOICES) + 1) as pool:
        visits = pool.submit(come_and_go)
        try:
            runs = [future.result() for future in [pool.submit(run, index) for index in range(len(CHOICES))]]
        finally:
            done.set()
        assert runs == [ROUNDS] * len(CHOICES)
        assert visits.result() > 0
    assert list(session.adapters) == ["polite", "short", "spam"]


def test_one_of_many_threads_that_add_the_same_name_succeeds(headed: TinyBundle, tmp_path: Path) -> None:
    session = load(headed.path)
    visitor = write_adapter(tmp_path / "visitor", "visitor", arrays(4, 9))
    barrier = threading.Barrier(8)

    def add() -> bool:
        barrier.wait()
        try:
            session.add_adapter(visitor)
        except AdapterError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        added = [future.result() for future in [pool.submit(add) for _ in range(8)]]
    assert added.count(True) == 1

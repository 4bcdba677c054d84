"""What is held within a budget of bytes, and what goes first."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from edgeadapt.errors import ConfigError
from edgeadapt.runtime.memory import Memory, bytes_of


def hold(memory: Memory, *keys: str, size: int = 10, kind: Any = "read") -> None:
    """Holds things that nobody uses."""
    for key in keys:
        memory.leave([memory.hold(kind, key, key, size)])


def there(memory: Memory, kind: Any = "read") -> str:
    return "".join(map(str, memory._held[kind]))


def test_the_least_recently_used_goes_first() -> None:
    gone: list[str] = []
    memory = Memory(30, gone.append)
    hold(memory, "a", "b", "c")
    held = memory.take("read", "a")
    assert held is not None
    memory.leave([held])
    hold(memory, "d")
    assert there(memory) == "cad"
    assert gone == ["b"]
    assert memory.counts.bytes == 30
    assert memory.counts.evicted == 1


def test_what_is_made_goes_before_what_was_read() -> None:
    memory = Memory(30)
    hold(memory, "a")
    hold(memory, "x", "y", kind="made")
    hold(memory, "b")
    assert (there(memory), there(memory, "made")) == ("ab", "y")
    assert memory.counts.evicted == 0


def test_without_a_budget_only_what_is_made_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeadapt.runtime.memory.MADE_BYTES", 15)
    memory = Memory(None)
    hold(memory, *"abcdef", size=1000)
    hold(memory, "x", "y", kind="made")
    assert (there(memory), there(memory, "made")) == ("abcdef", "y")


def test_what_is_in_use_or_pinned_stays() -> None:
    memory = Memory(20)
    used = memory.hold("read", "a", "a", 10)
    hold(memory, "b")
    memory.pin("b", pinned=True)
    hold(memory, "c")
    assert there(memory) == "ab"
    more = memory.hold("read", "d", "d", 10)
    assert memory.counts.bytes == 30  # over it, as all are in use
    memory.leave([used])
    assert there(memory) == "bd"
    memory.leave([more])
    memory.pin("b", pinned=False)
    hold(memory, "e", "f")
    assert there(memory) == "ef"
    assert memory.counts.bytes == 20


def test_what_was_dropped_counts_until_nobody_uses_it() -> None:
    memory = Memory(100)
    used = memory.hold("read", "a", "old", 10)
    memory.drop("read", ["a", "nothing"])
    assert memory.take("read", "a") is None
    assert memory.counts.bytes == 10
    new = memory.hold("read", "a", "new", 20)
    assert memory.counts.bytes == 30
    memory.leave([used])
    assert memory.counts.bytes == 20
    assert memory.peek("read", "a") == "new"
    memory.leave([new])


def test_what_is_not_kept_is_this_users_own() -> None:
    memory = Memory(100)
    held = memory.hold("made", "x", "x", 10, keep=False)
    assert memory.take("made", "x") is None
    assert memory.counts.bytes == 10
    memory.abandon([held])
    hold(memory, "a", size=1)
    assert memory.counts.bytes == 1


def test_the_faster_of_two_threads_is_held() -> None:
    memory = Memory(100)
    first = memory.hold("read", "a", "first", 10)
    assert memory.hold("read", "a", "second", 10) is first
    assert first.users == 2
    assert memory.counts.bytes == 10


def test_many_threads_leave_nothing_behind() -> None:
    memory = Memory(55)
    barrier = threading.Barrier(8)

    def work(seed: int) -> None:
        barrier.wait()
        for step in range(500):
            key = str((seed * 7 + step) % 13)
            held = memory.take("read", key) or memory.hold("read", key, key, 10)
            assert held.value == key
            if step % 5 == 0:
                memory.drop("read", [key])
            (memory.abandon if step % 3 == 0 else memory.leave)([held])

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(work, seed) for seed in range(8)]:
            future.result()
    memory.leave([])
    assert memory.counts.bytes == 10 * len(memory._held["read"]) <= 55
    assert not any(held.users for held in memory._held["read"].values())


@pytest.mark.parametrize(
    ("given", "bytes_"),
    [(1, 1), ("1", 1), ("10B", 10), ("2 kb", 2000), ("1.5MiB", 3 << 19), ("3GB", 3 * 10**9), (None, None)],
)
def test_sizes(given: Any, bytes_: int | None) -> None:
    assert bytes_of(given, "size") == bytes_


@pytest.mark.parametrize("given", ["", "MB", "1 TB", "-1MB", "0", 0, -5, 1.5, True])
def test_what_is_no_size(given: Any) -> None:
    with pytest.raises(ConfigError, match="size: got"):
        bytes_of(given, "size")

"""What a session holds in memory, within a budget: the least recently used goes first, what is in use never goes.

Two kinds of things are held. Adapters are read from disk; stacks and blends are made of adapters. What is made goes
before anything that was read, since it is made again without the disk; so what a stack is made of is always held, too.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from edgeadapt.errors import ConfigError
from edgeadapt.runtime import arena
from edgeadapt.runtime.layout import side_by_side

if TYPE_CHECKING:
    from edgeadapt.runtime.layout import Block, Layout

Kind: TypeAlias = Literal["read", "made"]

MADE_BYTES = 256 << 20
"""The most that stacks and blends take, budget or not."""

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KI": 1 << 10, "MI": 1 << 20, "GI": 1 << 30}


@dataclass(slots=True, eq=False)
class Held:
    """One thing in memory.

    Attributes:
        value: The thing.
        size: Its bytes.
        kind: Where it comes from.
        users: How many use it now.
        pinned: It is never evicted.
        gone: It is not found any more, and counts until the last one who uses it leaves.
    """

    value: Any
    size: int
    kind: Kind
    users: int = 0
    pinned: bool = False
    gone: bool = False


@dataclass(slots=True)
class Counts:
    """What has happened so far; `bytes` is what is held now."""

    hits: int = 0
    misses: int = 0
    read: int = 0
    evicted: int = 0
    bytes: int = 0


class Memory:
    """Threads share it; its lock is held for a few steps at a time, and never while something is read or made."""

    def __init__(self, limit: int | None, evicted: Callable[[Any], None] = lambda _: None) -> None:
        """Takes the budget in bytes, None for none, and what is told of every adapter that is evicted."""
        self.limit = limit
        self.counts = Counts()
        self._evicted = evicted
        self._held: dict[Kind, OrderedDict[Hashable, Held]] = {"made": OrderedDict(), "read": OrderedDict()}
        self._made_bytes = 0
        self._lock = threading.Lock()
        # What is left by a finaliser, which can come in the middle of anything: it must not want the lock.
        self._left: deque[Held] = deque()
        # With room for gaps: a little more than what is held.
        self._arena = None if limit is None else arena.opened(limit + max(limit // 48, 1 << 16))

    def take(self, kind: Kind, key: Hashable) -> Held | None:
        """Returns what is held under a key, with one user more, or None."""
        with self._lock:
            held = self._held[kind].get(key)
            if held is None:
                self.counts.misses += 1
                return None
            self.counts.hits += 1
            self._held[kind].move_to_end(key)
            held.users += 1
            return held

    def peek(self, kind: Kind, key: Hashable) -> Any:
        """Returns the thing under a key, or None; that is no use of it."""
        held = self._held[kind].get(key)
        return None if held is None else held.value

    def hold(self, kind: Kind, key: Hashable, value: Any, size: int, *, keep: bool = True) -> Held:
        """Holds a thing with one user, and makes room for it; where another thread was faster, returns that one's.

        Args:
            kind: Where it comes from.
            key: What it is found by.
            value: The thing.
            size: Its bytes.
            keep: False holds it for this user only.
        """
        with self._lock:
            there = self._held[kind].get(key)
            if there is not None:
                there.users += 1
                return there
            held = Held(value, size, kind, users=1, gone=not keep)
            if keep:
                self._held[kind][key] = held
            self._count(held, size)
            self.counts.read += kind == "read"
            gone = self._trim()
        self._tell(gone)
        return held

    def allocate(self, wanted: Layout) -> Block:
        """Returns arrays for what is held next, not yet filled; within a budget, room is made for them first."""
        if self._arena is None or self.limit is None:
            return side_by_side(wanted)
        for room in (wanted.nbytes, 2 * wanted.nbytes):  # twice as much where gaps are too small
            if room <= self.limit:
                with self._lock:
                    # What other threads were given, and do not hold yet.
                    more = max(self._arena.used() - self.counts.bytes, 0)
                    gone = self._trim(room + more)
                self._tell(gone)
                del gone  # or their places would not be free
            found = self._arena.arrays(wanted)
            if found is not None:
                return found
        return side_by_side(wanted)

    def leave(self, helds: Iterable[Held]) -> None:
        """Takes one user off each."""
        with self._lock:
            for held in helds:
                self._leave(held)
            gone = self._trim()
        self._tell(gone)

    def abandon(self, helds: Iterable[Held]) -> None:
        """Does as `leave`, at the next occasion: for finalisers."""
        self._left.extend(helds)

    def drop(self, kind: Kind, keys: Iterable[Hashable]) -> None:
        """Lets things go, whoever uses or pinned them; they count until their last user leaves."""
        with self._lock:
            for key in list(keys):
                held = self._held[kind].pop(key, None)
                if held is not None:
                    self._go(held)

    def clear_made(self) -> None:
        """Lets all stacks and blends go."""
        self.drop("made", list(self._held["made"]))

    def pin(self, key: Hashable, *, pinned: bool) -> None:
        """Keeps an adapter from being evicted, or no longer."""
        with self._lock:
            if held := self._held["read"].get(key):
                held.pinned = pinned
            gone = self._trim()
        self._tell(gone)

    def is_pinned(self, key: Hashable) -> bool:
        """Tells whether an adapter is pinned."""
        held = self._held["read"].get(key)
        return held is not None and held.pinned

    def pinned_bytes(self) -> int:
        """Returns the bytes of what is pinned."""
        with self._lock:
            return sum(held.size for held in self._held["read"].values() if held.pinned)

    def _tell(self, gone: list[Any]) -> None:
        for value in gone:
            self._evicted(value)

    def _leave(self, held: Held) -> None:
        held.users -= 1
        if held.gone and held.users == 0:
            self._count(held, -held.size)

    def _go(self, held: Held) -> None:
        held.gone = True
        if held.users == 0:
            self._count(held, -held.size)

    def _count(self, held: Held, size: int) -> None:
        self.counts.bytes += size
        self._made_bytes += size if held.kind == "made" else 0

    def _trim(self, room: int = 0) -> list[Any]:
        """Evicts until all and `room` are within the budget, or the rest is in use or pinned; returns what was read."""
        while self._left:
            self._leave(self._left.popleft())
        gone: list[Any] = []
        self._evict("made", lambda: self._over(room) or self._made_bytes > MADE_BYTES)
        gone += self._evict("read", lambda: self._over(room))
        self.counts.evicted += len(gone)
        return gone

    def _over(self, room: int) -> bool:
        return self.limit is not None and self.counts.bytes + room > self.limit

    def _evict(self, kind: Kind, over: Callable[[], bool]) -> list[Any]:
        if not over():
            return []
        gone = []
        for key, held in list(self._held[kind].items()):
            if not over():
                break
            if held.users == 0 and not held.pinned:
                del self._held[kind][key]
                self._go(held)
                gone.append(held.value)
        return gone


def bytes_of(size: int | str | None, name: str) -> int | None:
    """Returns a size in bytes, given as a number or as text such as `256MB` or `1.5 GiB`.

    Args:
        size: The size; None stays None.
        name: What it is the size of, for the message.

    Raises:
        ConfigError: It is no size.

    Example:
        >>> bytes_of("256MB", "adapter_memory"), bytes_of("1 KiB", "adapter_memory")
        (256000000, 1024)
    """
    if size is None:
        return None
    if isinstance(size, int) and not isinstance(size, bool) and size > 0:
        return size
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMG]I?)?B?\s*", size.upper()) if isinstance(size, str) else None
    found = round(float(match[1]) * _UNITS[match[2] or ""]) if match else 0
    if found <= 0:
        raise ConfigError(f"{name}: got {size!r}, expected bytes, such as 256000000, '256MB' or '1GiB', or None.")
    return found

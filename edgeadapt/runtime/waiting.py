"""Requests that wait for a run: in groups, oldest first, with a bound on how many; and, before the door, the others."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgeadapt.errors import BusyError, ClosedError

if TYPE_CHECKING:
    from edgeadapt.runtime.choice import Choice
    from edgeadapt.runtime.filling import Array
    from edgeadapt.runtime.sharing import Group


@dataclass(slots=True, eq=False)
class Request:
    """One row that wants a run.

    Attributes:
        inputs: Arrays by name, `(1, ...)`.
        choice: Its adapter.
        order: The adapter's names and weights, which rows of a batch are sorted by.
        group: What is equal for rows that may share a run.
        future: Takes the outputs.
        since: When it came, in seconds of the monotonic clock.
        door: Opens when a thread that waits before a full queue is let in.
    """

    inputs: Mapping[str, Array]
    choice: Choice
    order: tuple[tuple[str, float], ...]
    group: Group
    future: Future[dict[str, Array]] = field(default_factory=Future)
    since: float = 0.0
    door: threading.Event | None = None


class Waiting:
    """Threads share it; its lock is held for a few steps at a time, and never while something runs."""

    def __init__(self, batch: int, seconds: float, most: int) -> None:
        """Takes the most rows of a batch, the seconds that a batch waits to be full, and the most rows that wait."""
        self._batch = batch
        self._seconds = seconds
        self._most = most
        self._groups: dict[Group, deque[Request]] = {}
        self._inside = 0
        self._outside: deque[Request] = deque()
        self._closed = False
        # A lock that its owner may take again: a finaliser closes this, and comes in the middle of anything.
        self._changed = threading.Condition(threading.RLock())

    def __len__(self) -> int:
        """Returns how many wait, those before the door included."""
        return self._inside + len(self._outside)

    def put(self, request: Request, timeout: float | None = None, *, block: bool = True) -> None:
        """Lets a request in; where the queue is full, after those that came before it.

        Args:
            request: The request.
            timeout: The most seconds to wait before the door; None for as long as it takes.
            block: False returns at once: the request is let in when there is room, and holds no thread meanwhile.

        Raises:
            BusyError: The time is over; the request has left.
            ClosedError: Nothing is let in any more.
        """
        with self._changed:
            if self._closed:
                raise ClosedError("The batcher is closed.\nMake another one, or close it after the last request.")
            request.since = time.monotonic()
            if self._inside < self._most:
                self._let_in(request)
                return
            if block and timeout is not None and timeout <= 0:
                raise self._busy(timeout)
            request.door = threading.Event() if block else None
            self._outside.append(request)
        if request.door is not None:
            self._wait(request, request.door, timeout)

    def take(self) -> tuple[list[Request], int] | None:
        """Returns the next batch, rows of one group with the oldest of all among them; None when it's over.

        Waits until a group has a full batch, or the oldest has waited long enough. The number beside the batch is that
        of rows that were cancelled, and are not in it; those that are can't be cancelled any more.
        """
        with self._changed:
            while not self._ready():
                if self._closed and not self._inside:
                    return None
            return self._taken()

    def close(self) -> None:
        """Lets nothing in any more; what came before is still taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _ready(self) -> bool:
        """Tells whether a batch can begin; if not, waits until something may have changed."""
        if not self._inside:
            if not self._closed:
                self._changed.wait()
            return False
        left = self._oldest()[0].since + self._seconds - time.monotonic()
        if self._closed or left <= 0 or any(len(group) >= self._batch for group in self._groups.values()):
            return True
        self._changed.wait(left)
        return False

    def _taken(self) -> tuple[list[Request], int]:
        group = self._oldest()
        rows: list[Request] = []
        cancelled = 0
        while group and len(rows) < self._batch:
            request = group.popleft()
            self._inside -= 1
            if request.future.set_running_or_notify_cancel():
                rows.append(request)
            else:
                cancelled += 1
            if not group:
                del self._groups[request.group]
        while self._outside and self._inside < self._most:
            request = self._outside.popleft()
            self._let_in(request)
            if request.door is not None:
                request.door.set()
        if self._inside:
            self._changed.notify()  # another worker's turn to wait for the oldest
        return rows, cancelled

    def _oldest(self) -> deque[Request]:
        return min(self._groups.values(), key=lambda group: group[0].since)

    def _let_in(self, request: Request) -> None:
        group = self._groups.setdefault(request.group, deque())
        group.append(request)
        self._inside += 1
        # In between a worker knows already when to wake up.
        if self._inside == 1 or len(group) == self._batch:
            self._changed.notify()

    def _wait(self, request: Request, door: threading.Event, timeout: float | None) -> None:
        try:
            if door.wait(timeout):
                return
        except BaseException:
            self._leave(request, door)
            raise
        if self._leave(request, door):
            raise self._busy(timeout)

    def _leave(self, request: Request, door: threading.Event) -> bool:
        """Takes a request back that stands before the door; tells whether it still did."""
        with self._changed:
            if not door.is_set():
                self._outside.remove(request)
            return not door.is_set()

    def _busy(self, timeout: float | None) -> BusyError:
        return BusyError(
            f"{self._most} rows wait already, as many as max_queue lets in, and none was taken in {timeout} s.\n"
            "Try again later, with a longer timeout, or with more workers."
        )

"""Who is in the next batch, and who waits before the door."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from edgeadapt.errors import BusyError, ClosedError
from edgeadapt.runtime.waiting import Request, Waiting

LONG = 60.0


def request(group: int) -> Request:
    return Request({}, None, (), group)


def put(waiting: Waiting, *groups: int) -> list[Request]:
    requests = [request(group) for group in groups]
    for each in requests:
        waiting.put(each, block=False)
    return requests


def taken(waiting: Waiting) -> list[Request]:
    found = waiting.take()
    assert found is not None
    return found[0]


def test_a_full_batch_begins_at_once() -> None:
    waiting = Waiting(3, LONG, 100)
    requests = put(waiting, 1, 1, 1, 1)
    assert taken(waiting) == requests[:3]
    assert len(waiting) == 1


def test_a_batch_that_is_not_full_begins_when_its_oldest_has_waited() -> None:
    waiting = Waiting(3, 0.05, 100)
    start = time.monotonic()
    requests = put(waiting, 1, 1)
    assert taken(waiting) == requests
    assert 0.05 <= time.monotonic() - start < 5


def test_rows_of_other_groups_wait_for_a_run_of_their_own() -> None:
    waiting = Waiting(2, 0.0, 100)
    one, two, three = put(waiting, 1, 2, 1)
    assert taken(waiting) == [one, three]
    assert taken(waiting) == [two]


def test_the_oldest_is_in_the_next_batch_whatever_else_is_full() -> None:
    waiting = Waiting(2, LONG, 100)
    requests = put(waiting, 7, 1, 1, 1, 1)
    order = [taken(waiting) for _ in range(3)]
    assert order == [requests[:1], requests[1:3], requests[3:]]


def test_a_rare_group_is_never_passed_by() -> None:
    """The queue is kept full of one group; every row of another is in the batch after those that came before it."""
    waiting = Waiting(4, 0.0, 1000)
    put(waiting, *[1] * 40)
    rare = put(waiting, 2)[0]
    older = 40
    while True:
        put(waiting, 1, 1, 1, 1)
        rows = taken(waiting)
        if rare in rows:
            break
        older -= len(rows)
    assert older == 0


def test_those_before_the_door_come_in_as_they_came() -> None:
    waiting = Waiting(1, 0.0, 2)
    requests = put(waiting, 1, 2, 3, 1, 5)
    assert len(waiting) == 5
    assert [taken(waiting)[0] for _ in requests] == requests


def test_nobody_is_let_in_before_those_that_wait_already() -> None:
    waiting = Waiting(1, 0.0, 1)
    requests = put(waiting, 1, 2)
    assert taken(waiting) == requests[:1]
    late = put(waiting, 3)
    assert [taken(waiting)[0], taken(waiting)[0]] == [requests[1], *late]


@pytest.mark.parametrize("timeout", [0, -1.0, 0.02])
def test_who_waits_too_long_is_refused_and_leaves_nothing(timeout: float) -> None:
    waiting = Waiting(1, 0.0, 1)
    put(waiting, 1)
    with pytest.raises(BusyError, match=r"1 rows wait already, as many as max_queue lets in.*\n.*longer timeout"):
        waiting.put(request(1), timeout)
    assert len(waiting) == 1


def test_a_thread_waits_until_it_is_let_in() -> None:
    waiting = Waiting(1, 0.0, 1)
    put(waiting, 1)
    late = request(2)
    with ThreadPoolExecutor(1) as pool:
        entering = pool.submit(waiting.put, late, LONG)
        while len(waiting) < 2:
            time.sleep(0.001)
        assert not entering.done()
        taken(waiting)
        assert entering.result() is None
    assert taken(waiting) == [late]


def test_cancelled_rows_are_left_out_and_counted() -> None:
    waiting = Waiting(3, 0.0, 100)
    first, second, third = put(waiting, 1, 1, 1)
    assert second.future.cancel()
    assert waiting.take() == ([first, third], 1)
    assert not first.future.cancel()
    assert len(waiting) == 0


def test_what_came_before_the_end_is_taken_and_nothing_after() -> None:
    waiting = Waiting(2, LONG, 1)
    requests = put(waiting, 1, 1)  # one of them before the door
    waiting.close()
    with pytest.raises(ClosedError, match="is closed"):
        waiting.put(request(1))
    assert [taken(waiting), taken(waiting)] == [requests[:1], requests[1:]]
    assert waiting.take() is None


def test_every_worker_hears_of_the_end_and_of_work() -> None:
    waiting = Waiting(2, 0.001, 50)
    got: list[Request] = []

    def work() -> None:
        while (found := waiting.take()) is not None:
            got.extend(found[0])

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    sent: list[Any] = []
    for index in range(300):
        sent += put(waiting, index % 7)
    deadline = time.monotonic() + LONG
    while len(got) < 300 and time.monotonic() < deadline:
        time.sleep(0.001)
    waiting.close()
    for thread in threads:
        thread.join(LONG)
        assert not thread.is_alive()
    assert set(map(id, got)) == set(map(id, sent))
    assert len(got) == 300

"""What callers of a batcher see: room, cancelling, callbacks, coroutines, and the end."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any

import pytest

from edgeadapt.errors import AdapterError, BusyError, ClosedError
from edgeadapt.runtime import Batcher, Session
from tests.runtime.gatekeeper import LONG, Gatekeeper, expect, until
from tests.runtime.tiny_bundle import TinyBundle, inputs


def test_cancelled_requests_are_not_run(session: Session, gatekeeper: Gatekeeper) -> None:
    with Batcher(session, max_batch=1) as batcher:
        first = batcher.submit(inputs(1), "spam")
        assert gatekeeper.begun.wait(LONG)
        second, third = batcher.submit(inputs(1), "short"), batcher.submit(inputs(1), "polite")
        assert second.cancel()
        assert not first.cancel()
        gatekeeper.open.set()
        assert third.result(LONG) and first.result(LONG)
    assert gatekeeper.runs == ["spam", "polite"]
    assert batcher.stats().cancelled == 1
    with pytest.raises(CancelledError):
        second.result(0)


def test_a_full_queue_holds_callers_back(session: Session, gatekeeper: Gatekeeper) -> None:
    with Batcher(session, max_batch=1, max_queue=2) as batcher:
        taken = batcher.submit(inputs(1))
        assert gatekeeper.begun.wait(LONG)
        waiting = [batcher.submit(inputs(1), timeout=0) for _ in range(2)]
        for timeout in (0, 0.05):
            with pytest.raises(BusyError, match="2 rows wait already"):
                batcher.submit(inputs(1), timeout=timeout)
        with ThreadPoolExecutor(1) as pool:
            held = pool.submit(batcher.submit, inputs(1), "spam")
            until(lambda: batcher.stats().waiting == 3)
            assert not held.done()
            gatekeeper.open.set()
            expect(held.result(LONG).result(LONG), session.run(inputs(1), "spam"))
        assert all(future.result(LONG) for future in (taken, *waiting))
    assert batcher.stats().refused == 2


def test_a_callback_that_submits_does_not_wait_for_its_own_thread(session: Session) -> None:
    answers: list[Future[Any]] = []

    def again(future: Future[Any]) -> None:
        if len(answers) < 20:
            answers.append(batcher.submit(inputs(1), "spam"))
            answers[-1].add_done_callback(again)

    with Batcher(session, max_batch=1, max_queue=1, max_wait_ms=0) as batcher:
        for _ in range(4):
            batcher.submit(inputs(1)).add_done_callback(again)
        until(lambda: len(answers) >= 20 and all(future.done() for future in list(answers)))


def test_close_finishes_what_was_taken(session: Session, gatekeeper: Gatekeeper) -> None:
    batcher = Batcher(session, max_batch=2, max_wait_ms=LONG * 1000)
    futures = [batcher.submit(inputs(1), "spam") for _ in range(5)]
    assert gatekeeper.begun.wait(LONG)
    batcher.close(wait=False)
    with pytest.raises(ClosedError, match="The batcher is closed"):
        batcher.submit(inputs(1))
    assert not any(future.done() for future in futures)
    gatekeeper.open.set()
    batcher.close()
    assert all(future.done() and future.result() for future in futures)
    batcher.close()
    assert batcher.stats().rows == 5


def test_a_batcher_that_is_let_go_leaves_no_thread(session: Session) -> None:
    before = set(threading.enumerate())
    batcher = Batcher(session, workers=2, max_wait_ms=0)
    own = set(threading.enumerate()) - before
    assert len(own) == 2
    assert batcher.submit(inputs(1)).result(LONG)
    del batcher
    gc.collect()
    for thread in own:
        thread.join(LONG)
        assert not thread.is_alive()


@pytest.mark.parametrize("end", ["", "raise SystemExit(3)", "del batcher"])
def test_the_interpreter_ends_and_finishes_what_was_taken(headed: TinyBundle, end: str) -> None:
    code = f"""
import numpy as np, edgeadapt
batcher = edgeadapt.Batcher(edgeadapt.load({str(headed.path)!r}), max_wait_ms=3_600_000)
for _ in range(3):
    future = batcher.submit({{"x": np.ones((1, 5, 4), np.float32)}}, "spam")
    future.add_done_callback(lambda future: print(future.result()["logits"].shape, flush=True))
{end}
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LONG)
    assert (done.returncode, done.stderr) == (3 if "Exit" in end else 0, "")
    assert done.stdout.split("\n")[:3] == ["(1, 2)"] * 3


def test_coroutines_wait_for_room_and_the_loop_runs_on(session: Session, gatekeeper: Gatekeeper) -> None:
    choices = ["spam", "short", None, "polite"] * 8

    async def all_at_once(batcher: Batcher) -> Sequence[Any]:
        tasks = [asyncio.create_task(batcher.run(inputs(1, seed=n), name)) for n, name in enumerate(choices)]
        ticks = 0
        while batcher.stats().waiting < len(choices) - 4:
            await asyncio.sleep(0.001)
        for _ in range(20):
            await asyncio.sleep(0.001)
            ticks += 1
        assert ticks == 20 and not any(task.done() for task in tasks)
        tasks[-1].cancel()
        await asyncio.sleep(0)  # the loop hands it on
        gatekeeper.open.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    with Batcher(session, max_batch=4, max_queue=2) as batcher:
        answers = asyncio.run(all_at_once(batcher))
        with pytest.raises(AdapterError, match="There is no adapter 'nobody'"):
            asyncio.run(batcher.run(inputs(1), "nobody"))
    assert isinstance(answers[-1], asyncio.CancelledError)
    assert batcher.stats().cancelled == 1
    for number, (name, got) in enumerate(zip(choices[:-1], answers, strict=False)):
        expect(got, session.run(inputs(1, seed=number), name))

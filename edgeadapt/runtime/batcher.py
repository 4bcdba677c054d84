"""Batches for many callers: requests of one row, from any number of threads, run together."""

from __future__ import annotations

import atexit
import contextlib
import math
import threading
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from types import TracebackType
from typing import TYPE_CHECKING, Any

from edgeadapt.errors import ConfigError, EdgeAdaptError, InputError, UnsupportedError
from edgeadapt.runtime.adapters import NONE
from edgeadapt.runtime.choice import Choice, Names, chosen
from edgeadapt.runtime.inputs import check_inputs
from edgeadapt.runtime.sharing import Sharing
from edgeadapt.runtime.stats import Batched, BatcherStats
from edgeadapt.runtime.waiting import Request, Waiting

if TYPE_CHECKING:
    from edgeadapt.runtime.filling import Array
    from edgeadapt.runtime.session import Session


class Batcher:
    """Takes requests of one row, each with its own adapter, and runs those that wait as mixed batches.

    Rows of different lengths share a batch where the model takes an `attention_mask` and the bundle's tokenizer pads on
    the right: they are padded to the longest of the batch, with rows of about their length (see `Sharing.group`), and
    outputs with the sequence's axis are cut back. Elsewhere, and where the bundle has slots for adapters that may look
    at padding (gated ones, modules of one's own), only rows of equal shapes share one. A batch begins when `max_batch`
    rows wait that may share it, or the oldest row has waited for `max_wait_ms`; the oldest is in it, always.

    **Answers** have the names, dtypes and shapes of `session.run` with that row alone. A row that nobody shared a batch
    with has its very bits. Others mostly have them too, and may differ by rounding, padded or not: ONNX Runtime adds up
    in another order for some numbers of rows or tokens. In fp32 on a CPU, 1e-6 was seen beside outputs of 1 to 4.

    **Errors** reach their own request. Where a batch fails, its halves are run by themselves, and so on to the single
    rows, so that a damaged adapter fails the rows that chose it and no others.

    The arrays of a request are not copied: leave them as they are until its future is done. Close a batcher after
    use, or use it in a `with`; what it has taken is still run when the interpreter ends.
    """

    def __init__(
        self, session: Session, *, max_batch: int = 8, max_wait_ms: float = 2.0, max_queue: int = 1024, workers: int = 1
    ) -> None:
        """Starts the threads that run batches.

        Args:
            session: What runs them; others may use it meanwhile.
            max_batch: The most rows of a batch.
            max_wait_ms: How long a row waits for others, in ms; 0 runs what is there as soon as a worker is free.
            max_queue: The most rows that wait; a request beyond them waits before the queue, in `submit` or `run`.
            workers: Threads, each of which runs one batch at a time.

        Raises:
            ConfigError: A number has no meaning, all reasons.
            UnsupportedError: The bundle generates texts, or its model has no batch axis.

        Example:
            >>> with edgeadapt.Batcher(session) as batcher:  # doctest: +SKIP
            ...     futures = [batcher.submit(row, name) for row, name in requests]
            ...     answers = [future.result() for future in futures]
        """
        _check(max_batch, max_wait_ms, max_queue, workers)
        manifest = session.manifest
        if manifest.generation is not None:
            raise UnsupportedError(
                f"A bundle for {manifest.task} writes token by token, and a Batcher runs each row once.\n"
                "Call session.generate(...) or stream(...) with a list of prompts and one of adapters."
            )
        self._slots = manifest.slots
        self._records = manifest.inputs
        self._names = Names(session.adapters)
        self._work = _Work(session, Sharing(manifest), Waiting(max_batch, max_wait_ms / 1000, max_queue), workers)
        weakref.finalize(self, self._work.waiting.close).atexit = False

    def submit(
        self, inputs: Mapping[str, Array], adapter: Choice = None, timeout: float | None = None
    ) -> Future[dict[str, Array]]:
        """Returns what will have the outputs of one row; waits while `max_queue` rows wait already.

        A future can be cancelled until its batch begins. Its callbacks run in the thread that runs batches; from
        there, `submit` doesn't wait for room.

        Args:
            inputs: Arrays by name, as `session.run` takes them, `(1, ...)`.
            adapter: A name, None for the base, or a blend `{name: weight}`.
            timeout: The most seconds to wait for room; None for as long as it takes, 0 not to wait.

        Returns:
            A future of arrays by name, `(1, ...)`. It raises what `session.run` raises at the run: BundleError where
            the adapter's files are damaged, AdapterError where it doesn't fit or was removed meanwhile,
            UnsupportedError where a blend has no exact meaning.

        Raises:
            InputError: The inputs don't fit the model, all reasons, or are not one row.
            AdapterError: The adapter is unknown, or the base was chosen and can't answer alone.
            ConfigError: A blend's weight is no finite number, or `adapter` is of no kind above.
            BusyError: There was no room in time.
            ClosedError: The batcher is closed.

        Example:
            >>> batcher.submit(inputs, "spam").result()["logits"].shape  # doctest: +SKIP
            (1, 2)
        """
        return self._enter(inputs, adapter, timeout, block=threading.current_thread() not in self._work.threads)

    async def run(self, inputs: Mapping[str, Array], adapter: Choice = None) -> dict[str, Array]:
        """Returns the outputs of one row, `(1, ...)`; while there is no room, or no answer yet, the event loop runs on.

        One that is cancelled before its batch begins is not run.

        Args:
            inputs: As for `submit`.
            adapter: As for `submit`.

        Raises:
            EdgeAdaptError: As `submit` and its future, but for BusyError: it waits for as long as it takes.

        Example:
            >>> outputs = await batcher.run(inputs, "spam")  # doctest: +SKIP
        """
        import asyncio  # slow to import, and who awaits has it already

        return await asyncio.wrap_future(self._enter(inputs, adapter, None, block=False))

    def stats(self) -> BatcherStats:
        """Returns what has been run so far, and what waits now."""
        return self._work.counts.stats(len(self._work.waiting))

    def close(self, wait: bool = True) -> None:
        """Takes no more requests, and finishes those that it took; a second time, nothing.

        Args:
            wait: Returns when they are finished; False returns at once.
        """
        self._work.close(wait)

    def __enter__(self) -> Batcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _enter(
        self, inputs: Mapping[str, Array], adapter: Choice, timeout: float | None, *, block: bool
    ) -> Future[dict[str, Array]]:
        try:
            rows = check_inputs(inputs, self._records)
            if rows != 1:
                raise InputError(f"A request is one row: got a batch of {rows}.\nSubmit each row by itself.")
            order = chosen(adapter, self._names, self._slots)
            request = Request(inputs, _choice(order), order, self._work.sharing.group(inputs))
            self._work.waiting.put(request, timeout, block=block)
        except EdgeAdaptError:
            self._work.counts.miss(refused=1)
            raise
        return request.future


class _Work:
    """What the threads of a batcher do. It knows nothing of the batcher, which can be let go meanwhile."""

    def __init__(self, session: Session, sharing: Sharing, waiting: Waiting, workers: int) -> None:
        self.sharing = sharing
        self.waiting = waiting
        self.counts = Batched()
        self._session = session
        # Daemons, or an interpreter would wait at its end for threads that wait for it; `_finish` lets them finish.
        self.threads = [
            threading.Thread(target=self._loop, name=f"edgeadapt-batcher-{number}", daemon=True)
            for number in range(workers)
        ]
        _OPEN.add(self)
        for thread in self.threads:
            thread.start()

    def close(self, wait: bool) -> None:
        self.waiting.close()
        for thread in self.threads if wait else ():
            if thread is not threading.current_thread():
                thread.join()

    def _loop(self) -> None:
        while self._turn():
            pass

    def _turn(self) -> bool:
        """Runs one batch; in a function of its own, so that nothing of it is held while the next one is waited for."""
        taken = self.waiting.take()
        if taken is None:
            return False
        requests, cancelled = taken
        self.counts.miss(cancelled=cancelled) if cancelled else None
        # Rows of equal adapters beside each other: the same adapters are one stack, whoever came first.
        self._answer(sorted(requests, key=lambda request: request.order))
        return True

    def _answer(self, requests: Sequence[Request]) -> None:
        """Runs rows as one batch; where that fails, each half by itself."""
        if not requests:
            return
        try:
            outputs = self._outputs(requests)
        except BaseException as error:  # whatever it is, somebody waits for it
            if len(requests) == 1:
                self.counts.miss(failed=1)
                with contextlib.suppress(InvalidStateError):  # a caller who set it is no reason to end a thread
                    requests[0].future.set_exception(error)
                return
        else:
            for request, own in zip(requests, outputs, strict=True):
                with contextlib.suppress(InvalidStateError):
                    request.future.set_result(own)
            return
        half = len(requests) // 2
        self._answer(requests[:half])
        self._answer(requests[half:])

    def _outputs(self, requests: Sequence[Request]) -> Sequence[dict[str, Array]]:
        rows = [request.inputs for request in requests]
        choices = [request.choice for request in requests]
        outputs: dict[str, Any] = self._session.run(
            self.sharing.joined(rows), choices[0] if len(rows) == 1 else choices
        )
        parted = [outputs] if len(rows) == 1 else self.sharing.parted(outputs, rows)
        self.counts.count([self.sharing.length(row) for row in rows])
        return parted


_OPEN: weakref.WeakSet[_Work] = weakref.WeakSet()


def _finish() -> None:
    """Finishes, at the interpreter's end, what was taken: a thread that ends in the middle of a run may crash it."""
    for work in list(_OPEN):
        work.close(wait=True)


atexit.register(_finish)


def _choice(order: Sequence[tuple[str, float]]) -> Choice:
    """Returns the choice that a row of names and weights is, as one object of its own: callers may change theirs."""
    name, weight = order[0]
    if len(order) == 1 and weight == 1.0:
        return None if name == NONE else name
    return dict(order)


def _check(max_batch: int, max_wait_ms: float, max_queue: int, workers: int) -> None:
    counts = {"max_batch": max_batch, "max_queue": max_queue, "workers": workers}
    problems = [
        f"{name}: got {number!r}, expected a whole number of 1 or more"
        for name, number in counts.items()
        if not isinstance(number, int) or isinstance(number, bool) or number < 1
    ]
    if not isinstance(max_wait_ms, int | float) or not 0 <= max_wait_ms < math.inf:
        problems.append(f"max_wait_ms: got {max_wait_ms!r}, expected ms, 0 or more")
    if problems:
        raise ConfigError.collect("The batcher can't be made:", problems)

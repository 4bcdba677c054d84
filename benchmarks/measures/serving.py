"""What it takes to serve a thousand adapters of ten thousand from a memory for 64, beside one, and beside other ways.

Run by itself, this file is a process of the comparison: `python -m benchmarks.measures.serving WAY`.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.processes import answer, memory_kb
from benchmarks.results import Figure
from benchmarks.settings import THREADS, Counts, Settings

if TYPE_CHECKING:
    from benchmarks.models.crowd import Request
    from edgeadapt import Batcher
    from edgeadapt.runtime import Session

TITLE = "A crowd of adapters"
HOW = (
    "all-MiniLM-L6-v2 with a LoRA of rank 8 at 24 layers and a head for each of 10,000 adapters, of which 1,000 are "
    "asked for by Zipf's law and 64 fit into `adapter_memory`; texts of 8 to 64 tokens. Opening is `edgeadapt.load` of "
    "bundles that differ in the number of their adapters. Eight threads hand requests to "
    "a `Batcher` (`max_batch=8`, `workers=2`, `threads=1`), each with eight under way. `one adapter` is the same "
    "requests, all to one; `one at a time` runs them in a loop, switching, in a session with `threads=2`. Each adapter "
    "has been read once before, and half of those that are asked for are read again, since 64 are in memory. A block "
    "is 600 requests; blocks take turns. PEFT has the 64 adapters that are asked for most in memory, and is asked for "
    "these alone, as edgeadapt is beside it, with room for the stacks of two batches; merged sessions are 16, a model "
    "each, whose threads don't spin: those of 16 sessions would keep each other from working. All run in processes of "
    "their own, memory is `VmRSS` beyond what was resident after the imports."
)
CLIENTS, UNDER_WAY, MAX_BATCH = 8, 8, 8
USUAL = Counts(rounds=11, warm=200, runs=600)
STARTS = Counts(rounds=11, warm=1, runs=7)


def measure(settings: Settings) -> tuple[Figure, ...]:
    """Returns the ratios of throughputs, latencies, memory, and what other ways reach."""
    counts = settings.counts(USUAL)
    return (*_starts(settings.counts(STARTS)), *_rates(counts), *_memory(counts), *_others(counts))


def _starts(counts: Counts) -> list[Figure]:
    """Returns what more adapters add to the time of `edgeadapt.load`."""
    import edgeadapt
    from benchmarks.models import crowd
    from benchmarks.timing import paired

    figures = []
    for count, path, target in ((crowd.ASKED, crowd.smaller(crowd.ASKED), 1.02), (crowd.KNOWN, crowd.bundle(), None)):
        name = f"opening a bundle: {count:,} adapters / {crowd.FEW}"
        timing = paired(
            name,
            partial(edgeadapt.load, path, threads=THREADS),
            partial(edgeadapt.load, crowd.smaller(crowd.FEW), threads=THREADS),
            counts,
        )
        figures.append(timing.figure(name, target))
    return figures


def _rates(counts: Counts) -> list[Figure]:
    from benchmarks.models import crowd
    from benchmarks.timing import quartiles

    session = _session(crowd.BUDGETED, threads=1)
    single = _session(crowd.BUDGETED, threads=THREADS)
    first, again = (_reading(each) for each in (session, session))
    _reading(single)
    asked = crowd.requests(counts.warm + counts.runs * counts.rounds)
    latencies: dict[str, list[float]] = {"crowd": [], "one": [], "loop": []}
    rates: dict[str, list[float]] = {"crowd": [], "one": [], "loop": []}
    with _batcher(session) as batcher:
        ways: dict[str, Callable[[Sequence[Request]], list[float]]] = {
            "crowd": lambda some: _batched(batcher, some, None),
            "one": lambda some: _batched(batcher, some, 0),
            "loop": lambda some: _looped(single, some),
        }
        for run in ways.values():
            run(asked[: counts.warm])
        for index in range(counts.rounds):
            some = asked[counts.warm + index * counts.runs :][: counts.runs]
            for way in (*ways, *ways)[index % 3 :][:3]:
                start = time.perf_counter()
                found = ways[way](some)
                rates[way].append(len(some) / (time.perf_counter() - start))
                latencies[way].extend(found)
            print(
                f"  serving, round {index + 1}: { ({way: round(each[-1]) for way, each in rates.items()}) }", flush=True
            )
    stats = session.stats()
    raw = {
        "requests_per_s": {way: median(each) for way, each in rates.items()},
        "latency_ms": {way: np.percentile(each, (50, 99)).tolist() for way, each in latencies.items() if each},
        "adapters_read": stats.loaded,
        "adapters_evicted": stats.evicted,
        "counts": f"{counts.rounds} rounds of {counts.runs} requests",
    }
    figures = []
    for name, one, other, target in (
        ("requests/s: one adapter / 1,000 adapters", "one", "crowd", 1 / 0.9),
        ("requests/s: one at a time / through the batcher", "loop", "crowd", 1 / 1.5),
    ):
        ratios = tuple(a / b for a, b in zip(rates[one], rates[other], strict=True))
        figures.append(Figure(name, median(ratios), "ratio", target, quartiles(ratios), raw))
    for way, title in (("crowd", "1,000 adapters"), ("one", "one adapter")):
        for share, kind in ((50, "median"), (99, "99th percentile")):
            value = float(np.percentile(latencies[way], share))
            figures.append(Figure(f"latency, {kind}: {title}", value, "ms", None, None, {}))
    for title, value in (("for the first time", first), ("again", again)):
        figures.append(Figure(f"reading an adapter {title}", value, "ms", None, None, {}))
    return figures


def _session(adapters: int, threads: int) -> Session:
    """Returns a session with room for so many adapters."""
    import edgeadapt
    from benchmarks.models import crowd

    return edgeadapt.load(crowd.bundle(), threads=threads, adapter_memory=adapters * crowd.adapter_bytes())


def _batcher(session: Session) -> Batcher:
    import edgeadapt

    return edgeadapt.Batcher(session, max_batch=MAX_BATCH, workers=THREADS)


def _reading(session: Session) -> float:
    """Reads each adapter that is asked for, and returns how long one takes, in ms."""
    from benchmarks.models import crowd

    times = []
    for number in range(crowd.ASKED):
        start = time.perf_counter()
        session.adapter(crowd.name(number))
        times.append((time.perf_counter() - start) * 1000)
    return median(times)


def _batched(batcher: Batcher, some: Sequence[Request], adapter: int | None) -> list[float]:
    """Runs requests from eight threads, and returns how long each took, in ms."""
    from benchmarks.models.crowd import name

    def client(own: Sequence[Request]) -> list[float]:
        times: list[float] = []
        under_way: deque[Future[Any]] = deque()

        def done(start: float) -> Callable[[Future[Any]], None]:
            return lambda _: times.append((time.perf_counter() - start) * 1000)

        for request in own:
            if len(under_way) == UNDER_WAY:
                under_way.popleft().result()
            chosen = name(request.adapter if adapter is None else adapter)
            start = time.perf_counter()
            future = batcher.submit(request.inputs, chosen)
            future.add_done_callback(done(start))
            under_way.append(future)
        for future in under_way:
            future.result()
        return times

    with ThreadPoolExecutor(CLIENTS) as pool:
        parts = pool.map(client, [some[index::CLIENTS] for index in range(CLIENTS)])
        return [each for part in parts for each in part]


def _looped(session: Session, some: Sequence[Request]) -> list[float]:
    from benchmarks.models.crowd import name

    for request in some:
        session.run(request.inputs, name(request.adapter))
    return []


def _memory(counts: Counts) -> list[Figure]:
    """Returns what a crowd takes beyond one adapter, over the budget; each time in a new process."""
    from benchmarks.timing import quartiles

    rounds = [answer(["-m", __spec__.name, "crowd"]) for _ in range(min(counts.rounds, 3))]
    ratios = tuple(each["taken"] / each["budget"] for each in rounds)
    raw = {"rounds": rounds, "counts": f"{len(rounds)} new processes"}
    return [Figure("memory of 1,000 adapters - of one / budget", median(ratios), "ratio", 1.1, quartiles(ratios), raw)]


def _others(counts: Counts) -> list[Figure]:

    figures = []
    for way, title in (
        ("ours", "edgeadapt, 64 adapters"),
        ("peft", "PEFT, 64 adapters, mixed batches"),
        ("peft-switching", "PEFT, 64 adapters, set_adapter"),
        ("merged", "16 merged sessions"),
    ):
        found = answer(["-m", __spec__.name, way])
        print(f"  serving, {way}: {found}", flush=True)
        figures.append(Figure(f"requests/s: {title}", found["requests_per_s"], "1/s", None, None, found))
        figures.append(Figure(f"memory: {title}", found["mb"], "MB", None, None, found))
    return figures


def _crowd() -> dict[str, float]:
    from benchmarks.models import crowd

    budget = crowd.BUDGETED * crowd.adapter_bytes()
    session = _session(crowd.BUDGETED, threads=1)
    asked = crowd.requests(3000)
    with _batcher(session) as batcher:
        for _ in range(2):  # the second time, what runs of any length take is there
            _batched(batcher, asked, 0)
        before = memory_kb("VmRSS")
        held: list[int] = []
        done = threading.Event()

        def look() -> None:
            while not done.wait(0.01):
                held.append(session.stats().bytes)

        watch = threading.Thread(target=look)
        watch.start()
        _batched(batcher, asked, None)
        done.set()
        watch.join()
    taken = (memory_kb("VmRSS") - before) * 1024
    return {"taken": taken, "budget": budget, "most_held": max(held)}


def _ours() -> dict[str, float]:
    import edgeadapt  # noqa: F401  what was imported is not counted
    from benchmarks.models import crowd

    before = memory_kb("VmRSS")
    session = _session(crowd.BUDGETED + 2 * MAX_BATCH, threads=1)
    asked = crowd.requests(800, crowd.BUDGETED)
    with _batcher(session) as batcher:
        _batched(batcher, asked[:200], None)
        start = time.perf_counter()
        _batched(batcher, asked[200:], None)
        took = time.perf_counter() - start
    return _found(600, took, before)


def _peft(*, mixed: bool) -> dict[str, float]:
    """Runs the requests in PEFT: in batches as they come, an adapter for each row, or one by one."""
    import peft
    import torch
    import transformers

    from benchmarks.models import crowd

    torch.set_num_threads(THREADS)
    transformers.logging.set_verbosity_error()
    before = memory_kb("VmRSS")
    base, adapter = crowd.checkpoints()
    model = transformers.AutoModelForSequenceClassification.from_pretrained(base, num_labels=2)
    wrapped = peft.PeftModel.from_pretrained(model, str(adapter), adapter_name=crowd.name(0))
    for number in range(1, crowd.BUDGETED):
        wrapped.load_adapter(str(adapter), crowd.name(number))
    wrapped.eval()
    asked = crowd.requests(800, crowd.BUDGETED)
    width = MAX_BATCH if mixed else 1
    took = 0.0
    with torch.inference_mode():
        for begin in range(0, len(asked), width):
            some = asked[begin : begin + width]
            start = time.perf_counter()
            longest = max(request.inputs["input_ids"].shape[1] for request in some)
            rows = {
                name: torch.from_numpy(
                    np.concatenate(
                        [
                            np.pad(each.inputs[name], ((0, 0), (0, longest - each.inputs[name].shape[1])))
                            for each in some
                        ]
                    )
                )
                for name in some[0].inputs
            }
            if mixed:
                wrapped(**rows, adapter_names=[crowd.name(each.adapter) for each in some])
            else:
                wrapped.set_adapter(crowd.name(some[0].adapter))
                wrapped(**rows)
            took += time.perf_counter() - start if begin >= 200 else 0.0
    return _found(len(asked) - -(-200 // width) * width, took, before)


def _merged() -> dict[str, float]:
    """Runs the requests in sessions on merged models, one for each adapter."""
    from benchmarks.models import crowd
    from benchmarks.sessions import plain

    before = memory_kb("VmRSS")
    sessions = [plain(crowd.merged(), spinning=False) for _ in range(crowd.MERGED)]
    asked = crowd.requests(800, crowd.MERGED)
    for index, request in enumerate(asked):
        if index == 200:
            start = time.perf_counter()
        sessions[request.adapter].run(None, dict(request.inputs))
    return _found(600, time.perf_counter() - start, before)


def _found(count: int, took: float, before: int) -> dict[str, float]:
    return {"requests_per_s": count / took, "mb": (memory_kb("VmRSS") - before) * 1024 / 1e6}


if __name__ == "__main__":
    ways: dict[str, Callable[[], dict[str, float]]] = {
        "crowd": _crowd,
        "ours": _ours,
        "peft": lambda: _peft(mixed=True),
        "peft-switching": lambda: _peft(mixed=False),
        "merged": _merged,
    }
    print(json.dumps(ways[sys.argv[1]]()))

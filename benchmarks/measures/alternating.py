"""What it costs to take another adapter on every call."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

import onnxruntime

from benchmarks.models import bert
from benchmarks.results import Figure
from benchmarks.sessions import Inputs, call, switchable
from benchmarks.settings import SHORT_RUNS, Counts, Settings
from benchmarks.timing import paired, quartiles
from edgeadapt.runtime import Session

TITLE = "Another adapter on every call against the same one"
HOW = (
    "`edgeadapt.Session.run` with two adapters in turn, and with one of them only. Own time is what a run takes beside "
    "ONNX Runtime's `run_with_ort_values`: checks, the choice of the adapter, the binding of its 50 arrays. Between "
    "runs of 1 x 128, which leave nothing in the processor's caches, it is most of all the fetching of Python's own "
    "code; so it is measured in a row, too, with answers that are there already in place of ONNX Runtime's."
)


def measure(settings: Settings) -> tuple[Figure, ...]:
    """Returns alternating / staying, and the own time of both."""
    models = bert.paths()
    session = switchable(models.bundle, models.others)
    inputs = bert.inputs(1)
    counts = settings.counts(SHORT_RUNS)
    turns = itertools.cycle(bert.ADAPTERS[:2])
    timing = paired(
        "alternating / staying",
        lambda: session.run(inputs, adapter=next(turns)),
        call(session, inputs, bert.ADAPTERS[0]),
        counts,
    )
    return (timing.figure("alternating / staying, 1 x 128", 1.02), *_own(session, inputs, counts))


class _Watched:
    """A model that tells how long its last run took; once it is `still`, it answers at once, as it did last."""

    def __init__(self, model: onnxruntime.InferenceSession) -> None:
        self.took_ns = 0
        self.still = False
        self._model = model
        self._last: Any = None

    def run_with_ort_values(self, outputs: Sequence[str], feeds: Mapping[str, onnxruntime.OrtValue]) -> Any:
        start = time.perf_counter_ns()
        if not self.still:
            self._last = self._model.run_with_ort_values(outputs, feeds)
        self.took_ns = time.perf_counter_ns() - start
        return self._last


def _own(session: Session, inputs: Inputs, counts: Counts) -> Iterator[Figure]:
    model = session._model = _Watched(session._model)
    sites = len({slot.site for slot in session.manifest.slots if slot.method == "lora"})
    for still, when, target in ((False, "between runs of 1 x 128", None), (True, "in a row", 20.0)):
        model.still = still
        turning, staying = _rounds(session, model, inputs, counts)
        raw = {"rounds_turning_us": turning, "rounds_staying_us": staying, "counts": str(counts)}
        name = f"own time of a run, {sites} sites, another adapter each time, {when}"
        yield Figure(name, median(turning), "us", target, quartiles(turning), raw)
        more = tuple(ours - theirs for ours, theirs in zip(turning, staying, strict=True))
        yield Figure(f"of which for the other adapter, {when}", median(more), "us", 20.0, quartiles(more), {})


def _rounds(
    session: Session, model: _Watched, inputs: Inputs, counts: Counts
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns the own time of runs with two adapters in turn and with one, the median of each round, in us."""

    def block(names: Sequence[str]) -> float:
        times = []
        for index, name in zip(range(counts.warm + counts.runs), itertools.cycle(names), strict=False):
            start = time.perf_counter_ns()
            session.run(inputs, adapter=name)
            if index >= counts.warm:
                times.append((time.perf_counter_ns() - start - model.took_ns) / 1000)
        return median(times)

    pairs = [(block(bert.ADAPTERS[:2]), block(bert.ADAPTERS[:1])) for _ in range(counts.rounds)]
    return tuple(turning for turning, _ in pairs), tuple(staying for _, staying in pairs)

"""What slots cost when no adapter is in them: `none` against the base as it was before it had any."""

from __future__ import annotations

from benchmarks.models import bert
from benchmarks.results import Figure
from benchmarks.sessions import call, call_plain, plain, switchable
from benchmarks.settings import LONG_RUNS, SHORT_RUNS, Settings
from benchmarks.timing import paired

TITLE = "No adapter against the plain base"
HOW = (
    "`edgeadapt.Session.run` with `adapter=None`, and the bundle's `base.onnx`, which has no slots, through "
    "`onnxruntime.InferenceSession.run`. The last figure is the same `base.onnx` in two sessions: what differs "
    "there is the machine, and so is as much of any other ratio."
)


def measure(settings: Settings) -> tuple[Figure, ...]:
    """Returns none / base at both batch sizes, and base / base."""
    models = bert.paths()
    session, base = switchable(models.bundle), plain(models.bundle / "base.onnx")
    figures = []
    for rows, usual in ((1, SHORT_RUNS), (8, LONG_RUNS)):
        inputs = bert.inputs(rows)
        name = f"none / base, {rows} x 128"
        timing = paired(name, call(session, inputs, None), call_plain(base, inputs), settings.counts(usual))
        figures.append(timing.figure(name, 1.02))
    del session
    inputs, twin = bert.inputs(1), plain(models.bundle / "base.onnx")
    name = "base / base in another session, 1 x 128"
    timing = paired(name, call_plain(twin, inputs), call_plain(base, inputs), settings.counts(SHORT_RUNS))
    return (*figures, timing.figure(name, None))

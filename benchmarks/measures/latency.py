"""What it costs to keep an adapter switchable: a run with slots against a run with the adapter in the weights."""

from __future__ import annotations

from benchmarks.models import bert
from benchmarks.results import Figure
from benchmarks.sessions import call, call_plain, plain, switchable
from benchmarks.settings import LONG_RUNS, SHORT_RUNS, Settings
from benchmarks.timing import paired

TITLE = "Switchable against folded"
HOW = (
    "The same adapter twice: switched, through `edgeadapt.Session.run`, and folded into one ONNX file, through "
    "`onnxruntime.InferenceSession.run`."
)


def measure(settings: Settings) -> tuple[Figure, ...]:
    """Returns switch / fold at both batch sizes."""
    models = bert.paths()
    session, folded = switchable(models.bundle), plain(models.folded)
    figures = []
    for rows, usual in ((1, SHORT_RUNS), (8, LONG_RUNS)):
        inputs = bert.inputs(rows)
        name = f"switch / fold, {rows} x 128"
        timing = paired(
            name, call(session, inputs, bert.ADAPTERS[0]), call_plain(folded, inputs), settings.counts(usual)
        )
        figures.append(timing.figure(name, 1.03))
    return tuple(figures)

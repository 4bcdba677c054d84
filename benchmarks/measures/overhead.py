"""What each method costs while it is switched on, against the plain base, beside its share of the multiplications."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.models import bert, methods
from benchmarks.results import Figure
from benchmarks.sessions import call_plain, plain
from benchmarks.settings import Counts, Settings
from benchmarks.timing import paired

TITLE = "Each method against the plain base"
HOW = (
    "The base with one method's slots, filled with an adapter, against `base.onnx`, both through "
    "`onnxruntime.InferenceSession.run` at 1 x 128. Beside each ratio stands the method's share of the base's "
    "multiplications: what is over it goes into starting small operators."
)
USUAL = Counts(rounds=7, warm=5, runs=30)


def measure(settings: Settings) -> tuple[Figure, ...]:
    """Returns method / base for every case."""
    base, inputs = plain(bert.paths().bundle / "base.onnx"), bert.inputs(1)
    figures = []
    for case in methods.CASES:
        switched = methods.switched(case)
        session = plain(switched.model)
        name = f"{case.title} / base (share {switched.share:.1%})"
        timing = paired(
            name,
            call_plain(session, {**inputs, **switched.params}),
            call_plain(base, inputs),
            settings.counts(USUAL),
        )
        figure = timing.figure(name, case.target)
        figures.append(replace(figure, raw={**figure.raw, "multiplications_share": switched.share}))
        del session
        switched.model.unlink()
    return tuple(figures)

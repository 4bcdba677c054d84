"""What it costs to take another adapter on every call."""

from __future__ import annotations

import itertools

from benchmarks.models import bert
from benchmarks.results import Figure
from benchmarks.sessions import call, switchable
from benchmarks.settings import SHORT_RUNS, Settings
from benchmarks.timing import paired

TITLE = "Another adapter on every call against the same one"
HOW = "`edgeadapt.Session.run` with two adapters in turn, and with one of them only."


def measure(settings: Settings) -> tuple[Figure, ...]:
    """Returns alternating / staying."""
    models = bert.paths()
    session = switchable(models.bundle, models.others)
    inputs = bert.inputs(1)
    turns = itertools.cycle(bert.ADAPTERS[:2])
    timing = paired(
        "alternating / staying",
        lambda: session.run(inputs, adapter=next(turns)),
        call(session, inputs, bert.ADAPTERS[0]),
        settings.counts(SHORT_RUNS),
    )
    return (timing.figure("alternating / staying, 1 x 128", 1.02),)

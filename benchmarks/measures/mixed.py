"""What it costs when every row of a batch has an adapter of its own."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.models import bert
from benchmarks.results import Figure
from benchmarks.sessions import call, switchable
from benchmarks.settings import LONG_RUNS, Counts, Settings
from benchmarks.timing import paired

TITLE = "Eight adapters in one batch against one"
HOW = (
    "`edgeadapt.Session.run` with a list of eight names: eight different ones, and eight times the same. The session "
    "keeps the stacks of adapters that it made last, so the first figure is for a batch whose composition comes back; "
    "in the second, every batch has a composition that was not there before."
)
ROWS = 8
TOLD = Counts(rounds=3, warm=1, runs=6)
"""Of the figure without a target."""


def measure(settings: Settings) -> tuple[Figure, ...]:
    """Returns mixed / uniform with a composition that stays, and with new ones."""
    models = bert.paths()
    session = switchable(models.bundle, models.others)
    inputs = bert.inputs(ROWS)
    uniform = call(session, inputs, [bert.ADAPTERS[0]] * ROWS)
    same = call(session, inputs, list(bert.ADAPTERS[:ROWS]))
    kept = paired("mixed / uniform", same, uniform, settings.counts(LONG_RUNS))
    compositions = _compositions()
    new = paired(
        "new mix / uniform",
        lambda: session.run(inputs, adapter=next(compositions)),
        uniform,
        settings.counts(TOLD),
    )
    return (
        kept.figure("8 adapters / 1 adapter, 8 x 128", 1.05),
        new.figure("8 adapters, other ones in every batch / 1 adapter, 8 x 128", None),
    )


def _compositions() -> Iterator[list[str]]:
    """Yields eight adapters in an order drawn anew each time; of 7e15 orders, none comes back."""
    generator = np.random.default_rng(bert.SEED)
    while True:
        yield [str(name) for name in generator.permutation(bert.ADAPTERS)[:ROWS]]

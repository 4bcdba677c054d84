"""One file a measure; the file's name is the measure's."""

from __future__ import annotations

import importlib
from typing import Protocol, cast

from benchmarks.results import Figure
from benchmarks.settings import Settings

NAMES = ("latency", "none", "mixed", "alternating", "overhead", "memory", "add", "imports", "parity")
"""All measures, in the order in which they run."""


class Measure(Protocol):
    """What every module here has."""

    TITLE: str
    HOW: str

    def measure(self, settings: Settings) -> tuple[Figure, ...]:
        """Returns the figures; prints what it is at, as it takes a while."""
        ...


def get(name: str) -> Measure:
    """Returns the measure of this name."""
    return cast(Measure, importlib.import_module(f"benchmarks.measures.{name}"))

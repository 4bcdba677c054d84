"""Times two variants against each other, so that what disturbs one disturbs the other.

Each variant runs in blocks of consecutive calls, since the first ones after another model ran find its memory in the
caches. The blocks take turns for several rounds, and who goes first alternates, so that a machine that slows down or
speeds up on the way favours neither. Every round gives one ratio of two medians; the figure is the median of these.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

from benchmarks.results import Figure
from benchmarks.settings import Counts

Call = Callable[[], Any]


@dataclass(frozen=True, eq=False, slots=True)
class Started:
    """Calls that go on from one another, and what each block of them begins with, which is not timed."""

    start: Call
    call: Call


@dataclass(frozen=True, slots=True)
class Timing:
    """The medians of all rounds, in milliseconds."""

    variant_ms: tuple[float, ...]
    against_ms: tuple[float, ...]
    counts: Counts

    @property
    def ratios(self) -> tuple[float, ...]:
        """Each round's median of the variant over the median of what it is compared with."""
        return tuple(ours / theirs for ours, theirs in zip(self.variant_ms, self.against_ms, strict=True))

    def figure(self, name: str, target: float | None) -> Figure:
        """Returns the median of the ratios, to be at most `target`."""
        raw = {
            "variant_ms": median(self.variant_ms),
            "against_ms": median(self.against_ms),
            "rounds_variant_ms": self.variant_ms,
            "rounds_against_ms": self.against_ms,
            "rounds_ratio": self.ratios,
            "counts": str(self.counts),
        }
        return Figure(name, median(self.ratios), "ratio", target, quartiles(self.ratios), raw)


def paired(name: str, variant: Call | Started, against: Call | Started, counts: Counts) -> Timing:
    """Times `variant` against `against` in this process, and prints each round's ratio as it goes."""
    medians: dict[Call | Started, list[float]] = {variant: [], against: []}
    for index in range(counts.rounds):
        order = (variant, against) if index % 2 == 0 else (against, variant)
        for call in order:
            medians[call].append(median(block(call, counts)))
        ours, theirs = medians[variant][-1], medians[against][-1]
        print(f"  {name}, round {index + 1}: {ours:.1f} ms / {theirs:.1f} ms = {ours / theirs:.3f}", flush=True)
    return Timing(tuple(medians[variant]), tuple(medians[against]), counts)


def block(call: Call | Started, counts: Counts) -> list[float]:
    """Returns how long each counted call of one block took, in milliseconds."""
    if isinstance(call, Started):
        call.start()
        call = call.call
    for _ in range(counts.warm):
        call()
    times = []
    for _ in range(counts.runs):
        start = time.perf_counter_ns()
        call()
        times.append((time.perf_counter_ns() - start) / 1e6)
    return times


def quartiles(values: tuple[float, ...]) -> tuple[float, float]:
    """Returns the first and the third quartile; of one value itself, twice.

    Example:
        >>> quartiles((1.0, 2.0, 3.0, 4.0, 5.0))
        (2.0, 4.0)
    """
    if len(values) == 1:
        return values[0], values[0]
    first, _, third = quantiles(values, n=4, method="inclusive")
    return first, third

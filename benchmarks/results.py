"""What a measure found, as it is written to `benchmarks/results/` and read again for the table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One number that was measured.

    Attributes:
        name: What it is: `1 x 128, switch / fold`.
        value: The number, in `unit`.
        unit: `ratio`, `s`, `ms`, `us`, `MB`, `1/s`, or `abs error`.
        target: The most it may be, or None where it only tells something.
        quartiles: First and third quartile of what `value` is the median of, or None.
        raw: What it was computed from.
    """

    name: str
    value: float
    unit: str
    target: float | None
    quartiles: tuple[float, float] | None = None
    raw: Mapping[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without one."""
        return None if self.target is None else self.value <= self.target


@dataclass(frozen=True, slots=True)
class Result:
    """All figures of one measure.

    Attributes:
        name: The measure's, which is its file's.
        title: What it asks.
        how: How it was measured, in a sentence or a few.
        figures: The figures.
        machine: What it ran on: facts by name.
    """

    name: str
    title: str
    how: str
    figures: tuple[Figure, ...]
    machine: Mapping[str, Any]

    @property
    def met(self) -> bool:
        """Whether every figure that has a target meets it."""
        return all(figure.met is not False for figure in self.figures)

    def write(self, folder: Path) -> Path:
        """Writes `<name>.json` into `folder` and returns its path."""
        document = {"name": self.name, "title": self.title, "how": self.how, "verdict": _verdict(self.met)}
        figures = [{**asdict(figure), "verdict": _verdict(figure.met)} for figure in self.figures]
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.json"
        text = json.dumps({**document, "figures": _rounded(figures), "machine": self.machine}, indent=2)
        path.write_text(text + "\n", encoding="utf-8")
        return path


def read(path: Path) -> Result:
    """Reads what `Result.write` wrote; verdicts are drawn anew from values and targets."""
    document = json.loads(path.read_text(encoding="utf-8"))
    figures = []
    for each in document["figures"]:
        each.pop("verdict")
        spread = each.pop("quartiles")
        figures.append(Figure(**each, quartiles=spread and (spread[0], spread[1])))
    return Result(document["name"], document["title"], document["how"], tuple(figures), document["machine"])


def _verdict(met: bool | None) -> str | None:
    return None if met is None else "met" if met else "missed"


def _rounded(value: Any) -> Any:
    """Returns a document with its floats cut to five digits that count; more are noise."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, Mapping):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    return value

"""Bundles of the real all-MiniLM-L6-v2 with the adapters in `examples/adapters/`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.models.stamp import make_current
from benchmarks.settings import ADAPTERS, CACHE

FOLDER = CACHE / "bench-minilm"
NAMES = ("spam", "intents", "reviews")


@dataclass(frozen=True, slots=True)
class MiniLM:
    """Where the bundles lie: one with all adapters, one with the first alone, to which the others can be added."""

    bundle: Path
    small: Path


def prepare(model: Path) -> None:
    """Makes the bundles from the checkpoint at `model` where they are missing or out of date."""
    if not (model / "config.json").is_file():
        raise SystemExit(f"There is no all-MiniLM-L6-v2 at {model}: `make bench` downloads it, --minilm names another.")
    make_current(FOLDER, [Path(__file__), model, ADAPTERS], lambda folder: _make(folder, model))


def paths() -> MiniLM:
    """Returns where `prepare` has put them."""
    return MiniLM(FOLDER / "all", FOLDER / NAMES[0])


def _make(folder: Path, model: Path) -> None:
    import edgeadapt

    for name, members in (("all", NAMES), (NAMES[0], NAMES[:1])):
        edgeadapt.export(
            model,
            {each: ADAPTERS / each for each in members},
            folder / name,
            progress=lambda stage: print(f"  MiniLM: {stage}", flush=True),
        )

"""What a run of the benchmarks is told: where things lie, and how often to repeat."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".models"
BUILD = ROOT / "build"
MINILM = CACHE / "all-MiniLM-L6-v2"
SMOLLM = CACHE / "SmolLM2-135M-Instruct"
RESULTS = ROOT / "benchmarks" / "results"
DOCUMENT = ROOT / "docs" / "benchmarks.md"
ADAPTERS = ROOT / "examples" / "adapters"

THREADS = 2
"""Threads that share one operator, in every session that is timed."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How often something is repeated: in each round, every variant runs `warm` times uncounted, then `runs` times."""

    rounds: int
    warm: int
    runs: int

    def __str__(self) -> str:
        """Returns the counts in words."""
        return f"{self.rounds} rounds, in each {self.warm} runs to warm and {self.runs} counted of every variant"


SHORT_RUNS = Counts(rounds=11, warm=5, runs=30)
"""For runs of around 0.1 s, a batch of 1 x 128."""
LONG_RUNS = Counts(rounds=7, warm=2, runs=5)
"""For runs of around a second, a batch of 8 x 128."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of the command line.

    Attributes:
        minilm: Folder of all-MiniLM-L6-v2, which `make` downloads.
        smollm: Folder of SmolLM2-135M-Instruct, or of another Llama.
        rounds: Goes over the rounds of every measure; None leaves them.
        runs: Goes over the counted runs of every measure, and bounds those to warm; None leaves them.
    """

    minilm: Path = MINILM
    smollm: Path = SMOLLM
    rounds: int | None = None
    runs: int | None = None

    def counts(self, usual: Counts) -> Counts:
        """Returns the counts to use where `usual` are the measure's own."""
        runs = self.runs or usual.runs
        return Counts(self.rounds or usual.rounds, min(usual.warm, runs), runs)

"""What `memory="low"` saves, and what a run pays for it.

Run by itself, this file is the process that is measured: `python -m benchmarks.measures.low_memory fast|low FOLDER`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.processes import answer, memory_kb
from benchmarks.results import Figure
from benchmarks.settings import LONG_RUNS, SHORT_RUNS, THREADS, Counts, Settings

if TYPE_CHECKING:
    from edgeadapt.runtime import Session
    from edgeadapt.runtime.provider import MemoryMode

TITLE = "Little memory"
HOW = (
    'BERT-base in fp32 with one adapter, opened with `memory="low"` and with `memory="fast"`. Memory is that of two '
    "processes after three runs of 1 x 128: `private` is what nobody else can use (`RssAnon`), `resident` is all "
    "(`VmRSS`), pages of the mapped file included, which the system takes back when it needs them."
)
USUAL = Counts(rounds=3, warm=0, runs=1)
KINDS = {"private": "RssAnon", "resident": "VmRSS"}


def measure(settings: Settings) -> tuple[Figure, ...]:
    """Returns memory and time of `low` over those of `fast`."""
    from benchmarks.models import bert
    from benchmarks.sessions import call
    from benchmarks.timing import paired, quartiles

    folder = bert.paths().bundle
    rounds = []
    for _ in range(settings.counts(USUAL).rounds):
        rounds.append({mode: answer(["-m", __spec__.name, mode, str(folder)]) for mode in ("low", "fast")})
        print(f"  low_memory: {rounds[-1]}", flush=True)
    figures = []
    for kind in KINDS:
        ratios = tuple(each["low"][kind] / each["fast"][kind] for each in rounds)
        raw = {f"{mode}_mb": median(each[mode][kind] for each in rounds) for mode in ("low", "fast")}
        figures.append(Figure(f"{kind} memory: low / fast", median(ratios), "ratio", None, quartiles(ratios), raw))
    low, fast = (_session(folder, mode) for mode in ("low", "fast"))
    for rows, length, usual in ((1, 16, SHORT_RUNS), (1, 128, SHORT_RUNS), (8, 128, LONG_RUNS)):
        name = f"low / fast, {rows} x {length}"
        inputs = bert.inputs(rows, length)
        ours, against = (call(session, inputs, bert.ADAPTERS[0]) for session in (low, fast))
        figures.append(paired(name, ours, against, settings.counts(usual)).figure(name, None))
    return tuple(figures)


def _session(folder: Path, mode: MemoryMode) -> Session:
    import edgeadapt

    return edgeadapt.load(folder, threads=THREADS, memory=mode)


def _taken(mode: MemoryMode, folder: Path) -> dict[str, float]:
    """Returns what a process has in memory that has opened the bundle and run it, in MB."""
    from benchmarks.models import bert

    session = _session(folder, mode)
    for _ in range(3):
        session.run(bert.inputs(1), adapter=bert.ADAPTERS[0])
    return {kind: memory_kb(name) * 1024 / 1e6 for kind, name in KINDS.items()}


if __name__ == "__main__":
    mode: MemoryMode = "low" if sys.argv[1] == "low" else "fast"
    print(json.dumps(_taken(mode, Path(sys.argv[2]))))

"""The command line of the benchmarks: `python -m benchmarks [MEASURE ...]`.

Every measure runs in a process of its own, one after the other, and its results are written as soon as it is done; so
what one imports or leaves in memory disturbs no other, and a failure costs one measure.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

import click

from benchmarks import measures
from benchmarks.processes import QUIET
from benchmarks.results import Result
from benchmarks.settings import DOCUMENT, MINILM, RESULTS, ROOT, Settings

P = ParamSpec("P")
T = TypeVar("T")


@click.command(
    epilog="""\b
Examples:
  python -m benchmarks
  python -m benchmarks latency imports
  python -m benchmarks table
  python -m benchmarks --rounds 1 --runs 2 --results build/bench   # only to see that it works
"""
)
@click.argument("names", metavar="[MEASURE ...]", nargs=-1, type=click.Choice([*measures.NAMES, "table"]))
@click.option("--minilm", type=click.Path(path_type=Path), default=MINILM, help="Folder of all-MiniLM-L6-v2.")
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, help="Folder to write results to.")
@click.option("--rounds", type=click.IntRange(min=1), help="Rounds of every measure, in place of its own.")
@click.option("--runs", type=click.IntRange(min=1), help="Counted runs of every measure, in place of its own.")
def main(names: tuple[str, ...], minilm: Path, results: Path, rounds: int | None, runs: int | None) -> None:
    """Measure all, or the measures named, and write the results; `table` writes docs/benchmarks.md from them.

    Results that go to the usual folder are put into the table too. A missed target is no failure; a crash is one.
    """
    for key, value in QUIET.items():
        os.environ.setdefault(key, value)
    settings = Settings(minilm.resolve(), rounds, runs)
    wanted = [name for name in names or measures.NAMES if name != "table"]
    failed = not _prepared(wanted, settings)
    for name in [] if failed else wanted:
        failed |= not _measured(name, settings, results)
    if results.resolve() == RESULTS or "table" in names:
        from benchmarks import table

        DOCUMENT.write_text(table.document(table.load(results)), encoding="utf-8")
        click.echo(f"wrote {DOCUMENT.relative_to(ROOT)}")
    sys.exit(failed)


def _prepared(names: list[str], settings: Settings) -> bool:
    """Makes the models that are missing or out of date, so that no measure runs where torch has been at work."""
    try:
        if {"latency", "none", "mixed", "alternating", "memory"} & set(names):
            _apart(_prepare_bert)
        if {"add", "parity"} & set(names):
            _apart(_prepare_minilm, settings.minilm)
    except Exception:
        traceback.print_exc()
        return False
    return True


def _prepare_bert() -> None:
    from benchmarks.models import bert

    bert.prepared()


def _prepare_minilm(model: Path) -> None:
    from benchmarks.models import minilm

    minilm.prepared(model)


def _measured(name: str, settings: Settings, results: Path) -> bool:
    """Runs one measure and writes what it found; False where it crashed."""
    start = time.monotonic()
    click.echo(f"{name}: {measures.get(name).TITLE}")
    try:
        result = _apart(_measure, name, settings)
    except Exception:
        traceback.print_exc()
        return False
    result.write(results)
    for figure in result.figures:
        target = "" if figure.target is None else f", target {figure.target:g}: {'met' if figure.met else 'MISSED'}"
        click.echo(f"  {figure.name}: {figure.value:.4g} {figure.unit}{target}")
    click.echo(f"  took {time.monotonic() - start:.0f} s")
    return True


def _measure(name: str, settings: Settings) -> Result:
    from benchmarks.machine import facts

    machine = facts()
    module = measures.get(name)
    return Result(name, module.TITLE, module.HOW, module.measure(settings), machine)


def _apart(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Returns what `function` returns in a new process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *args, **kwargs).result()


if __name__ == "__main__":
    main()

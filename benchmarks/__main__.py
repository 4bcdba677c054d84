"""The command line of the benchmarks: `python -m benchmarks [MEASURE ...]`."""

from __future__ import annotations

import os
import sys
import time
import traceback
from pathlib import Path

import click

from benchmarks import measures, running, table
from benchmarks.processes import QUIET
from benchmarks.settings import DOCUMENT, MINILM, RESULTS, ROOT, SMOLLM, Settings


@click.command(
    epilog="""\b
Examples:
  python -m benchmarks
  python -m benchmarks latency imports
  python -m benchmarks generate generate_memory
  python -m benchmarks table
  python -m benchmarks --rounds 1 --runs 2 --results build/bench   # only to see that it works
"""
)
@click.argument("names", metavar="[MEASURE ...]", nargs=-1, type=click.Choice([*measures.NAMES, "table"]))
@click.option("--minilm", type=click.Path(path_type=Path), default=MINILM, help="Folder of all-MiniLM-L6-v2.")
@click.option("--smollm", type=click.Path(path_type=Path), default=SMOLLM, help="Folder of SmolLM2-135M-Instruct.")
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, help="Folder to write results to.")
@click.option("--rounds", type=click.IntRange(min=1), help="Rounds of every measure, in place of its own.")
@click.option("--runs", type=click.IntRange(min=1), help="Counted runs of every measure, in place of its own.")
def main(
    names: tuple[str, ...], minilm: Path, smollm: Path, results: Path, rounds: int | None, runs: int | None
) -> None:
    """Measure, and write the results; `table` writes docs/benchmarks.md from them.

    All measures are taken but for those of a decoder, or the ones that are named.

    Results that go to the usual folder are put into the table too. A missed target is no failure; a crash is one.
    """
    for key, value in QUIET.items():
        os.environ.setdefault(key, value)
    settings = Settings(minilm.resolve(), smollm.resolve(), rounds, runs)
    wanted = [name for name in names or measures.USUAL if name != "table"]
    running.prepare(wanted, settings)
    failed = [name for name in wanted if not _measured(name, settings, results)]
    if results.resolve() == RESULTS or "table" in names:
        DOCUMENT.write_text(table.document(table.load(results)), encoding="utf-8")
        click.echo(f"wrote {DOCUMENT.relative_to(ROOT)}")
    if failed:
        sys.exit(f"crashed: {', '.join(failed)}")


def _measured(name: str, settings: Settings, results: Path) -> bool:
    """Runs one measure and writes what it found at once; False where it crashed, which costs no other measure."""
    start = time.monotonic()
    click.echo(f"{name}:")
    try:
        result = running.run(name, settings)
    except Exception:
        traceback.print_exc()
        return False
    result.write(results)
    for figure in result.figures:
        target = "" if figure.target is None else f", target {figure.target:g}: {'met' if figure.met else 'MISSED'}"
        click.echo(f"  {figure.name}: {figure.value:.4g} {figure.unit}{target}")
    share = result.machine["others_share"]
    others = "" if share is None else f"; others took {share:.0%} of the processor meanwhile"
    click.echo(f"  took {time.monotonic() - start:.0f} s{others}")
    return True


if __name__ == "__main__":
    main()

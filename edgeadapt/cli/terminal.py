"""What a terminal shows: tables on standard output; stages that take over a second on standard error."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

    from edgeadapt.parity import ParityReport

PATIENCE_S = 1.0
"""How long a stage may take before a line says so, where there is no terminal to turn a spinner on."""

_PLAIN_WIDTH = 250  # of a table in a pipe or file, which has no edge to wrap at


@contextmanager
def stages() -> Iterator[Callable[[str], None]]:
    """Yields a function that is told each stage as it begins."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.text import Text

        # As Text: a spinner would take square brackets in a str for markup.
        with Console(stderr=True).status(Text("starting ...")) as status:
            yield lambda stage: status.update(Text(f"{stage} ..."))
        return
    timers: list[threading.Timer] = []

    def begin(stage: str) -> None:
        for timer in timers:
            timer.cancel()
        timers[:] = [threading.Timer(PATIENCE_S, click.echo, (f"{stage} ...",), {"err": True})]
        timers[0].daemon = True
        timers[0].start()

    try:
        yield begin
    finally:
        for timer in timers:
            timer.cancel()


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints a table under a title; columns of numbers are set to the right. Without column names it has no head."""
    from rich import box
    from rich.table import Table

    lines = [tuple(row) for row in rows]
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, show_header=any(columns))
    for index, column in enumerate(columns):
        numeric = index > 0 and any(columns) and all(_is_number(row[index]) for row in lines)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in lines:
        table.add_row(*row)
    console = _console()
    console.print(title, style="bold")
    console.print(table)
    console.print()


def show_reports(title: str, reports: Sequence[ParityReport]) -> None:
    """Prints parity reports as a table."""
    from edgeadapt.parity import COLUMNS, table

    show_table(title, COLUMNS, table(reports))


def show_json(document: Any, indent: int | None = 2) -> None:
    """Prints a JSON document; arrays of numpy become lists."""
    click.echo(json.dumps(document, indent=indent, ensure_ascii=False, default=lambda array: array.tolist()))


def show_pieces(pieces: Iterable[str]) -> None:
    """Prints a text in pieces, each at once, and ends the line."""
    for piece in pieces:
        click.echo(piece, nl=False)
    click.echo()


def say(text: str) -> None:
    """Prints a line."""
    click.echo(text)


def size(count: int) -> str:
    """Returns a number of bytes to three digits.

    Example:
        >>> size(512), size(91_226_112)
        ('512 B', '91.2 MB')
    """
    number = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000 or unit == "GB":
            break
        number /= 1000
    return f"{number:.3g} {unit}"


def _console() -> Console:
    from rich.console import Console

    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _PLAIN_WIDTH
    # No markup: names and labels may hold anything, square brackets too.
    return Console(width=width, markup=False, highlight=False, emoji=False)


def _is_number(text: str) -> bool:
    return text == "-" or text[:1].isdigit()

"""Options that several commands share, and how their texts are taken apart."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from edgeadapt.parity import Tolerance

F = TypeVar("F", bound=Callable[..., Any])

FOLDER = click.Path(path_type=Path)
"""A path that is not looked at here: what is wrong with it is said by who opens it."""

PROBLEM_TYPES = "regression, single_label_classification or multi_label_classification"
"""The problem types, for help texts: their home imports numpy."""

_DEBUG = "edgeadapt.debug"


def is_debugging(ctx: click.Context) -> bool:
    """Returns whether `--debug` was given, before or after the command's name."""
    return bool(ctx.find_root().meta.get(_DEBUG, False))


def debug_option(command: F) -> F:
    """Adds `--debug`, and sets up what is logged: notes for the user, and everything where debugging."""

    def keep(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        root = ctx.find_root()
        root.meta[_DEBUG] = value or root.meta.get(_DEBUG, False)
        _log_to_stderr(logging.DEBUG if root.meta[_DEBUG] else logging.WARNING)

    return click.option(
        "--debug",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=keep,
        help="Show the traceback of an error, and log what is done.",
    )(command)


class _Echo(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        click.echo(f"{record.levelname.lower()}: {record.getMessage()}", err=True)


_HANDLER = _Echo()


def _log_to_stderr(level: int) -> None:
    log = logging.getLogger("edgeadapt")
    log.setLevel(level)
    if _HANDLER not in log.handlers:
        log.addHandler(_HANDLER)


def provider_option(command: F) -> F:
    """Adds `--provider`."""
    return click.option(
        "--provider",
        type=click.Choice(["cpu", "cuda", "auto"]),
        default="cpu",
        show_default=True,
        help="Where the model runs; auto is CUDA where it works, else the CPU.",
    )(command)


def gate_options(command: F) -> F:
    """Adds what the parity gate holds adapters to."""
    for option in reversed(
        (
            click.option(
                "--max-abs",
                type=click.FloatRange(min=0, min_open=True),
                metavar="NUMBER",
                help="Largest absolute error that passes.  [default: 0.0001]",
            ),
            click.option(
                "--effect-fraction",
                type=click.FloatRange(min=0, min_open=True),
                metavar="NUMBER",
                help="Largest error that passes as a share of the adapter's effect.  [default: 0.01]",
            ),
        )
    ):
        command = option(command)
    return command


def trust_options(command: F) -> F:
    """Adds what lets an adapter in that is refused otherwise."""
    command = click.option(
        "--allow-pickle",
        is_flag=True,
        help="Read adapters from .bin files, which can run code when they are loaded. For adapters you trust.",
    )(command)
    return click.option(
        "--allow-no-effect", is_flag=True, help="Let adapters pass that don't move the base's outputs."
    )(command)


def json_option(command: F) -> F:
    """Adds `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")(command)


def pairs(ctx: click.Context, parameter: click.Parameter, values: Iterable[str]) -> dict[str, str]:
    """Returns `NAME=VALUE` texts as a dict; what is wrong with any of them is said at once."""
    found: dict[str, str] = {}
    problems = []
    for text in values:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            problems.append(f"{text!r} is not {parameter.metavar}")
        elif name in found:
            problems.append(f"{name!r} is given twice")
        else:
            found[name] = value
    if problems:
        raise click.BadParameter("; ".join(problems), ctx=ctx, param=parameter)
    return found


def ranks(ctx: click.Context, parameter: click.Parameter, values: Iterable[str]) -> dict[str | None, int]:
    """Returns `NAME=RANK` texts as a dict, and a `RANK` for all adapters under None."""
    found: dict[str | None, int] = {}
    problems = []
    for text in values:
        before, equals, after = text.partition("=")
        name, number = (before, after) if equals else (None, before)
        if name == "" or not number.isdecimal() or int(number) < 1:
            problems.append(f"{text!r} is not {parameter.metavar}")
        elif name in found:
            problems.append(f"{name or 'a rank for all'} is given twice")
        else:
            found[name] = int(number)
    if problems:
        raise click.BadParameter("; ".join(problems), ctx=ctx, param=parameter)
    return found


def adapter_names(ctx: click.Context, parameter: click.Parameter, text: str | None) -> tuple[str, ...] | None:
    """Returns the names of `spam,intents`, or None where none were given."""
    if text is None:
        return None
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise click.BadParameter(f"{text!r} is not {parameter.metavar}", ctx=ctx, param=parameter)
    return names


def label_names(text: str) -> tuple[str, ...]:
    """Returns the labels of `ham,spam`.

    Example:
        >>> label_names("ham, spam")
        ('ham', 'spam')
    """
    return tuple(label.strip() for label in text.split(","))


def tolerance(max_abs: float | None, effect_fraction: float | None) -> Tolerance:
    """Returns the tolerance of `gate_options`, with what is not given left at its default."""
    from edgeadapt.parity import Tolerance

    given = {"max_abs": max_abs, "effect_fraction": effect_fraction}
    return Tolerance(**{name: number for name, number in given.items() if number is not None})

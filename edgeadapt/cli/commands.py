"""The command `edgeadapt` itself: its subcommands, and what becomes of their errors."""

from __future__ import annotations

import traceback
from typing import Any, NoReturn

import click

from edgeadapt import __version__
from edgeadapt.cli.add import add
from edgeadapt.cli.export import export
from edgeadapt.cli.inspect import inspect
from edgeadapt.cli.merge import merge
from edgeadapt.cli.options import debug_option, is_debugging
from edgeadapt.cli.package import package
from edgeadapt.cli.remove import remove
from edgeadapt.cli.run import run
from edgeadapt.cli.verify import verify
from edgeadapt.errors import EdgeAdaptError

FAILED = 2
"""The exit code of every error; click's own for wrong usage, too."""


class _Commands(click.Group):
    """A group in which an exception is one message and an exit code, and a traceback only where it is asked for."""

    def invoke(self, ctx: click.Context) -> Any:
        """Runs a subcommand."""
        try:
            return super().invoke(ctx)
        except EdgeAdaptError as error:
            _fail(ctx, str(error))
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package == "edgeadapt":
                raise
            _fail(ctx, f"this command needs {package}, which is not installed.\n{_remedy(package)}")
        except BrokenPipeError:
            raise  # click ends quietly when a reader such as `head` has gone
        except OSError as error:
            what = f"{error.strerror}: {error.filename}" if error.filename else str(error)
            _fail(ctx, f"the system refuses: {what}")
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:  # a mistake of edgeadapt's own: one line, unless the rest is asked for
            _fail(ctx, f"unexpected {type(error).__name__}: {error}\nRun it again with --debug for the traceback.")


def _remedy(package: str) -> str:
    extra = {"onnxruntime": "cpu", "click": "cli", "rich": "cli", "tokenizers": "pipeline", "PIL": "pipeline"}.get(
        package, "export"
    )
    return f"Install it: pip install 'edgeadapt[{extra}]'"


def _fail(ctx: click.Context, message: str) -> NoReturn:
    if is_debugging(ctx):
        click.echo(traceback.format_exc(), err=True, nl=False)
    click.echo(f"Error: {message}", err=True)
    ctx.exit(FAILED)


@click.group(
    "edgeadapt",
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="""\b
Example:
  edgeadapt export all-MiniLM-L6-v2 --adapter spam=adapters/spam -o bundle
  edgeadapt run bundle --adapter spam --text "You won a prize, call now"
""",
)
@click.version_option(__version__, prog_name="edgeadapt")
@debug_option
def commands() -> None:
    """Ship adapters trained in PyTorch with ONNX Runtime.

    A bundle is a folder: one base model, many adapters that it can switch between, and the proof that the numbers
    are PyTorch's. Every command has --help with an example.
    """


for _command in (export, add, remove, merge, package, run, verify, inspect):
    commands.add_command(_command)

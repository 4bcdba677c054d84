"""`edgeadapt merge`: one ONNX model out of a bundle's base and some of its adapters."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from edgeadapt.cli import options, terminal


@click.command(
    epilog="""\b
Examples:
  edgeadapt merge bundle --adapter spam --mode fold -o spam.onnx
  edgeadapt merge bundle --adapter spam --adapter intents --mode switch -o two.onnx
"""
)
@click.argument("bundle", type=options.FOLDER)
@click.option(
    "--adapter", "adapters", multiple=True, required=True, metavar="NAME", help="Repeat it for more; folded in order."
)
@click.option(
    "--mode",
    type=click.Choice(["fold", "switch"]),
    required=True,
    help="fold: absorbed into the weights. switch: still selectable, through inputs for their weights.",
)
@click.option("-o", "--output", type=options.FOLDER, required=True, metavar="FILE", help="The model's .onnx file.")
@options.gate_options
@options.debug_option
def merge(
    bundle: Path,
    adapters: tuple[str, ...],
    mode: Literal["fold", "switch"],
    output: Path,
    max_abs: float | None,
    effect_fraction: float | None,
) -> None:
    """Merge adapters of BUNDLE into one ONNX model.

    It is made from the bundle's ONNX files alone, and compared with PyTorch's outputs that the bundle carries. The
    bundle stays as it is.
    """
    with terminal.stages() as progress:
        progress("starting")
        from edgeadapt.exporter import merging

        reports = merging.merge(
            bundle,
            adapters,
            output,
            mode=mode,
            tolerance=options.tolerance(max_abs, effect_fraction),
            progress=progress,
        )
    terminal.show_reports("parity of the merged model", reports)
    terminal.say(f"wrote {output}")

"""`edgeadapt add`: one more adapter for a bundle, without PyTorch."""

from __future__ import annotations

from pathlib import Path

import click

from edgeadapt.cli import options, terminal


@click.command(
    epilog="""\b
Examples:
  edgeadapt add bundle adapters/reviews --name reviews
  edgeadapt add bundle adapters/spam --name spam --labels ham,spam
  edgeadapt add bundle adapters/topics --name topics --problem-type multi_label_classification
"""
)
@click.argument("bundle", type=options.FOLDER)
@click.argument("folder", metavar="DIR", type=options.FOLDER)
@click.option("--name", required=True, metavar="NAME", help="The name it gets.")
@click.option("--labels", metavar="LABEL,LABEL", help="Names for its labels, where the folder has none or others.")
@click.option(
    "--problem-type",
    metavar="TYPE",
    help=f"What its head was trained to answer, where the folder doesn't say it: {options.PROBLEM_TYPES}.",
)
@options.gate_options
@options.trust_options
@options.debug_option
def add(
    bundle: Path,
    folder: Path,
    name: str,
    labels: str | None,
    problem_type: str | None,
    max_abs: float | None,
    effect_fraction: float | None,
    allow_no_effect: bool,
    allow_pickle: bool,
) -> None:
    """Add the PEFT adapter in DIR to BUNDLE.

    It takes seconds and needs no PyTorch; the base is not exported again. The adapter is compared with its own fold
    into the base's weights. Where anything is wrong, the bundle stays as it was.
    """
    with terminal.stages() as progress:
        progress("starting")
        from edgeadapt.exporter import adding

        report = adding.add(
            bundle,
            folder,
            name,
            labels=None if labels is None else options.label_names(labels),
            problem_type=problem_type,
            tolerance=options.tolerance(max_abs, effect_fraction),
            allow_no_effect=allow_no_effect,
            allow_pickle=allow_pickle,
            progress=progress,
        )
    terminal.show_reports("parity with the folded model", [report])
    terminal.say(f"added {name} to {bundle}")

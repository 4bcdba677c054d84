"""`edgeadapt export`: a base and its adapters become a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
from click.core import ParameterSource

from edgeadapt.cli import options, terminal

if TYPE_CHECKING:
    from edgeadapt.exporter.precision import Precision


@click.command(
    epilog="""\b
Examples:
  edgeadapt export all-MiniLM-L6-v2 --adapter spam=adapters/spam --adapter intents=adapters/intents -o bundle
  edgeadapt export bert-base --adapter spam=adapters/spam --labels spam=ham,spam --task text-classification -o bundle
  edgeadapt export bert-base --adapter topics=adapters/topics --problem-type topics=multi_label_classification -o bundle
  edgeadapt export bert-base --adapter spam=adapters/spam --precision fp16 -o bundle
  edgeadapt export SmolLM2-135M-Instruct --adapter tales=adapters/tales --runtime genai -o bundle
  edgeadapt export --config export_configs/minilm-multitask.yaml
"""
)
@click.argument("base", required=False)
@click.option(
    "--adapter",
    "adapters",
    multiple=True,
    metavar="NAME=DIR",
    callback=options.pairs,
    help="An adapter's folder, and the name it gets. Repeat it for more.",
)
@click.option(
    "--labels",
    multiple=True,
    metavar="NAME=LABEL,LABEL",
    callback=options.pairs,
    help="Names for an adapter's labels, in order, where its folder has none or others.",
)
@click.option(
    "--problem-type",
    "problem_types",
    multiple=True,
    metavar="NAME=TYPE",
    callback=options.pairs,
    help=f"What an adapter's head was trained to answer, where its folder doesn't say it: {options.PROBLEM_TYPES}.",
)
@click.option(
    "--as-lora",
    "ranks",
    multiple=True,
    metavar="[NAME=]RANK",
    callback=options.ranks,
    help="Let LoRAs of this rank stand in for an adapter's changes of weights, or for those of all adapters; how far "
    "they are from it is measured, printed and stored. Repeat it for more.",
)
@click.option("--task", metavar="TASK", help="Such as text-classification. Taken from the adapters if not given.")
@click.option("-o", "--output", type=options.FOLDER, help="The bundle's folder; it must not exist.")
@click.option(
    "--opset",
    type=click.IntRange(min=1),
    metavar="NUMBER",
    help="ONNX opset: 18 for ONNX Runtime 1.20 and newer. The newest that works if not given.",
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "int4"]),
    default="fp32",
    show_default=True,
    help="How the base's weights are stored. fp16 is for GPUs: base, adapters and arithmetic are in it. int4 is for "
    "text generation; adapters stay in fp32.",
)
@click.option(
    "--runtime",
    type=click.Choice(["genai"]),
    help="Let this runtime load the bundle, too: genai is onnxruntime-genai, which runs decoders.",
)
@options.gate_options
@options.trust_options
@click.option("--config", type=options.FOLDER, metavar="FILE", help="A recipe in YAML, in place of all the above.")
@options.debug_option
@click.pass_context
def export(
    ctx: click.Context,
    base: str | None,
    adapters: dict[str, str],
    labels: dict[str, str],
    problem_types: dict[str, str],
    ranks: dict[str | None, int],
    task: str | None,
    output: Path | None,
    opset: int | None,
    precision: Precision,
    runtime: Literal["genai"] | None,
    max_abs: float | None,
    effect_fraction: float | None,
    allow_no_effect: bool,
    allow_pickle: bool,
    config: Path | None,
) -> None:
    """Export BASE with adapters into one bundle, and prove it.

    BASE is a folder with a transformers model, or a hub id. The finished bundle is run by ONNX Runtime and compared
    with PyTorch on real inputs, for every adapter; if the numbers differ, or an adapter has no effect, nothing is
    written.
    """
    named = {name: str(rank) for name, rank in ranks.items() if name is not None}
    said = {"--labels": labels, "--problem-type": problem_types, "--as-lora": named}
    _check(ctx, base, output, adapters, said, config)
    with terminal.stages() as progress:
        progress("starting")
        from edgeadapt.exporter import recipe as recipes
        from edgeadapt.exporter.pipeline import AdapterSource
        from edgeadapt.exporter.pipeline import export as export_bundle

        if config is not None:
            recipe = recipes.read(config)
        else:
            assert base is not None and output is not None  # `_check` has seen to it
            recipe = recipes.Recipe(
                base=base,
                adapters={
                    name: AdapterSource(
                        Path(folder),
                        options.label_names(labels[name]) if name in labels else None,
                        problem_types.get(name),
                        ranks.get(name, ranks.get(None)),
                    )
                    for name, folder in adapters.items()
                },
                output=output,
                task=task,
                opset=opset,
                precision=precision,
                runtime=runtime,
                tolerance=options.tolerance(max_abs, effect_fraction),
                allow_no_effect=allow_no_effect,
                allow_pickle=allow_pickle,
            )
        exported = export_bundle(
            recipe.base,
            recipe.adapters,
            recipe.output,
            task=recipe.task,
            opset=recipe.opset,
            precision=recipe.precision,
            runtime=recipe.runtime,
            tolerance=recipe.tolerance,
            allow_no_effect=recipe.allow_no_effect,
            allow_pickle=recipe.allow_pickle,
            progress=progress,
        )
    terminal.show_reports("parity with PyTorch", exported.reports)
    for note in exported.notes:
        terminal.say(f"note: {note}")
    terminal.say(f"wrote {exported.path}")


def _check(
    ctx: click.Context,
    base: str | None,
    output: Path | None,
    adapters: dict[str, str],
    said: dict[str, dict[str, str]],
    config: Path | None,
) -> None:
    """Refuses a recipe beside arguments that it has itself, and half of the arguments without a recipe."""
    if config is not None:
        given = [
            parameter.get_error_hint(ctx)
            for parameter in ctx.command.get_params(ctx)
            if parameter.name not in ("config", None)
            and ctx.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
            and parameter.expose_value
        ]
        if given:
            raise click.UsageError(
                f"--config brings everything along; leave out {', '.join(given)}, or put it there.", ctx
            )
        return
    missing = [what for what, value in (("BASE", base), ("-o", output)) if value is None]
    if missing:
        raise click.UsageError(
            f"{' and '.join(missing)} missing; give --config FILE, or BASE with --adapter and -o.", ctx
        )
    unknown = [
        f"{option} for {', '.join(names)}"
        for option, given in said.items()
        if (names := [name for name in given if name not in adapters])
    ]
    if unknown:
        raise click.UsageError(f"{', '.join(unknown)}, and no --adapter of that name.", ctx)

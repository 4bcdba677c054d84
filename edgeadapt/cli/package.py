"""`edgeadapt package`: of a bundle, the folder that a device needs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeadapt.cli import options, terminal

if TYPE_CHECKING:
    from edgeadapt.bundle import Part
    from edgeadapt.exporter.packaging import Packaged

_WORDS: Mapping[Part, str] = {
    "documents": "documents",
    "model": "model",
    "neutrals": "neutrals",
    "texts": "tokenizer and templates",
    "adapters": "adapters",
    "parity": "parity cases",
    "tools": "for conversion tools",
    "genai": "for onnxruntime-genai",
}


@click.command(
    epilog="""\b
Examples:
  edgeadapt package bundle -o app
  edgeadapt package bundle --adapters spam,intents --strip-parity -o app
  edgeadapt package bundle --ort-format -o app
"""
)
@click.argument("bundle", type=options.FOLDER)
@click.option(
    "--adapters",
    metavar="NAME,NAME",
    callback=options.adapter_names,
    help="The adapters that come along; all if not given. The base, none, always does.",
)
@click.option(
    "--ort-format",
    is_flag=True,
    help="Convert the model to ONNX Runtime's own format, which its reduced builds read, and write which operators "
    "such a build needs.",
)
@click.option("--strip-parity", is_flag=True, help="Leave out what `edgeadapt verify` repeats the proof with.")
@click.option(
    "-o", "--output", type=options.FOLDER, required=True, metavar="DIR", help="The package's folder; it must not exist."
)
@options.json_option
@options.debug_option
def package(
    bundle: Path, adapters: tuple[str, ...] | None, ort_format: bool, strip_parity: bool, output: Path, as_json: bool
) -> None:
    """Package BUNDLE for a device.

    The package is a bundle without what only conversion tools need, and runs as BUNDLE does; its adapters can't be
    changed any more but for leaving some out. A converted model is compared with BUNDLE's on the inputs of its parity
    cases; if the answers differ, nothing is written. BUNDLE stays as it is.
    """
    with terminal.stages() as progress:
        progress("starting")
        from edgeadapt.exporter import packaging

        packaged = packaging.package(
            bundle, output, adapters=adapters, ort_format=ort_format, strip_parity=strip_parity, progress=progress
        )
    if as_json:
        terminal.show_json(_facts(packaged))
        return
    if packaged.reports:
        terminal.show_reports("against the model as it was", packaged.reports)
    terminal.show_table("sizes", ("", "before", "after"), _rows(packaged))
    terminal.say(f"wrote {output}")


def _facts(packaged: Packaged) -> dict[str, Any]:
    return {
        "path": str(packaged.path),
        "adapters": list(packaged.adapters),
        "bytes": {part: {"before": packaged.before[part], "after": packaged.after[part]} for part in packaged.before},
        "differences": {report.name: report.max_abs_error for report in packaged.reports},
    }


def _rows(packaged: Packaged) -> list[tuple[str, str, str]]:
    """Returns a row for each kind of files that there are, and the sums."""
    before, after = packaged.before, packaged.after
    rows = [
        (_WORDS[part], terminal.size(before[part]), terminal.size(after[part]))
        for part in _WORDS
        if before[part] or after[part]
    ]
    return [*rows, ("all", terminal.size(sum(before.values())), terminal.size(sum(after.values())))]

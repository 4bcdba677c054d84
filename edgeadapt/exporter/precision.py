"""How a bundle's weights are stored, and in what arithmetic its models run. No torch is needed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import onnx_ir as ir

from edgeadapt import bundle, tasks
from edgeadapt.errors import ConfigError, UnsupportedError, listed, nearest
from edgeadapt.exporter import assemble, genai
from edgeadapt.graph.quantised import set_arithmetic

Precision: TypeAlias = Literal["fp32", "int4"]
PRECISIONS = get_args(Precision)
ROUNDING = "4-bit weights"
"""What a reference was computed with, in the words of its record."""


def check(precision: str) -> None:
    """Refuses a precision that there is none of.

    Raises:
        ConfigError: It is neither fp32 nor int4.
    """
    if precision not in PRECISIONS:
        raise ConfigError(
            f"precision: got {precision!r}, expected {listed(PRECISIONS)}{nearest(precision, list(PRECISIONS))}."
        )


def check_task(task: str) -> None:
    """Refuses tasks whose bases can't be had in 4 bits.

    Raises:
        UnsupportedError: It is another task than text generation.
    """
    if tasks.get(task).NAME != "text-generation":
        raise UnsupportedError(f"A base in int4 is there for text-generation, not for {task}.\nExport it in fp32.")


def is_comparable(record: bundle.ParityRecord, manifest: bundle.Manifest) -> bool:
    """Tells whether outputs stored with an adapter of another bundle are those of this one's weights."""
    return (ROUNDING in record.reference) == (manifest.model.precision == "int4")


def run_in_int8(folder: Path, manifest: bundle.Manifest) -> None:
    """Turns a bundle's models to int8 arithmetic, and tells the manifest."""
    graphs = [assemble.BASE, manifest.model.file, *([genai.GRAPH] if genai.is_written(folder) else [])]
    for name in graphs:
        model = ir.load(folder / name)
        set_arithmetic(model, "int8")
        ir.save(model, folder / name)
    assemble.write_manifest(folder, replace(manifest, files={}))

"""How a bundle's weights are stored, and in what arithmetic its models run. No torch is needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np
import onnx_ir as ir

from edgeadapt import bundle, tasks
from edgeadapt.adapter import Adapter, Array
from edgeadapt.errors import ConfigError, UnsupportedError, listed, nearest
from edgeadapt.exporter import assemble, genai
from edgeadapt.graph.half_precision import IDS
from edgeadapt.graph.half_wide import LARGEST
from edgeadapt.graph.quantised import set_arithmetic

Precision: TypeAlias = Literal["fp32", "fp16", "int4"]
PRECISIONS = get_args(Precision)
ROUNDING: Mapping[str, str] = {"fp16": "fp16 weights", "int4": "4-bit weights"}
"""What a reference was computed with, in the words of its record; of a base in fp32, nothing is said."""


def check(precision: str) -> None:
    """Refuses a precision that there is none of.

    Raises:
        ConfigError: It is none of these.
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
    own = manifest.model.precision
    return all((words in record.reference) == (own == precision) for precision, words in ROUNDING.items())


def made_with(reference: str, precision: str) -> str:
    """Returns what a reference was computed with, its weights' rounding included."""
    return f"{reference}, {ROUNDING[precision]}" if precision in ROUNDING else reference


def check_runtime(precision: str, runtime: str | None) -> None:
    """Refuses a base in fp16 for onnxruntime-genai.

    Raises:
        UnsupportedError: Both were asked for.
    """
    if precision == "fp16" and runtime is not None:
        raise UnsupportedError(
            "A bundle in fp16 was never held against onnxruntime-genai.\n"
            "Leave --runtime genai out, or export in fp32 or int4."
        )


def rounded(arrays: Mapping[str, Array], whose: str) -> dict[str, Array]:
    """Returns arrays with the numbers that fp16 has of them, in fp32.

    Args:
        arrays: By name; ids of tokens stay as they are.
        whose: Says in an error whose they are.

    Raises:
        UnsupportedError: Numbers are beyond fp16's range; all of them.
    """
    problems = [
        f"{name}: {float(np.abs(array).max()):g}"
        for name, array in arrays.items()
        if array.size and not name.endswith(IDS) and float(np.abs(array).max()) > LARGEST
    ]
    if problems:
        raise UnsupportedError.collect(
            f"{whose} has numbers beyond what fp16 holds, which is {LARGEST:g}:", problems, "Export in fp32."
        )
    return {
        name: array if name.endswith(IDS) else array.astype(np.float16).astype(np.float32)
        for name, array in arrays.items()
    }


def in_fp16(name: str, adapter: Adapter) -> Adapter:
    """Returns an adapter with its arrays rounded to fp16.

    Raises:
        UnsupportedError: One of them is beyond its range; all of them.
    """
    found = rounded(adapter.arrays(), f"Adapter {name!r}")
    attachments = tuple(
        replace(each, params={param: found[f"{each.site}.{param}"] for param in each.params})
        for each in adapter.attachments
    )
    return replace(adapter, attachments=attachments, cache={each: found[each] for each in adapter.cache})


def run_in_int8(folder: Path, manifest: bundle.Manifest) -> None:
    """Turns a bundle's models to int8 arithmetic, and tells the manifest."""
    graphs = [assemble.BASE, manifest.model.file, *([genai.GRAPH] if genai.is_written(folder) else [])]
    for name in graphs:
        model = ir.load(folder / name)
        set_arithmetic(model, "int8")
        ir.save(model, folder / name)
    assemble.write_manifest(folder, replace(manifest, files={}))

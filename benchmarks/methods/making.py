"""Writes the bases and adapters of the methods' page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.methods.cases import ROOMY, Case, Library, Setup

LABELS = 3
"""Of a head: not as many as the base has by default."""


def base(family: str, scratch: Path, minilm: Path) -> Path:
    """Returns the folder of a base."""
    from tests import tiny

    return minilm if family == "minilm" else tiny.base(scratch / "base", family, **ROOMY.get(family, {}))


def adapter(library: Library, case: Case, family: str, base_folder: Path, folder: Path) -> Any:
    """Returns what `export` takes: the folder of an adapter of random weights, or modules by site."""
    from tests import hub, tiny

    made = case.make(family)
    if library == "torch":
        return made
    if isinstance(made, Setup):
        return hub.setup(base_folder, folder, dict(made.members), made.tree, **made.options)
    if library == "adapters":
        return hub.adapter(base_folder, folder, made, head=_head(family) if case.head else None)
    return tiny.peft_adapter(base_folder, folder, made, case.task(family), LABELS if case.head else None)


def _head(family: str) -> dict[str, Any]:
    """Returns the options of a head of AdapterHub's that is transformers' own of the family."""
    if family == "vit":
        return {"kind": "image_classification", "num_labels": LABELS, "layers": 1}
    layers = 1 if family in ("gpt2", "llama") else 2
    activation = "gelu" if family == "electra" else "tanh"
    return {"num_labels": LABELS, "layers": layers, "activation_function": activation}


def trained(source: Any) -> int:
    """Returns how many numbers the library stores of an adapter."""
    from edgeadapt.exporter import folders

    if isinstance(source, Path):
        return sum(array.size for array in folders.read(source, allow_pickle=True).tensors.values())
    modules = {id(module): module for module in source.values()}
    return sum(parameter.numel() for module in modules.values() for parameter in module.parameters())

"""Bundles of BERT-base's size, the adapter folded, and 99 adapters more. The weights are random, with a seed.

How long a run takes depends on the shapes of the weights and not on their values.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks.models.stamp import make_current
from benchmarks.settings import CACHE

Precision: TypeAlias = Literal["fp32", "fp16"]

FOLDERS: Mapping[Precision, Path] = {"fp32": CACHE / "bench-bert-base", "fp16": CACHE / "bench-bert-base-fp16"}
RANK, TARGETS = 8, ("query", "value")
VOCABULARY = 30522
SEED = 20240229
ADAPTERS = tuple(f"a{number:03}" for number in range(100))
"""The first is in the bundle, exported from PEFT; the others are folders beside it, the first with other numbers."""


@dataclass(frozen=True, slots=True)
class Bert:
    """Where the models lie.

    Attributes:
        bundle: The bundle, with `base.onnx` and the first adapter in it.
        folded: The base with the first adapter folded into it.
        others: The folders of the other adapters, for `Session.add_adapter`.
    """

    bundle: Path
    folded: Path
    others: tuple[Path, ...]


def prepare(precision: Precision = "fp32") -> None:
    """Makes the models where they are missing or out of date."""
    make_current(FOLDERS[precision], [Path(__file__)], lambda folder: _make(folder, precision))


def paths(precision: Precision = "fp32") -> Bert:
    """Returns where `prepare` has put them."""
    home = FOLDERS[precision]
    return Bert(home / "bundle", home / "folded.onnx", tuple(home / "adapters" / name for name in ADAPTERS[1:]))


def inputs(rows: int, length: int = 128) -> dict[str, NDArray[np.int64]]:
    """Returns random tokens without padding, `(rows, length)`."""
    ids = np.random.default_rng(SEED).integers(1000, VOCABULARY, (rows, length))
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}


def _make(folder: Path, precision: Precision) -> None:
    import edgeadapt
    from edgeadapt.exporter.base import quiet
    from edgeadapt.exporter.merging import merge

    bundle = folder / "bundle"
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        with quiet():
            base, adapter = _checkpoints(Path(scratch))
        edgeadapt.export(
            base,
            {ADAPTERS[0]: adapter},
            bundle,
            task="text-classification",
            precision=precision,
            progress=lambda stage: print(f"  BERT-base: {stage}", flush=True),
        )
    merge(bundle, [ADAPTERS[0]], folder / "folded.onnx", mode="fold")
    print(f"  BERT-base: writing {len(ADAPTERS) - 1} more adapters", flush=True)
    generator = np.random.default_rng(SEED)
    for name in ADAPTERS[1:]:
        sibling(bundle / "adapters" / ADAPTERS[0], folder / "adapters" / name, generator)


def _checkpoints(folder: Path) -> tuple[Path, Path]:
    """Writes a base with a head of its own and a LoRA as PEFT saves it, and returns their folders."""
    import peft
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(SEED)
    model = BertForSequenceClassification(BertConfig())  # its defaults are BERT-base's sizes, and two labels
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.02)  # fresh biases are all equal, trained ones are not
    model.save_pretrained(folder / "base")
    settings = peft.LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=list(TARGETS), task_type="SEQ_CLS")
    wrapped = peft.get_peft_model(model, settings)
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if parameter.requires_grad and "lora_A" not in name:
                parameter.copy_(torch.randn_like(parameter) * 0.05)  # PEFT starts lora_B at zero
    wrapped.save_pretrained(str(folder / "adapter"))
    return folder / "base", folder / "adapter"


def sibling(first: Path, home: Path, generator: np.random.Generator) -> None:
    """Writes an adapter of the first one's shapes with numbers of its own; no PyTorch ran it, so it has no parity."""
    import onnxruntime

    from edgeadapt import bundle as bundles
    from edgeadapt.exporter import assemble

    values = onnxruntime.AdapterFormat.read_adapter(str(first / assemble.WEIGHTS)).get_parameters()
    arrays: Mapping[str, NDArray[np.floating]] = {
        slot: generator.normal(0, 0.05, value.shape()).astype(value.numpy().dtype) for slot, value in values.items()
    }
    home.mkdir(parents=True)
    assemble.write_weights(home / assemble.WEIGHTS, arrays)
    files = bundles.record_files(home, [assemble.WEIGHTS])
    record = bundles.read_adapter(first)
    bundles.write_adapter(home, replace(record, name=home.name, source={"kind": "random"}, parity=None, files=files))

"""Classifiers to add to `tiny_bundle`, and what one is to PEFT, to ONNX Runtime and as an adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import peft
import torch
import transformers
from torch import nn

import edgeadapt
from edgeadapt.adapter import Adapter, Array
from edgeadapt.exporter import assemble, binding
from edgeadapt.exporter import checkpoint as checkpoints
from edgeadapt.graph import sites
from edgeadapt.graph.fold import base_weights
from edgeadapt.runtime.verify import verify
from tests import tiny

MAX_ERROR = 1e-5
LEAST_EFFECT = 0.05

FITTING: dict[str, dict[str, Any]] = {"query": {"targets": ["query"]}, "as spam": {"targets": ["query", "value"]}}
"""Adapters of `tiny_base` that need no slot which `tiny_bundle` lacks."""

WIDER: dict[str, dict[str, Any]] = {
    "embeddings": {"targets": ["word_embeddings", "query"]},
    "biases": {"bias": "all"},
    "bias of B": {"lora_bias": True},
    "a norm trained whole": {"modules_to_save": ["output.LayerNorm"]},
    "a projection trained whole": {"targets": ["key"], "modules_to_save": ["attention.self.query"]},
}
"""Adapters that need slots of their own, some at sites where the others have some."""

CASES = {**FITTING, **WIDER}


def batch(rows: int = 3, length: int = 11) -> dict[str, Array]:
    """Returns random tokens, the last row padded to a third of the length."""
    ids = np.random.default_rng(4).integers(5, 100, (rows, length))
    mask = np.ones_like(ids)
    mask[-1, max(1, length // 3) :] = 0
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


def outputs(folder: Path) -> dict[str, Array]:
    """Returns the logits of every adapter of a bundle."""
    session = edgeadapt.load(folder)
    return {name: np.asarray(session.run(batch(), adapter=name)["logits"]) for name in session.adapters}


def all_verify(folder: Path) -> bool:
    """Tells whether the base and every adapter of a bundle pass on their parity cases."""
    session = edgeadapt.load(folder)
    return all(verify(session, name).passed for name in (None, *session.adapters))


def live(base: Path, folder: Path, num_labels: int = 3) -> nn.Module:
    """Returns the model that PEFT makes of a classifier on `base` and the adapter in `folder`."""
    with tiny.quiet():
        model = transformers.AutoModelForSequenceClassification.from_pretrained(
            base, num_labels=num_labels, ignore_mismatched_sizes=True
        )
        wrapped: nn.Module = peft.PeftModel.from_pretrained(model, str(folder)).get_base_model()
        return wrapped.eval()


def from_peft(base: Path, folder: Path, num_labels: int) -> Array:
    """Returns the logits of a classifier on `base` with the adapter in `folder`, as PEFT has them."""
    with torch.no_grad():
        inputs = {name: torch.from_numpy(array) for name, array in batch().items()}
        logits: Array = live(base, folder, num_labels)(**inputs).logits.numpy()
        return logits


def bound(bundle: Path, folder: Path, said: binding.HeadWords = (None, None)) -> Adapter:
    """Returns the checkpoint in `folder` as an adapter of a bundle's base."""
    model = ir.load(bundle / assemble.BASE)
    return binding.bind(checkpoints.read(folder), sites.read(bundle), base_weights(model), said)

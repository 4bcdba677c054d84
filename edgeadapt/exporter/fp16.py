"""A base in fp16: PyTorch computes with the very same weights, in fp32, so that what is compared is fp16 arithmetic.

Two things differ from PyTorch's own base, and each is told by itself: the weights, which fp16 rounds once (`rounding`),
and the arithmetic of the graph, which is held to a tolerance of its own (`parity.for_fp16`). Adapters are rounded as
their checkpoint has them, for PyTorch too; what is computed of that, such as the lengths of a DoRA, is rounded once
more, and counts as the graph's error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from edgeadapt import parity
from edgeadapt.adapter import Array
from edgeadapt.exporter import base as bases
from edgeadapt.exporter import precision
from edgeadapt.exporter.base import Base
from edgeadapt.exporter.checkpoint import Checkpoint
from edgeadapt.parity import ParityReport, Tolerance


def round_weights(base: Base, folder: Path) -> Base:
    """Returns a base in PyTorch with weights rounded to fp16; the one that is given keeps its own.

    Weights that `from_pretrained` invented are not saved, so that they are missing there, too.

    Args:
        base: The base.
        folder: A folder for the weights, as long as the new base is used.

    Raises:
        UnsupportedError: A weight is beyond fp16's range; all of them.
    """
    named = dict(base.model.named_parameters(remove_duplicate=False))
    trained = {name: tensor.detach().numpy() for name, tensor in named.items() if name not in base.invented}
    found = precision.rounded(trained, base.source)
    state = {name: tensor for name, tensor in base.model.state_dict().items() if name not in base.invented}
    shared: dict[int, torch.Tensor] = {}
    for name in found:
        tensor = shared.setdefault(named[name].data_ptr(), torch.from_numpy(found[name]))
        if name in state:
            state[name] = tensor
    with bases.quiet():
        base.model.save_pretrained(folder, state_dict=state)
        return bases.load(str(folder), base.task)


def round_checkpoint(name: str, checkpoint: Checkpoint) -> Checkpoint:
    """Returns a checkpoint with its tensors rounded to fp16.

    Raises:
        UnsupportedError: A tensor is beyond fp16's range; all of them.
    """
    return replace(checkpoint, tensors=precision.rounded(checkpoint.tensors, f"Adapter {name!r}"), halved=True)


def rounding(whole: Mapping[str, Array], rounded: Mapping[str, Array]) -> ParityReport:
    """Returns how far fp16 weights move PyTorch's base: nothing that an adapter could be held to."""
    return parity.compare(precision.ROUNDING["fp16"], rounded, whole, None, Tolerance(max_abs=math.inf))

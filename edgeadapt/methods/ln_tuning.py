"""LN tuning: layer norms and RMS norms trained whole, `y' = normalised(x) * weight + bias`.

Source: Zhao et al., arXiv 2312.11420; `peft.tuners.ln_tuning.layer.LNTuningLayer`. A checkpoint holds the weights of
whole modules and nothing else, which is the form `modules_to_save`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeadapt.adapter import Array
from edgeadapt.methods import Module

TITLE = "LN tuning"
TYPE = "LN_TUNING"
FIELDS: frozenset[str] = frozenset()


def split(name: str) -> tuple[str, str] | None:
    """Returns None: all tensors are weights and biases of modules."""
    return None


def read(config: Mapping[str, Any], module: Module, tensors: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """Returns nothing, as there are no tensors but those of whole modules."""
    return {}

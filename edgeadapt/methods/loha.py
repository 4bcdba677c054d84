"""LoHa: the elementwise product of two low-rank changes, `delta = (w1_a w1_b) * (w2_a w2_b) * alpha / r`.

Source: Hyeon-Woo et al., arXiv 2108.06098; `peft.tuners.loha.layer.LoHaLayer.get_delta_weight`. Such a product has the
rank r * r at most, and its halves are known: it is read as the LoRA that it is, exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgeadapt.adapter import Array
from edgeadapt.errors import BindingError
from edgeadapt.methods import Module, lora

TITLE = "LoHa"
TYPE = "LOHA"
FIELDS = frozenset({
    "alpha", "alpha_pattern", "init_weights", "module_dropout", "r", "rank_dropout", "rank_pattern",
    "use_effective_conv2d",
})  # fmt: skip
TENSORS = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")


def split(name: str) -> tuple[str, str] | None:
    """Returns module path and tensor of a LoHa tensor's name."""
    module, _, tensor = name.rpartition(".")
    return (module, tensor) if tensor in TENSORS else None


def read(config: Mapping[str, Any], module: Module, tensors: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """Returns a LoRA of rank r * r, or of the smaller side of the weight where that is less.

    Raises:
        BindingError: A factor is missing, or their shapes don't go together.
    """
    if set(tensors) != set(TENSORS):
        raise BindingError(f"{module.name}: got {', '.join(sorted(tensors))} of LoHa, expected {', '.join(TENSORS)}")
    a1, b1, a2, b2 = (tensors[name].astype(np.float64) for name in TENSORS)
    if any(each.ndim != 2 for each in (a1, b1, a2, b2)) or a1.shape != a2.shape or b1.shape != b2.shape:
        raise BindingError(f"{module.name}: the factors of LoHa have shapes that don't go together")
    rank = lora.rank_of(config, module.name)
    if a1.shape[1] != rank or b1.shape[0] != rank:
        raise BindingError(f"{module.name}: has a LoHa of rank {a1.shape[1]}, but the configuration says {rank}")
    scale = lora.alpha_of(config, module.name, "alpha") / rank
    if rank * rank >= min(a1.shape[0], b1.shape[1]):
        return {"lora": lora.whole((((a1 @ b1) * (a2 @ b2)) * scale).T)}
    first = (b1[:, None] * b2[None]).reshape(rank * rank, -1).T
    second = (a1[:, :, None] * a2[:, None]).reshape(-1, rank * rank).T * scale
    return {"lora": lora.halves(first, second)}

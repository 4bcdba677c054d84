"""LoKr: the Kronecker product of two small matrices, `delta = kron(w1, w2) * alpha / r`, each perhaps of low rank.

Source: Edalati et al., arXiv 2212.10650; `peft.tuners.lokr.layer.LoKrLayer.get_delta_weight`. With `w2 = a b` it is
`kron(w1, a) kron(I, b)`, or `kron(I, a) kron(w1, b)`, and so a LoRA: it is read as the smaller one, exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgeadapt.adapter import Array
from edgeadapt.errors import BindingError
from edgeadapt.methods import Module, lora

TITLE = "LoKr"
TYPE = "LOKR"
FIELDS = frozenset({
    "alpha", "alpha_pattern", "decompose_both", "decompose_factor", "init_weights", "module_dropout", "r",
    "rank_dropout", "rank_dropout_scale", "rank_pattern", "use_effective_conv2d",
})  # fmt: skip
TENSORS = ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b")


def split(name: str) -> tuple[str, str] | None:
    """Returns module path and tensor of a LoKr tensor's name."""
    module, _, tensor = name.rpartition(".")
    return (module, tensor) if tensor in TENSORS else None


def read(config: Mapping[str, Any], module: Module, tensors: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """Returns a LoRA of the smallest rank that the factors' shapes give.

    Raises:
        BindingError: A factor is missing or doubled, or their shapes don't give the module's weight.
    """
    w1, w2 = (_factor(module, tensors, name) for name in ("lokr_w1", "lokr_w2"))
    shape = (w1.shape[1] * w2.shape[1], w1.shape[0] * w2.shape[0])
    expected = (module.site.in_features, module.site.out_features)
    if shape != expected:
        raise BindingError(f"{module.name}: got a LoKr of {shape}, expected {expected}")
    rank = lora.rank_of(config, module.name)
    wrong = [tensors[name].shape[0] for name in ("lokr_w1_b", "lokr_w2_b") if name in tensors]
    wrong = [each for each in wrong if each != rank]
    if wrong:
        raise BindingError(f"{module.name}: has a LoKr of rank {wrong[0]}, but the configuration says {rank}")
    scale = lora.alpha_of(config, module.name, "alpha") / rank
    if "lokr_w2" in tensors or min(w1.shape) * tensors["lokr_w2_b"].shape[0] >= min(shape):
        return {"lora": lora.whole((np.kron(w1, w2) * scale).T)}
    a, b = (tensors[name].astype(np.float64) for name in ("lokr_w2_a", "lokr_w2_b"))
    if w1.shape[0] < w1.shape[1]:
        up, down = np.kron(np.eye(w1.shape[0]), a), np.kron(w1, b)
    else:
        up, down = np.kron(w1, a), np.kron(np.eye(w1.shape[1]), b)
    return {"lora": lora.halves(down.T, up.T * scale)}


def _factor(module: Module, tensors: Mapping[str, Array], name: str) -> Array:
    own = sorted(tensor for tensor in tensors if tensor.startswith(name))
    if own not in ([name], [f"{name}_a", f"{name}_b"]):
        raise BindingError(f"{module.name}: got {', '.join(own) or 'no'} {name}, expected it whole or its halves")
    arrays = [tensors[tensor].astype(np.float64) for tensor in own]
    if any(array.ndim != 2 for array in arrays) or (len(arrays) == 2 and arrays[0].shape[1] != arrays[1].shape[0]):
        raise BindingError(f"{module.name}: {' and '.join(own)} have shapes that don't go together")
    return arrays[0] if len(arrays) == 1 else arrays[0] @ arrays[1]

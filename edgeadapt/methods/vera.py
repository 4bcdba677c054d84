"""VeRA: one pair of random matrices for all modules, and two trained vectors for each.

`delta = (lambda_b * B[:out]) (lambda_d * A[:, :in])`. Source: Kopiczko et al., arXiv 2310.11454;
`peft.tuners.vera.layer.Linear.get_delta_weight`. With the vectors multiplied in it is a LoRA, and is read as one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgeadapt.adapter import Array
from edgeadapt.errors import BindingError, UnsupportedError
from edgeadapt.methods import Module, lora

TITLE = "VeRA"
TYPE = "VERA"
FIELDS = frozenset({
    "d_initial", "fan_in_fan_out", "init_weights", "projection_prng_key", "r", "save_projection", "vera_dropout",
})  # fmt: skip
TENSORS = ("vera_lambda_b", "vera_lambda_d")
SHARED = ("vera_A", "vera_B")


def split(name: str) -> tuple[str, str] | None:
    """Returns module path and tensor of a VeRA tensor's name; the matrices that all modules share have no path."""
    module, _, tensor = name.rpartition(".")
    if tensor in SHARED:
        return "", tensor
    return (module, tensor) if tensor in TENSORS else None


def read(config: Mapping[str, Any], module: Module, tensors: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """Returns a LoRA of VeRA's rank.

    Raises:
        BindingError: A vector is missing, or of another length than the matrices.
        UnsupportedError: The checkpoint lacks the matrices, which PyTorch's random numbers would have to give.
    """
    if set(module.shared) != set(SHARED):
        raise UnsupportedError(
            f"{module.name}: the adapter was saved without vera_A and vera_B: save it with save_projection=True"
        )
    if set(tensors) != set(TENSORS):
        raise BindingError(f"{module.name}: got {', '.join(sorted(tensors))} alone, expected {' and '.join(TENSORS)}")
    wide, tall = (module.shared[name].astype(np.float64) for name in SHARED)
    outer, inner = (tensors[name].astype(np.float64) for name in TENSORS)
    width = module.site.in_features
    if wide.shape[0] != config.get("r"):
        raise BindingError(
            f"{module.name}: has a VeRA of rank {wide.shape[0]}, but the configuration says {config.get('r')}"
        )
    if inner.shape != (wide.shape[0],) or outer.shape[0] > tall.shape[0] or width > wide.shape[1]:
        raise BindingError(f"{module.name}: the vectors of VeRA don't fit vera_A {wide.shape} and vera_B {tall.shape}")
    first = wide[:, :width].T * inner
    second = tall[: outer.shape[0]].T * outer
    return {"lora": lora.halves(first, second)}

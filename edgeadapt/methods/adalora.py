"""AdaLoRA: a LoRA in the form of a singular value decomposition, whose rank training has pruned module by module.

`delta = B (A * E) * scaling / (ranknum + 1e-5)`. Source: Zhang et al., arXiv 2303.10512;
`peft.tuners.adalora.layer.SVDLinear.get_delta_weight`. With E and the factor multiplied in it is a LoRA, and is read
as one.

PEFT saves the pruned tensors alone, with a mask for each module (`rank_pattern`). When it loads them, `ranknum` is what
the rank was before pruning (`AdaLoraModel.resize_modules_by_rank_pattern`): `init_r`, for every module.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgeadapt.adapter import Array
from edgeadapt.errors import BindingError
from edgeadapt.methods import Module, lora

TITLE = "AdaLoRA"
TYPE = "ADALORA"
FIELDS = frozenset({
    "alpha_pattern", "beta1", "beta2", "deltaT", "eva_config", "fan_in_fan_out", "init_lora_weights", "init_r",
    "lora_alpha", "lora_dropout", "megatron_core", "orth_reg_weight", "qalora_group_size", "r", "rank_pattern",
    "runtime_config", "target_r", "tfinal", "tinit", "total_step",
})  # fmt: skip
"""`r` and `alpha_pattern` are LoRA's own, and PEFT's AdaLoRA takes neither into account."""
TENSORS = ("lora_A", "lora_B", "lora_E")


def split(name: str) -> tuple[str, str] | None:
    """Returns module path and tensor of an AdaLoRA tensor's name."""
    module, _, tensor = name.rpartition(".")
    return (module, tensor) if tensor in TENSORS else None


def read(config: Mapping[str, Any], module: Module, tensors: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """Returns a LoRA of the rank that pruning left, or nothing where it left none.

    PEFT stores A `(rank, in)`, E `(rank, 1)` and B `(out, rank)`.

    Raises:
        BindingError: A tensor is missing, or they are of other ranks than each other or than the configuration says.
    """
    if set(tensors) != set(TENSORS):
        raise BindingError(f"{module.name}: got {', '.join(sorted(tensors))} of AdaLoRA, expected {', '.join(TENSORS)}")
    a, b, e = (tensors[name].astype(np.float64) for name in TENSORS)
    rank = _rank(config, module.name)
    if (a.shape[:1], b.shape[1:], e.shape) != ((rank,), (rank,), (rank, 1)):
        raise BindingError(
            f"{module.name}: has an AdaLoRA of A {a.shape}, B {b.shape} and E {e.shape}, but the configuration says "
            f"that {rank} ranks are left"
        )
    if rank == 0:
        return {}
    alpha = float(config["lora_alpha"])
    factor = (alpha if alpha > 0 else rank) / (np.float64(config["init_r"]) + 1e-5)
    return {"lora": lora.halves((a * e).T, b.T * factor)}


def mask_of(module: str) -> str:
    """Returns the name under which `rank_pattern` has a module's mask: that of its E."""
    return f"{module}.lora_E"


def _rank(config: Mapping[str, Any], module: str) -> int:
    """Returns how many ranks the mask of a module leaves."""
    masks: Mapping[str, list[bool]] = config.get("rank_pattern") or {}
    mask = masks.get(mask_of(module))
    return int(config["init_r"]) if mask is None else sum(mask)

"""BOFT: the input of a module is rotated by a product of sparse rotations (a butterfly), and its output is scaled.

`y' = ((x R) W) * s + b`. Source: Liu et al., arXiv 2311.06243; `peft.tuners.boft.layer.Linear.forward`. The product is
multiplied out when the checkpoint is read: n factors with blocks of h make rotations of blocks of `h 2^(n-1)`, which is
the form `oft`. The scale leaves the bias as it is, as DoRA's does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgeadapt.adapter import Array
from edgeadapt.errors import BindingError
from edgeadapt.methods import Module, dora, oft

TITLE = "BOFT"
TYPE = "BOFT"
FIELDS = frozenset({
    "boft_block_num", "boft_block_size", "boft_dropout", "boft_n_butterfly_factor", "fan_in_fan_out", "init_weights",
})  # fmt: skip
TENSORS = ("boft_R", "boft_s")


def split(name: str) -> tuple[str, str] | None:
    """Returns module path and tensor of a BOFT tensor's name."""
    module, _, tensor = name.rpartition(".")
    return (module, tensor) if tensor in TENSORS else None


def read(config: Mapping[str, Any], module: Module, tensors: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """Returns a rotation and a DoRA that only scales.

    PEFT stores R `(factors, blocks, size, size)`, of which Q is the skew-symmetric part, and s `(out, 1)`. The number
    of factors is the stored one: without its CUDA extension PEFT trains and loads one factor, whatever the
    configuration says (`BOFTLayer.update_layer`).

    Raises:
        BindingError: A tensor is missing, or doesn't fit the module.
    """
    if set(tensors) != set(TENSORS):
        raise BindingError(f"{module.name}: got {', '.join(sorted(tensors))} alone, expected {' and '.join(TENSORS)}")
    free, scale = tensors["boft_R"].astype(np.float64), tensors["boft_s"].astype(np.float64).reshape(1, 1, -1)
    site = module.site
    if free.ndim != 4 or free.shape[1] * free.shape[2] != site.in_features or scale.shape[-1] != site.out_features:
        raise BindingError(
            f"{module.name}: got a BOFT of R {free.shape} and {scale.shape[-1]} scales, expected it to fit "
            f"{site.in_features} inputs and {site.out_features} outputs"
        )
    factors, count, size, _ = free.shape
    if factors > 1 and (size % 2 or count % 2 ** (factors - 1)):
        raise BindingError(f"{module.name}: {factors} butterfly factors don't go with {count} blocks of {size}")
    _, bias = module.base()
    moved = np.zeros_like(scale) if bias is None else bias * (1 - scale)
    own = {"dora_scale": scale.astype(np.float32), "dora_shift": moved.astype(np.float32)}
    return {**oft.rotation(_product(free)), "dora": {**dora.neutral(site), **own}}


def _product(free: Array) -> Array:
    """Returns the product of all factors as blocks `(in / width, width, width)`.

    Every factor is block-diagonal once its inputs are in another order, and no order leads out of a block of the last
    factor's: all is done block by block.
    """
    factors, count, size, _ = free.shape
    width = size * 2 ** (factors - 1)
    total = np.eye(width)
    for level in range(factors):
        blocks = oft.cayley((free[level] - free[level].transpose(0, 2, 1)) / 2)
        order = np.arange(width) if factors == 1 else _order(width, size, level)
        factor = np.zeros((count * size // width, width, width))
        for position in range(width // size):
            inside = slice(position * size, (position + 1) * size)
            factor[:, inside, inside] = blocks[position :: width // size]
        total = factor[:, order][:, :, order] @ total
    return total


def _order(width: int, size: int, level: int) -> Array:
    """Returns a factor's order of inputs: in each `size 2^level`, half blocks with even numbers before the odd ones.

    Source: `peft.tuners.boft.layer.BOFTLayer.block_butterfly_perm`.
    """
    span = size * 2**level
    halves = np.arange(span).reshape(-1, size // 2)
    inside = np.concatenate([halves[::2], halves[1::2]]).reshape(-1)
    order: Array = (np.arange(0, width, span)[:, None] + inside).reshape(-1)
    return order

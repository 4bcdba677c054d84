"""IA3: every output of a module has a trained factor, `y' = y * l`.

Source: Liu et al., arXiv 2205.05638; `peft.tuners.ia3.layer.Linear.forward`. At a feed-forward module PEFT scales the
input instead: that is the form `ia3_ff`, which the reader here gives too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from edgeadapt.adapter import Array, Params, Site
from edgeadapt.errors import BindingError
from edgeadapt.methods import Module, Op, Point, Shape, Value

TITLE = "IA3"
TYPE = "IA3"
FIELDS = frozenset({"fan_in_fan_out", "feedforward_modules", "init_ia3_weights"})
SUFFIX = ".ia3_l"


def shapes(site: Site) -> dict[str, Shape]:
    """Returns `ia3_l` `(rows, 1, out)`, at a linear layer."""
    return {"ia3_l": (site.rows, 1, site.out)} if site.kind == "linear" else {}


def graph(op: Op, at: Point, params: dict[str, Value]) -> Value:
    """Returns `y * ia3_l`."""
    return op.Mul(at.y, params["ia3_l"])


def neutral(site: Site) -> Params:
    """Returns ones: `y * 1` is `y`."""
    return {"ia3_l": np.ones((1, 1, site.out_features), np.float32)}


def fold(site: Site, weight: Array, bias: Array | None, params: Params) -> tuple[Array, Array | None]:
    """Returns weight and bias with every output scaled (`peft.tuners.ia3.layer.Linear.merge`)."""
    factor = params["ia3_l"][0, 0]
    return weight * factor, None if bias is None else bias * factor


def split(name: str) -> tuple[str, str] | None:
    """Returns module path and tensor of an IA3 tensor's name."""
    return (name.removesuffix(SUFFIX), "ia3_l") if name.endswith(SUFFIX) else None


def read(config: Mapping[str, Any], module: Module, tensors: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """Returns the factors of a module's outputs, PEFT's `(out, 1)`, or of its inputs, `(1, in)`.

    Raises:
        BindingError: There are more or fewer than the module has.
    """
    factors = tensors["ia3_l"].reshape(1, 1, -1)
    inward = is_feedforward(config, module.name)
    expected = module.site.in_features if inward else module.site.out_features
    if factors.shape[-1] != expected:
        raise BindingError(
            f"{module.name}: got {factors.shape[-1]} factors of IA3, expected {expected}, one for each "
            f"{'input' if inward else 'output'}"
        )
    return {"ia3_ff": {"ia3_l_in": factors}} if inward else {"ia3": {"ia3_l": factors}}


def is_feedforward(config: Mapping[str, Any], module: str) -> bool:
    """Tells whether the input is scaled. Source: `peft.tuners.ia3.model.IA3Model._check_target_module_feedforward`."""
    wanted = config.get("feedforward_modules") or []
    if isinstance(wanted, str):
        return re.fullmatch(wanted, module) is not None
    return any(module.endswith(name) for name in wanted)

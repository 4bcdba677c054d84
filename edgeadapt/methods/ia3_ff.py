"""IA3 at a feed-forward module: every input has a trained factor, `y' = module(x * l)`.

Source: Liu et al., arXiv 2205.05638; `peft.tuners.ia3.layer.Linear.forward` with `is_feedforward`. Checkpoints hold it
as IA3, with the modules in `feedforward_modules`: `ia3` reads them.
"""

from __future__ import annotations

import numpy as np

from edgeadapt.adapter import Array, Params, Site
from edgeadapt.methods import Op, Point, Shape, Value

REPLACES = "x"


def shapes(site: Site) -> dict[str, Shape]:
    """Returns `ia3_l_in` `(rows, 1, in)`, at a linear layer."""
    return {"ia3_l_in": (site.rows, 1, site.in_features)} if site.kind == "linear" else {}


def graph(op: Op, at: Point, params: dict[str, Value]) -> Value:
    """Returns `x * ia3_l_in`."""
    return op.Mul(at.x, params["ia3_l_in"])


def neutral(site: Site) -> Params:
    """Returns ones: `x * 1` is `x`."""
    return {"ia3_l_in": np.ones((1, 1, site.in_features), np.float32)}


def fold(site: Site, weight: Array, bias: Array | None, params: Params) -> tuple[Array, Array | None]:
    """Returns the weight with every input scaled (`peft.tuners.ia3.layer.Linear.merge`)."""
    return weight * params["ia3_l_in"][0, 0][:, None], bias

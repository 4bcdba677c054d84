"""A module trained whole and stored with the adapter, such as a task head: `y' = module(x)` with its own weights.

Source: `peft.utils.other.ModulesToSaveWrapper`. The base's own weights are the neutral, so it is stored, not filled; a
base without such weights (a head that was never trained) has no neutral, and every adapter must bring the module.
"""

from __future__ import annotations

import numpy as np

from edgeadapt.adapter import NORMS, UNBIASED, Array, Params, Site
from edgeadapt.methods import Op, Point, Shape, Value
from edgeadapt.methods._tables import look_up


def shapes(site: Site) -> dict[str, Shape]:
    """Returns `weight` `(rows, in, out)` and `bias` `(rows, 1, out)`.

    An embedding has its table `(rows, vocabulary, out)` alone; a norm has a `weight` `(rows, 1, out)`, and an RMS norm
    nothing else.
    """
    bias: Shape = (site.rows, 1, site.out)
    weight = bias if site.kind in NORMS else (site.rows, site.in_features, site.out)
    return {"weight": weight} if site.kind in UNBIASED else {"weight": weight, "bias": bias}


def graph(op: Op, at: Point, params: dict[str, Value]) -> Value:
    """Returns the module's output with the adapter's weights; the base's `y` is left unused.

    An RMS norm is written out, because graphs before opset 23 have no operator for it.
    """
    site, x, weight = at.site, at.x, params["weight"]
    if site.kind == "embedding":
        return look_up(op, site, x, weight)
    if site.kind == "rms_norm":
        mean = op.ReduceMean(op.Mul(x, x), op.constant(np.array([-1], np.int64)), keepdims=1)
        length = op.Sqrt(op.Add(mean, op.constant(np.array(site.epsilon, np.float32))))
        return op.Mul(op.Div(x, length), weight)
    if site.kind == "layer_norm":
        plain = op.constant(np.ones(site.out_features, np.float32))
        product = op.Mul(op.LayerNormalization(x, plain, axis=-1, epsilon=site.epsilon), weight)
    else:
        product = op.MatMul(x, weight)
    return op.Add(product, params["bias"])


def neutral(site: Site) -> None:
    """Returns None: only the base's own weights leave the site as it is."""


def fold(site: Site, weight: Array, bias: Array | None, params: Params) -> tuple[Array, Array | None]:
    """Returns the adapter's weight and bias in place of the base's, in the shapes a base has them."""
    own = params["weight"][0]
    new = params["bias"][0, 0] if "bias" in params else None
    if bias is None and new is not None and not new.any():
        new = None  # the base's module has no bias, and a missing one was read as zeros
    return (own[0] if site.kind in NORMS else own), new

"""A module trained whole and stored with the adapter, such as a task head: `y' = module(x)` with its own weights.

Source: `peft.utils.other.ModulesToSaveWrapper`. The base's own weights are the neutral, so it is stored, not filled; a
base without such weights (a head that was never trained) has no neutral, and every adapter must bring the module.
"""

from __future__ import annotations

import numpy as np

from edgeadapt.adapter import Array, Params, Site
from edgeadapt.methods import Op, Point, Shape, Value


def shapes(site: Site) -> dict[str, Shape]:
    """Returns `weight` `(rows, in, out)` and `bias` `(rows, 1, out)`.

    An embedding has its table `(rows, vocabulary, out)` alone; a layer norm a `weight` `(rows, 1, out)`.
    """
    if site.kind == "embedding":
        return {"weight": (site.rows, site.in_features, site.out)}
    bias: Shape = (site.rows, 1, site.out)
    return {"weight": bias if site.kind == "layer_norm" else (site.rows, site.in_features, site.out), "bias": bias}


def graph(op: Op, at: Point, params: dict[str, Value]) -> Value:
    """Returns the module's output with the adapter's weights; the base's `y` is left unused.

    A table for each row is looked up flat: row i's ids are moved on by `i * vocabulary`.
    """
    site, x, weight = at.site, at.x, params["weight"]
    if site.kind == "embedding":
        one, zero = op.constant(np.array(1, np.int64)), op.constant(np.array(0, np.int64))
        count = op.Squeeze(op.Shape(weight, start=0, end=1))
        first = op.Mul(op.Range(zero, count, one), op.constant(np.array(site.in_features, np.int64)))
        flat = op.Reshape(weight, op.constant(np.array([-1, site.out_features], np.int64)))
        return op.Gather(flat, op.Add(x, op.Unsqueeze(first, op.constant(np.array([1], np.int64)))))
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
    return (own[0] if site.kind == "layer_norm" else own), new

"""A prefix whose keys and values are weighted for each row by what enters the attention (UniPELT).

`g = mean(sigmoid(x G + b))` over the sequence, padding included; `P_k' = g_0 P_k`, `P_v' = g_1 P_v`. Source: Mao et
al., arXiv 2110.07577; `adapters.methods.prefix_tuning.PrefixTuningLayer.compose_single`.
"""

from __future__ import annotations

import numpy as np

from edgeadapt.adapter import Params, Site
from edgeadapt.methods import Op, Point, Replaces, Shape, Value

REPLACES: Replaces = "keys"


def shapes(site: Site) -> dict[str, Shape]:
    """Returns what a prefix has, and its gates `(rows, in, 2)`, one for keys and one for values, with their biases.

    `in` is the length of all heads together, which must be that of what enters the attention.
    """
    if site.kind != "attention":
        return {}
    kept: Shape = (site.rows, site.in_features, "rank", site.out_features)
    return {
        "gated_key": kept,
        "gated_value": kept,
        "gated_mask": (site.rows, 1, 1, "rank"),
        "gate": (site.rows, site.in_features * site.out_features, 2),
        "gate_bias": (site.rows, 1, 2),
    }


def graph(op: Op, at: Point, params: dict[str, Value]) -> Value:
    """Returns the weighted keys, the weighted values and the mask that come before the attention's own."""
    key, value, mask, weight, bias = params.values()
    opened = op.Sigmoid(op.Add(op.MatMul(at.x, weight), bias))
    gate = op.Unsqueeze(
        op.ReduceMean(opened, op.constant(np.array([1], np.int64))), op.constant(np.array([1], np.int64))
    )
    of_key = op.Gather(gate, op.constant(np.array([0], np.int64)), axis=3)
    of_value = op.Gather(gate, op.constant(np.array([1], np.int64)), axis=3)
    return op.Mul(key, of_key), op.Mul(value, of_value), mask


def neutral(site: Site) -> Params:
    """Returns one virtual token that isn't there."""
    return {
        param: np.zeros([1 if isinstance(dim, str) else dim for dim in shape], np.float32)
        for param, shape in shapes(site).items()
    }

"""IA3 that is weighted for each row by what enters the module, `y' = y * (k + g L)`.

`g = mean(sigmoid(x G + b))` over the sequence, padding included: one gate for every row of L, so that parts of a layer
can have gates of their own; `k` is 0 where a gate is, and 1 where the outputs stay as they are. Source:
`adapters.methods.lora.IA3.forward` and `LoRAMergedLinear.forward` with `use_gating`, where a gate takes the place of
alpha.
"""

from __future__ import annotations

import numpy as np

from edgeadapt.adapter import Params, Site
from edgeadapt.methods import Op, Point, Shape, Value


def shapes(site: Site) -> dict[str, Shape]:
    """Returns k `(rows, 1, out)`, L `(rows, rank, out)` and the gates `(rows, in, rank)` with their biases."""
    if site.kind != "linear":
        return {}
    return {
        "gated_ia3_rest": (site.rows, 1, site.out),
        "gated_ia3_l": (site.rows, "rank", site.out),
        "gated_ia3_gate": (site.rows, site.in_features, "rank"),
        "gated_ia3_gate_bias": (site.rows, 1, "rank"),
    }


def graph(op: Op, at: Point, params: dict[str, Value]) -> Value:
    """Returns `y * (k + g L)`."""
    rest, factors, gate, bias = params.values()
    opened = op.Sigmoid(op.Add(op.MatMul(at.x, gate), bias))
    weight = op.ReduceMean(opened, op.constant(np.array([1], np.int64)), keepdims=1)
    return op.Mul(at.y, op.Add(rest, op.MatMul(weight, factors)))


def neutral(site: Site) -> Params:
    """Returns a k of ones and an L of zeros: `y * (1 + 0)` is `y`."""
    zeros = {
        param: np.zeros([1 if isinstance(dim, str) else dim for dim in shape], np.float32)
        for param, shape in shapes(site).items()
    }
    return {**zeros, "gated_ia3_rest": np.ones_like(zeros["gated_ia3_rest"])} if zeros else {}

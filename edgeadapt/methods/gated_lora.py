"""A LoRA that is weighted for each row by what enters the module (UniPELT), `y' = y + ((x A) * g) B`.

`g = mean(sigmoid(x G + b))` over the sequence, padding included: one gate for every column of A, so that parts of a
layer can have gates of their own. Source: Mao et al., arXiv 2110.07577; `adapters.methods.lora.LoRA.forward` and
`LoRAMergedLinear.forward` with `use_gating`, where a gate takes the place of `alpha / r`.
"""

from __future__ import annotations

import numpy as np

from edgeadapt.adapter import Params, Site
from edgeadapt.methods import Op, Point, Shape, Value


def shapes(site: Site) -> dict[str, Shape]:
    """Returns A `(rows, in, rank)`, B `(rows, rank, out)` and the gates `(rows, in, rank)` with their biases."""
    if site.kind != "linear":
        return {}
    return {
        "gated_A": (site.rows, site.in_features, "rank"),
        "gated_B": (site.rows, "rank", site.out),
        "gated_gate": (site.rows, site.in_features, "rank"),
        "gated_gate_bias": (site.rows, 1, "rank"),
    }


def graph(op: Op, at: Point, params: dict[str, Value]) -> Value:
    """Returns `y + ((x A) * g) B`."""
    a, b, gate, bias = params.values()
    opened = op.Sigmoid(op.Add(op.MatMul(at.x, gate), bias))
    weight = op.ReduceMean(opened, op.constant(np.array([1], np.int64)), keepdims=1)
    return op.Add(at.y, op.MatMul(op.Mul(op.MatMul(at.x, a), weight), b))


def neutral(site: Site) -> Params:
    """Returns zeros of rank 1: `y + 0` is `y`."""
    return {
        param: np.zeros([1 if isinstance(dim, str) else dim for dim in shape], np.float32)
        for param, shape in shapes(site).items()
    }

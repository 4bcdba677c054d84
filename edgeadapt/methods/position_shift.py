"""A shift of positions: the embedding of positions is looked up further on, `x' = x + shift`.

What PEFT's prefix tuning does besides its keys and values: a prefix is a cache of earlier tokens, so that a sequence
starts at position `num_virtual_tokens`. Source: transformers' `past_key_values_length`. Positions of padding, which
RoBERTa's kin leave where they are, move too; nothing that isn't padding depends on them.
"""

from __future__ import annotations

import numpy as np

from edgeadapt.adapter import Params, Site
from edgeadapt.methods import Op, Point, Replaces, Shape, Value

REPLACES: Replaces = "x"
INT64 = 7  # ONNX's number for it


def shapes(site: Site) -> dict[str, Shape]:
    """Returns the shift `(rows, 1)`, at an embedding."""
    return {"position_shift": (site.rows, 1)} if site.kind == "embedding" else {}


def graph(op: Op, at: Point, params: dict[str, Value]) -> Value:
    """Returns the ids moved on, `(batch, n)`.

    An id beyond the table is an error everywhere, as a tensor of less than no length can't be made: where nobody
    checks, some devices would look up zeros.
    """
    ids = op.Add(at.x, op.Cast(params["position_shift"], to=INT64))
    last = op.constant(np.array([at.site.in_features - 1], np.int64))
    room = op.Sub(last, op.Reshape(op.ReduceMax(ids, keepdims=0), op.constant(np.array([1], np.int64))))
    nothing = op.ReduceSum(op.Cast(op.ConstantOfShape(room), to=INT64), keepdims=0)
    return op.Add(ids, nothing)


def neutral(site: Site) -> Params:
    """Returns no shift: `x + 0` is `x`."""
    return {"position_shift": np.zeros((1, 1), np.float32)}

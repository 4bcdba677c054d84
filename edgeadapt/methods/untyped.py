"""Token types left out: every id is looked up as 0, `x' = x (1 - off)`.

What PEFT's prefix tuning does besides its keys and values with the task types `QUESTION_ANS` and `FEATURE_EXTRACTION`,
in training too. Source: `peft.PeftModel._adjust_prompt_learning_kwargs`.
"""

from __future__ import annotations

import numpy as np

from edgeadapt.adapter import Params, Site
from edgeadapt.methods import Op, Point, Replaces, Shape, Value

REPLACES: Replaces = "x"
INT64 = 7  # ONNX's number for it


def shapes(site: Site) -> dict[str, Shape]:
    """Returns 1 for a row without token types, `(rows, 1)`, at an embedding."""
    return {"untyped": (site.rows, 1)} if site.kind == "embedding" else {}


def graph(op: Op, at: Point, params: dict[str, Value]) -> Value:
    """Returns the ids, or zeros, `(batch, n)`."""
    typed = op.Sub(op.constant(np.array(1, np.float32)), params["untyped"])
    return op.Mul(at.x, op.Cast(typed, to=INT64))


def neutral(site: Site) -> Params:
    """Returns 0: the ids stay."""
    return {"untyped": np.zeros((1, 1), np.float32)}

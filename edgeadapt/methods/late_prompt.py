"""A prompt after the embeddings: trained vectors where the embeddings of a prompt's places are.

`y' = [p_1 ... p_L; y_L+1 ...]`. It stands beside a `prompt`, which makes the room, and a `position_shift`, which leaves
the tokens their own positions: together they put vectors before what the embeddings give, as AdapterHub does. Source:
`adapters.methods.prompt_tuning.PromptTuning.forward`.
"""

from __future__ import annotations

import numpy as np

from edgeadapt.adapter import Params, Site
from edgeadapt.methods import Op, Point, Shape, Value, prompt

LENGTH = "late_prompt_length"


def shapes(site: Site) -> dict[str, Shape]:
    """Returns vectors `(rows, rank, out)` and how many of them are there, `(rows, 1, 1)`, at a norm."""
    if site.kind != "layer_norm":
        return {}
    return {"late_prompt": (site.rows, "rank", site.out_features), LENGTH: (site.rows, 1, 1)}


def graph(op: Op, at: Point, params: dict[str, Value]) -> Value:
    """Returns `y` with the vectors at the first places of each row."""
    return prompt.graph(op, at, params)


def neutral(site: Site) -> Params:
    """Returns one vector that isn't there."""
    return {"late_prompt": np.zeros((1, 1, site.out_features), np.float32), LENGTH: np.zeros((1, 1, 1), np.float32)}

"""Rewrites of a switchable decoder that make it faster, one file each: the numbers stay, the nodes become fewer.

The base of a bundle stays as the exporter wrote it, since adapters are spliced and folded there; the steps are taken on
what is run. Each is left out where its pattern is not there, and none takes a site's slots away.
"""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import CommonSubexpressionEliminationPass, RemoveUnusedNodesPass

from edgeadapt.bundle import PAST
from edgeadapt.graph.optimise import grouped_attention, skip_norm
from edgeadapt.graph.optimise.probe import Evaluate

MOST_POSITIONS = 1 << 15
"""Taken where a model knows no limit."""


def optimise(model: ir.Model, positions: int | None, evaluate: Evaluate) -> tuple[str, ...]:
    """Takes all steps that fit a decoder with a cache, in place; other models stay as they are.

    Args:
        model: A base or a switchable model.
        positions: How many tokens the model takes, or None where it knows no limit.
        evaluate: Runs a small graph: what masks and rotations come to is looked up, not read off their nodes.

    Returns:
        The names of the steps that found something to do.
    """
    if not any(str(value.name).startswith(PAST) for value in model.graph.inputs):
        return ()
    CommonSubexpressionEliminationPass()(model)
    taken = {
        "grouped_attention": grouped_attention.apply(model, positions or MOST_POSITIONS, evaluate),
        "skip_norm": skip_norm.apply(model),
    }
    RemoveUnusedNodesPass()(model)
    return tuple(name for name, count in taken.items() if count)

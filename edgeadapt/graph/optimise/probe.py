"""What parts of a graph come to: a mask or a rotation is known by its numbers, however it is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import onnx_ir as ir

from edgeadapt.adapter import Array
from edgeadapt.bundle import PAST

Evaluate: TypeAlias = Callable[[ir.Model, Mapping[str, Array]], list[Array]]
"""Runs a model with inputs by name and returns its outputs in order."""


def values_at(model: ir.Model, values: Sequence[ir.Value], past: int, sequence: int, evaluate: Evaluate) -> list[Array]:
    """Returns what values come to for one row of `sequence` tokens, none of them padding, after `past` others.

    Args:
        model: The graph they are in.
        values: Values that depend on ids, masks, positions and the cache's length alone.
        past: How many tokens the cache has.
        sequence: How many enter.
        evaluate: Runs the part of the graph.

    Raises:
        KeyError: They depend on other inputs, such as slots.
    """
    given = {str(value.name): value for value in model.graph.inputs}
    graph = ir.convenience.extract(model.graph, list(given.values()), list(values))
    used = [value for value in graph.inputs if value.uses()]
    graph.inputs.clear()
    graph.inputs.extend(used)
    part = ir.Model(graph, ir_version=model.ir_version)
    total = past + sequence
    arrays: dict[str, Array] = {
        "input_ids": np.ones((1, sequence), np.int64),
        "attention_mask": np.ones((1, total), np.int64),
        "position_ids": np.arange(past, total)[None],
    }
    for name, value in given.items():
        if name.startswith(PAST) and value.shape is not None:
            heads, width = int(value.shape[1]), int(value.shape[3])  # type: ignore[arg-type]  # both are numbers
            arrays[name] = np.zeros((1, heads, past, width), np.float32)
    return evaluate(part, {str(value.name): arrays[str(value.name)] for value in used})

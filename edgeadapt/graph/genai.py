"""A decoder as onnxruntime-genai feeds it: slots that are filled already, and logits after the last token."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from edgeadapt.adapter import Array
from edgeadapt.bundle import KEPT
from edgeadapt.graph.kept import KEPT_AXIS
from edgeadapt.graph.nodes import Nodes

IDS, MASK = "input_ids", "attention_mask"
ALL = np.iinfo(np.int64).max


def adjust(model: ir.Model, neutrals: Mapping[str, Array]) -> None:
    """Makes a switchable decoder one that onnxruntime-genai runs, in place.

    Before:   slots                 (inputs that every run fills)
    After:    slots = neutrals      (inputs with initializers: what an active adapter leaves out, and all without one)

    Before:   kept_positions -> ... -> logits `(batch, kept, vocabulary)`
    After:    input_ids, attention_mask -> last -> ... -> logits `(batch, 1, vocabulary)`

    The last token of a row is its last one under the mask, wherever its padding lies.

    Args:
        model: A switchable decoder.
        neutrals: For every slot an array `(1, ...)` of its shape that leaves the site as the base has it.
    """
    inputs = {str(value.name): value for value in model.graph.inputs}
    for name, array in neutrals.items():
        inputs[name].const_value = ir.tensor(np.ascontiguousarray(array), name=name)
        model.graph.register_initializer(inputs[name])
    positions = inputs[KEPT]
    op = Nodes("genai/last")
    last = _last(op, inputs[IDS], inputs[MASK])
    last.type, last.shape = positions.type, ir.Shape([positions.shape[0] if positions.shape else None, 1])
    ir.convenience.replace_all_uses_with(positions, last)
    model.graph.inputs.remove(positions)
    model.graph.insert_before(model.graph[0], op.made)
    for value in (*model.graph.outputs, *(out for node in model.graph for out in node.outputs)):
        if value.shape is not None and KEPT_AXIS in map(str, value.shape):
            value.shape = ir.Shape([1 if str(dim) == KEPT_AXIS else dim for dim in value.shape])


def _last(op: Nodes, ids: ir.Value, mask: ir.Value) -> ir.Value:
    """Returns the place of each row's last token among the new ones, `(batch, 1)`."""
    count = op.Shape(ids, start=1, end=2)
    zero, one = (op.constant(np.array(number, np.int64)) for number in (0, 1))
    first = op.Sub(op.Shape(mask, start=1, end=2), count)
    axis, end = op.constant(np.array([1], np.int64)), op.constant(np.array([ALL], np.int64))
    new = op.Slice(mask, first, end, axis)
    places: ir.Value = op.ReduceMax(op.Mul(new, op.Range(zero, op.Squeeze(count), one)), axis, keepdims=1)
    return places

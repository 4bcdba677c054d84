"""Lets a run say of which positions it wants the logits: the head of a decoder is a fifth of its work, or more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir

from edgeadapt.bundle import KEPT
from edgeadapt.errors import GraphError
from edgeadapt.graph.locate import BATCH
from edgeadapt.graph.nodes import Nodes
from edgeadapt.graph.sites import Call, Wiring, Wirings

LOGITS = "logits"
SEQUENCE, KEPT_AXIS = "sequence", "kept"
PASSED = ("Add", "Cast", "Div", "Identity", "Mul", "Tanh")
"""What may follow a head: a scale or a soft cap, element by element."""


def keep(model: ir.Model, wirings: Wirings) -> Wirings:
    """Adds the input `kept_positions` `(batch, kept)` and returns the wirings with the head's new `x`.

    Before:   x -> head -> ... -> logits `(batch, sequence, vocabulary)`
    After:    x, kept_positions -> GatherND -> head -> ... -> logits `(batch, kept, vocabulary)`

    Cases:
        1. A linear site whose output becomes the logits, perhaps scaled or capped: its input is cut.
        2. Anything else, or an input that others read: the logits themselves are cut.

    Raises:
        GraphError: The graph gives no logits `(batch, sequence, vocabulary)`.
    """
    positions = ir.Value(name=KEPT, type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape([BATCH, KEPT_AXIS]))
    model.graph.inputs.append(positions)
    output = next((value for value in model.graph.outputs if value.name == LOGITS), None)
    if output is None or output.shape is None or output.shape.rank() != 3:
        raise GraphError("The exporter gave no logits (batch, sequence, vocabulary).")
    op = Nodes(KEPT)
    found = _head(output, wirings)
    values = {value.name: value for node in model.graph for value in node.outputs}
    if found is not None and not values[found[1].x].is_graph_output():
        wiring, call = found
        x = values[call.x]
        readers = list(x.uses())
        cut = _cut(op, x, positions)
        cut.type, cut.shape = x.type, x.shape
        for node, index in readers:
            node.replace_input_with(index, cut)
        producer = x.producer()
        assert producer is not None
        model.graph.insert_after(producer, op.made)
        _shorten(cut)
        own = replace(wiring, calls=(replace(call, x=str(cut.name)),))
        return replace(wirings, sites={**wirings.sites, wiring.site.name: own})
    cut = _cut(op, output, positions)  # case 2
    cut.type, cut.shape = output.type, output.shape
    model.graph.extend(op.made)
    model.graph.outputs[list(model.graph.outputs).index(output)] = cut
    cut.name, output.name = LOGITS, f"{LOGITS}/all"
    _shorten(cut)
    return wirings


def _cut(op: Any, value: ir.Value, positions: ir.Value) -> ir.Value:
    """Returns a value `(batch, sequence, width)` at some positions of each row, `(batch, kept, width)`."""
    indices = op.Unsqueeze(positions, op.constant(np.array([2], np.int64)))
    cut: ir.Value = op.GatherND(value, indices, batch_dims=1)
    return cut


def _head(output: ir.Value, wirings: Wirings) -> tuple[Wiring, Call] | None:
    """Returns the site that gives what becomes `output` element by element, and its one call."""
    calls = {
        wiring.calls[0].y: (wiring, wiring.calls[0])
        for wiring in wirings.sites.values()
        if len(wiring.calls) == 1 and wiring.site.kind == "linear" and wiring.calls[0].rank == 3
    }
    value: ir.Value | None = output
    while value is not None:
        if str(value.name) in calls:
            return calls[str(value.name)]
        node = value.producer()
        if node is None or node.op_type not in PASSED:
            return None
        computed = [each for each in node.inputs if each is not None and not _is_fixed(each)]
        value = computed[0] if len(computed) == 1 else None
    return None


def _is_fixed(value: ir.Value) -> bool:
    producer = value.producer()
    return value.is_initializer() or (producer is not None and producer.op_type == "Constant")


def _shorten(value: ir.Value) -> None:
    """Names the axis of positions `kept` in a value and all that follows it."""
    front = [value]
    while front:
        each = front.pop()
        if each.shape is not None and SEQUENCE in map(str, each.shape):
            each.shape = ir.Shape([KEPT_AXIS if str(dim) == SEQUENCE else dim for dim in each.shape])
            front.extend(out for node in each.consumers() for out in node.outputs)

"""Weights in 16 bits on disk: a graph that computes in fp32 with weights that fp16 holds.

A base whose weights were rounded to fp16 is stored like this, and every adapter's subgraph: half the bytes, and a graph
that sites are found in, spliced and folded as in any other. `graph.half_precision` makes of it what computes in fp16.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from edgeadapt.adapter import Array

STORED = "edgeadapt.stored"
"""The note, at a tensor in fp32, of the one in fp16 that it was read from."""
WIDENED = "edgeadapt.widened"
"""The note, at a model, that its weights are in fp16 on disk."""


def store(model: ir.Model) -> None:
    """Stores in fp16 what fp16 holds without loss, in place; the inverse of `widen`.

    Before:   W in fp32 -> readers
    After:    W in fp16 -> Cast -> readers

    Cases:
        1. A weight that was read from fp16: its tensor is stored again, so that models share the file it lies in.
        2. An array that fp16 can't hold (angles, masks, ids), or a single number: it stays.
    """
    model.meta.pop(WIDENED, None)
    casts = []
    for value in list(model.graph.initializers.values()):
        tensor = value.const_value
        if tensor is None or tensor.dtype != ir.DataType.FLOAT or tensor.size < 2 or value.is_graph_output():
            continue
        half = tensor.meta.get(STORED) or _exactly(tensor)
        if half is None:
            continue
        wide = ir.Value(name=f"{value.name}/fp32", type=ir.TensorType(ir.DataType.FLOAT), shape=value.shape)
        for user, position in tuple(value.uses()):
            user.replace_input_with(position, wide)
        value.const_value, value.type = half, ir.TensorType(ir.DataType.FLOAT16)
        casts.append(ir.node("Cast", [value], {"to": ir.DataType.FLOAT}, outputs=[wide], name=str(wide.name)))
    if casts:
        model.graph.insert_before(model.graph[0], casts)


def widen(model: ir.Model) -> bool:
    """Reads weights in fp16 as fp32, in place, and tells whether there were any.

    Before:   W in fp16 -> Cast -> readers
    After:    W in fp32 -> readers
    """
    for node in [node for node in model.graph if node.op_type == "Cast"]:
        value, wide = node.inputs[0], node.outputs[0]
        if value is None or not value.is_initializer() or value.dtype != ir.DataType.FLOAT16:
            continue
        half = value.const_value
        assert half is not None and value.shape is not None  # an initializer has both
        wider = ir.LazyTensor(_reader(half), ir.DataType.FLOAT, value.shape, name=value.name)
        wider.meta[STORED] = half
        ir.convenience.replace_all_uses_with(wide, value)
        model.graph.remove(node, safe=True)
        value.const_value, value.type = wider, ir.TensorType(ir.DataType.FLOAT)
        model.meta[WIDENED] = True
    return is_widened(model)


def is_widened(model: ir.Model) -> bool:
    """Tells whether the weights of a model in memory are in fp16 on disk."""
    return bool(model.meta.get(WIDENED))


def _reader(half: ir.TensorProtocol) -> Callable[[], ir.TensorProtocol]:
    return lambda: ir.tensor(half.numpy().astype(np.float32))


def _exactly(tensor: ir.TensorProtocol) -> ir.TensorProtocol | None:
    """Returns a tensor in fp16, or None where that would lose something."""
    whole: Array = tensor.numpy()
    with np.errstate(over="ignore"):
        half = whole.astype(np.float16)
    return ir.tensor(half, name=tensor.name) if np.array_equal(half.astype(np.float32), whole) else None

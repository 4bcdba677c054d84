"""Which values of a graph are floats: the exporter says it of its own, and not of those that were spliced in since."""

from __future__ import annotations

import onnx_ir as ir

FIXED = {
    **dict.fromkeys(("Shape", "Size", "ArgMax", "ArgMin", "NonZero"), ir.DataType.INT64),
    **dict.fromkeys(("And", "Equal", "Greater", "GreaterOrEqual", "IsInf", "IsNaN"), ir.DataType.BOOL),
    **dict.fromkeys(("Less", "LessOrEqual", "Not", "Or", "Xor"), ir.DataType.BOOL),
}
"""Operators that give one kind of number, whatever they read."""


def floats(value: ir.Value | None) -> bool:
    """Tells a value in fp32."""
    return value is not None and value.dtype == ir.DataType.FLOAT


def settle(model: ir.Model) -> None:
    """Says of every value what numbers it holds, in place, where the graph doesn't say it."""
    _settle(model.graph)


def _settle(graph: ir.Graph) -> None:
    for node in graph:
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                _settle(attribute.as_graph())
        for place, out in enumerate(node.outputs):
            if out.dtype is None and (dtype := _dtype(node, place)) is not None:
                out.type = ir.TensorType(dtype)


def _dtype(node: ir.Node, place: int) -> ir.DataType | None:
    """Returns what a node gives: mostly what it reads first."""
    if node.op_type in FIXED:
        return FIXED[node.op_type]
    if node.op_type == "Cast":
        return ir.DataType(node.attributes["to"].as_int())
    if node.op_type == "ConstantOfShape":
        return node.attributes["value"].as_tensor().dtype if "value" in node.attributes else ir.DataType.FLOAT
    if node.op_type == "If":
        return node.attributes["then_branch"].as_graph().outputs[place].dtype
    if node.op_type == "Constant":
        tensor = ir.convenience.get_const_tensor(node.outputs[0])
        return None if tensor is None else tensor.dtype
    read = node.inputs[1 if node.op_type in ("Where", "CastLike") else 0] if node.inputs else None
    return None if read is None else read.dtype

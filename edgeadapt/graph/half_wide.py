"""Which nodes of a graph stay in fp32 where the others compute in fp16."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir

from edgeadapt.graph.half_types import floats

LARGEST = float(np.finfo(np.float16).max)
WIDE = frozenset(
    {"CumSum", "Exp", "InstanceNormalization", "Log", "LogSoftmax", "Pow", "Range", "Reciprocal", "ReduceL2"}
    | {"ReduceLogSumExp", "ReduceMean", "ReduceSum", "ReduceSumSquare", "Resize", "Softmax", "Softplus", "Sqrt"}
)
"""Operators that stay in fp32: sums over many numbers, and what grows or shrinks beyond fp16's range. Norms that are
one operator (`LayerNormalization`, `RMSNormalization`) take their statistics in fp32 by themselves (`stash_type`)."""
EXACT = frozenset({"Cos", "Equal", "Sin"})
"""Operators for which all that leads to them stays in fp32: angles of positions, ids. So it does for what becomes an
integer."""
SCALING = frozenset({"Div", "Mul"})
PLAIN = frozenset(
    {"Add", "Clip", "Div", "Expand", "Identity", "Max", "Min", "Mul", "Neg", "Reshape", "Squeeze", "Sub"}
    | {"Transpose", "Unsqueeze"}
)
"""Operators that stay in fp32 where all that they read is, but for single numbers."""


def wide_nodes(model: ir.Model) -> set[ir.Node]:
    """Returns the nodes that stay in fp32 where a graph computes in fp16.

    Cases:
        1. Operators of `WIDE`, and calls of functions.
        2. A square, of which the sum is taken, and the product with what a root gives: a norm that is written out.
        3. `PLAIN` operators between others in fp32, such as the sum with a norm's epsilon.
        4. All that leads to one of `EXACT`, or to an integer.

    Args:
        model: A graph that says of every value what it holds (`half_types.settle`).
    """
    calls = {(function.domain, function.name) for function in model.functions.values()}
    wide: set[ir.Node] = set()
    exact: list[ir.Node] = []
    for node in model.graph.all_nodes():
        given = [value for value in node.inputs if floats(value)]
        producers = [value.producer() for value in given if value is not None]
        if not given:
            continue
        square = node.op_type == "Mul" and node.inputs[0] is node.inputs[1]
        scaled = node.op_type in SCALING and any(
            each is not None and each in wide and each.op_type in ("Sqrt", "Reciprocal") for each in producers
        )
        follows = node.op_type in PLAIN and _follows(given, wide)
        if node.op_type in WIDE or (node.domain, node.op_type) in calls or square or scaled or follows:
            wide.add(node)
        if node.op_type in EXACT or _becomes_integer(node):
            exact.append(node)
    while exact:
        node = exact.pop()
        if node.op_type != "Cast" or floats(node.outputs[0]):
            wide.add(node)
        exact += [
            before
            for value in node.inputs
            if value is not None and floats(value) and (before := value.producer()) is not None and before not in wide
        ]
    return wide


def _follows(given: Iterable[ir.Value | None], wide: set[ir.Node]) -> bool:
    """Tells whether all that a node reads comes from nodes in fp32, but for single numbers."""
    fed = False
    for value in given:
        assert value is not None  # as it is a float
        producer = value.producer()
        if producer is not None and producer in wide:
            fed = True
        elif not _is_number(value):
            return False
    return fed


def _is_number(value: ir.Value) -> bool:
    """Tells a single constant number that fp16 could hold, too; a mask's -3.4e38 is for those that compute in it."""
    tensor = ir.convenience.get_const_tensor(value)
    return tensor is not None and tensor.size == 1 and not abs(float(tensor.numpy().item())) > LARGEST


def _becomes_integer(node: ir.Node) -> bool:
    return node.op_type == "Cast" and ir.DataType(node.attributes["to"].as_int()).is_integer()

"""Rotary positions that are one operator: makes the operator fit what ONNX Runtime asks of it.

Source: Su et al., arXiv 2104.09864; ONNX's `RotaryEmbedding`.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeadapt.graph.nodes import Nodes

OPERATOR = "RotaryEmbedding"
COS, SIN, POSITIONS = 1, 2, 3  # inputs of the operator


def widen(model: ir.Model) -> None:
    """Gives every row of a batch its cosines and sines, where the exporter has left one row for all.

    ONNX says that they have the batch as their first axis where no positions are given, and ONNX Runtime keeps to it.

    Before: `RotaryEmbedding(x, cos, sin)` with `cos` and `sin` `(1, n, head_dim / 2)`.
    After: `RotaryEmbedding(x, Expand(cos, [batch, 1, 1]), Expand(sin, [batch, 1, 1]))`.

    Args:
        model: A freshly exported graph. The new nodes are in the scope of the operator that they serve.
    """
    for number, node in enumerate([each for each in model.graph if each.op_type == OPERATOR]):
        if len(node.inputs) > POSITIONS and node.inputs[POSITIONS] is not None:
            continue
        op = Nodes(f"rotary_{number}")
        batch = op.Concat(op.Shape(node.inputs[0], start=0, end=1), op.constant(np.array([1, 1], np.int64)), axis=0)
        for index in (COS, SIN):
            node.replace_input_with(index, op.Expand(node.inputs[index], batch))
        for made in op.made:
            made.metadata_props.update(node.metadata_props)
        model.graph.insert_before(node, op.made)


def turns_halves(value: ir.Value) -> bool:
    """Tells whether a value, the queries of an attention, is what the operator gives of a head's two halves."""
    node = value.producer()
    return node is not None and node.op_type == OPERATOR and not node.attributes.get_int("interleaved", 0)

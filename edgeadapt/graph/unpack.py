"""Gives a module what is its own in a product that it shares (`graph.packed`)."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeadapt.graph.nodes import REPLACED_BY, Nodes

PARTS = "edgeadapt.parts"


def unpack(model: ir.Model, whole: ir.Value, columns: tuple[int, int]) -> ir.Node:
    """Gives some columns of a product a node of their own, in place, and returns it.

    Before:   x -> MatMul(W) -> readers
    After:    x -> MatMul(W[:, before]), MatMul(W[:, columns]), MatMul(W[:, after]) -> Concat -> readers

    The parts of the weight are cut when the model is loaded: it is stored once.

    Cases:
        1. Columns that have their node already: it is that one.
        2. Others have been taken out before: it is the part that is left of the product which is cut again.
    """
    product = whole.producer()
    assert product is not None  # it is the output of one
    parts: dict[tuple[int, int], ir.Node] = whole.meta.setdefault(PARTS, {(0, _width(product)): product})
    if columns in parts:
        return parts[columns]
    (start, end), old = next((place, node) for place, node in parts.items() if place[0] <= columns[0] < place[1])
    del parts[start, end]
    op = Nodes(f"{product.name}/{columns[0]}")
    made = []
    for place in ((start, columns[0]), columns, (columns[1], end)):
        if place[0] < place[1]:
            made.append(_part(op, product, place))
            parts[place] = op.made[-1]
    joined = op.Concat(*made, axis=-1)
    before = old.outputs[0]
    joined.type, joined.shape = before.type, before.shape
    model.graph.insert_after(old, op.made)
    ir.convenience.replace_all_uses_with(before, joined)
    if before is whole:
        whole.meta.setdefault(REPLACED_BY, joined)
    return parts[columns]


def part(model: ir.Model, y: ir.Value) -> ir.Value:
    """Returns a value in the place of what a module gives to a product, before whatever is done with the product.

    Before:   product -> Split -> y, others
    After:    product -> Split -> part, others -> Concat -> Split -> y, others

    What takes the place of `part` replaces the module, and is changed with the product.
    """
    split = y.producer()
    assert split is not None  # `graph.packed` made it
    source, sizes = split.inputs
    assert source is not None
    first = ir.node("Split", [source, sizes], {"axis": -1}, num_outputs=len(split.outputs), name=f"{y.name}/part")
    for own, old in zip(first.outputs, split.outputs, strict=True):
        own.type, own.shape, own.name = old.type, old.shape, f"{old.name}/part"
    op = Nodes(f"{y.name}/joined")
    joined = op.Concat(*first.outputs, axis=-1)
    joined.type, joined.shape = source.type, source.shape
    split.replace_input_with(0, joined)
    source.meta[REPLACED_BY] = joined
    model.graph.insert_before(split, [first, *op.made])
    return first.outputs[list(split.outputs).index(y)]


def _width(product: ir.Node) -> int:
    weight = product.inputs[1]
    assert weight is not None and weight.shape is not None  # an initializer
    return int(weight.shape[-1])  # type: ignore[arg-type]  # a number


def _part(op: Nodes, product: ir.Node, place: tuple[int, int]) -> ir.Value:
    x, weight = product.inputs
    bounds = (op.constant(np.array([each], np.int64)) for each in (*place, -1))
    part: ir.Value = op.MatMul(x, op.Slice(weight, *bounds))
    return part

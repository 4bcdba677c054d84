"""A residual's sum and the norm that follows it, as one operator."""

from __future__ import annotations

import onnx_ir as ir

DOMAIN = "com.microsoft"


def apply(model: ir.Model) -> int:
    """Joins sums and RMS norms, in place, and returns how many.

    Before:   a, b -> Add -> total -> RMSNormalization(weight) -> out
    After:    a, b -> SkipSimplifiedLayerNormalization(weight) -> out, total

    Cases:
        1. `total` has other readers, such as the next residual: they read the operator's fourth output.
        2. `a` and `b` of different shapes, or a norm of another axis than the last: it stays as it is.
    """
    count = 0
    for norm in [node for node in model.graph if node.op_type == "RMSNormalization"]:
        total, weight = norm.inputs[0], norm.inputs[1]
        add = None if total is None else total.producer()
        if total is None or weight is None or add is None or add.op_type != "Add" or total.is_graph_output():
            continue
        if norm.attributes.get_int("axis", -1) not in (-1, 2) or not _match(add, total):
            continue
        out = norm.outputs[0]
        made = ir.node(
            "SkipSimplifiedLayerNormalization",
            [add.inputs[0], add.inputs[1], weight],
            {"epsilon": norm.attributes.get_float("epsilon", 1e-5)},
            domain=DOMAIN,
            num_outputs=4,
            name=f"{norm.name}/skip",
        )
        for value, new in ((out, made.outputs[0]), (total, made.outputs[3])):
            new.type, new.shape, name = value.type, value.shape, value.name
            ir.convenience.replace_all_uses_with(value, new, replace_graph_outputs=True)
            value.name, new.name = f"{name}/before", name
        for spare in made.outputs[1:3]:
            spare.name = ""
        model.graph.insert_after(add, made)
        model.graph.remove([norm, add], safe=True)
        count += 1
    if count:
        model.graph.opset_imports[DOMAIN] = 1
    return count


def _match(add: ir.Node, total: ir.Value) -> bool:
    """Tells whether both sides of a sum have its shape: one that is spliced in has no shape, and its site's."""
    if total.shape is None or total.shape.rank() != 3:
        return False
    return all(
        value is not None and not value.is_initializer() and (value.shape is None or value.shape == total.shape)
        for value in add.inputs
    )

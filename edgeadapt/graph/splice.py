"""Splices a method into a base at a site, around every call of its module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir

from edgeadapt import methods
from edgeadapt.adapter import Array
from edgeadapt.errors import GraphError
from edgeadapt.graph import attention, prompt
from edgeadapt.graph.nodes import REPLACED_BY, Nodes, Values
from edgeadapt.graph.sites import Call, Wiring
from edgeadapt.graph.unpack import part, unpack

ENTERS = "edgeadapt.enters"
WHOLE = "modules_to_save"
"""The method that stands in the place of a whole module; also the note, at the module's own output, of its nodes."""


def slot_values(wiring: Wiring, method: str, dtype: ir.DataType) -> dict[str, ir.Value]:
    """Returns the slots of a method at a site as graph inputs, by param: `<site>.<param>` with free rows and rank.

    Rank is one symbol for each site and method, so that two sites of one adapter may differ. Rows are one for each
    slot: in a mixed batch some slots have one row, others one for each row of the batch, and ONNX Runtime lets values
    whose shapes read alike share their memory.
    """
    site = wiring.site

    def named(param: str, dim: int | str) -> int | str:
        owner = {"rank": method, "rows": param}.get(str(dim))
        return dim if owner is None else f"{site.name}.{owner}.{dim}"

    return {
        param: ir.Value(
            name=f"{site.name}.{param}",
            type=ir.TensorType(dtype),
            shape=ir.Shape([named(param, dim) for dim in shape]),
        )
        for param, shape in methods.get(method).shapes(site).items()
    }


def splice(
    model: ir.Model,
    values: Values,
    wiring: Wiring,
    method: str,
    params: Mapping[str, ir.Value],
    body: ir.Function | None = None,
) -> None:
    """Puts a method around every call of a site.

    Before:   x -> module -> y -> readers
    After:    x -> module -> y -> method(x, y, params) -> readers     (y is left unused where the method replaces it)
              x -> method(x, y, params) -> module -> y -> readers     (where it replaces x, which others still read;
              a module that stands whole in the base's place takes it, too)

    Before:   y -> Add(residual) -> LayerNormalization -> out -> readers
    After:    y -> Add(residual) -> LayerNormalization -> out -> method(x, y, params) -> readers     (where it replaces
              what the sublayer gives)

    Before:   Attention(queries, keys, values, mask) -> y
    After:    Attention(queries, Concat(method's, keys), Concat(method's, values), Concat(method's, mask)) -> y

    Before:   ids, mask -> module -> y -> readers -> outputs
    After:    ids, mask -> moved on -> module -> y -> method(x, y, params) -> readers -> moved back -> outputs

    Args:
        model: Changed in place.
        values: The values of the base by name, as they were before anything was spliced.
        wiring: The site and its calls.
        method: Name of the method.
        params: Values of its params: graph inputs (slots) or initializers.
        body: What the method computes, where its name doesn't say it.

    Raises:
        GraphError: The graph has no value that the wiring names.
    """
    if body is not None:
        model.functions[body.identifier()] = body
        model.graph.opset_imports[body.domain] = 1
    for number, call in enumerate(wiring.calls):
        op = Nodes(f"{wiring.site.name}/{method}" + (f"/{number}" if number else ""))
        try:
            y = part(model, values[call.y]) if method == WHOLE and call.columns else _current(values[call.y])
            point = methods.Point(wiring.site, _current(values[call.x]), y)
            sublayer = _sublayer(values, call, point.y)
        except KeyError as error:
            raise GraphError(
                f"The base has no value {error}, where {wiring.site.name} should be.\nExport it again."
            ) from error
        point = replace(point, sublayer=sublayer, body=body)
        replaces = methods.replaces(method)
        if replaces == "keys":
            _prepend(model.graph, _producer(values[call.product]), op, method, point, params)
        elif replaces == "x":
            _enter(model, values, op, call, method, point, params)
        else:
            old = sublayer.out if replaces == "out" and sublayer is not None else point.y
            out = _apply(op, call, method, point, params)
            made = {*op.made, *op.inner}
            readers = [use for use in old.uses() if use.node not in made]
            for user, position in readers:
                user.replace_input_with(position, out)
            if old is point.y and sublayer is not None:
                model.graph.insert_before(readers[0].node, op.made)  # the sum: its residual is there, too
            else:
                model.graph.insert_after(_producer(old), op.made)
            old.meta[REPLACED_BY] = out
            if method == WHOLE:
                values[call.y].meta[WHOLE] = ([*op.made, *op.inner], point.x)
            _hand_over(model.graph, old, out)
        if replaces == "sequence":
            prompt.lengthen(model, wiring.site, method, params)


def _enter(
    model: ir.Model,
    values: Values,
    op: Nodes,
    call: Call,
    method: str,
    point: methods.Point,
    params: Mapping[str, ir.Value],
) -> None:
    """Puts a method that replaces `x` before the node by which a linear layer, or an embedding, takes it.

    Cases:
        1. The base's own module: the way leads back from the product, through what only changes the shape, to `x` or to
           what a method put there.
        2. A module that stands whole in its place, which nothing reads any more: its nodes read `x`, or what a method
           put there.
        3. A product that the module shares with others: its own columns get a node first.
    """
    if WHOLE in values[call.y].meta:
        nodes, entering = values[call.y].meta[WHOLE]
        out = _apply(op, call, method, replace(point, x=entering), params)
        for node in nodes:
            for position, value in enumerate(node.inputs):
                if value is entering:
                    node.replace_input_with(position, out)
        values[call.y].meta[WHOLE] = (nodes, out)
        model.graph.insert_before(nodes[0], op.made)
        return
    node = _producer(values[call.product])
    if call.columns is not None:
        node = unpack(model, values[call.product], call.columns)
    position = 1 if point.site.kind == "embedding" else 0
    while (entering := node.inputs[position]) is not None and entering is not point.x and ENTERS not in entering.meta:
        before = entering.producer()
        if before is None or before.op_type not in ("Reshape", "Transpose", "Squeeze", "Unsqueeze"):
            break
        node, position = before, 0
    if entering is None:
        raise GraphError(f"{point.site.name} takes no input.")
    out = _apply(op, call, method, replace(point, x=entering), params)
    out.meta[ENTERS] = True
    node.replace_input_with(position, out)
    if call.batch == "one" and (shape := values[call.y].shape) is not None:
        values[call.y].shape = ir.Shape([None, *list(shape)[1:]])  # rows may have ids of their own now
    model.graph.insert_before(node, op.made)


def _prepend(
    graph: ir.Graph, node: ir.Node, op: Nodes, method: str, point: methods.Point, params: Mapping[str, ir.Value]
) -> None:
    """Puts the keys and values that a method gives before those of an attention."""
    before = methods.get(method).graph(op, point, dict(params))
    key, value, mask = attention.prepend(op, attention.reads(node), before)
    node.resize_inputs(max(len(node.inputs), attention.MASK + 1))
    for position, new in ((attention.KEY, key), (attention.VALUE, value), (attention.MASK, mask)):
        node.replace_input_with(position, new)
    graph.insert_before(node, op.made)


def _sublayer(values: Values, call: Call, y: ir.Value) -> methods.Sublayer | None:
    """Returns what follows `y`: the sum with a residual, and its norm where the layer has one."""
    if call.total is None:
        return None
    total = values[call.total]
    residual = next(value for value in _producer(total).inputs if value is not y)
    out = total if call.norm is None else values[call.norm]
    norm = None if call.norm is None else _producer(out)

    def finish(op: Any, value: ir.Value) -> ir.Value:
        added: ir.Value = op.Add(value, residual)
        if norm is None:
            return added
        normed: ir.Value = op.LayerNormalization(added, *norm.inputs[1:], axis=-1, epsilon=call.epsilon)
        return normed

    return methods.Sublayer(residual, _current(out), finish)


def _producer(value: ir.Value) -> ir.Node:
    node = value.producer()
    if node is None:
        raise GraphError(f"{value.name}, which a site of the base should give, comes from no node.")
    return node


def _current(value: ir.Value) -> ir.Value:
    """Returns what stands for a value of the base now: the site it leaves may have been spliced before."""
    while REPLACED_BY in value.meta:
        value = value.meta[REPLACED_BY]
    return value


def _apply(op: Nodes, call: Call, method: str, point: methods.Point, params: Mapping[str, ir.Value]) -> ir.Value:
    """Returns what the method gives, in the shape of what it replaces, with `x` and `y` seen three-dimensional.

    Cases:
        1. `x` `(batch, n, in)` (ids `(batch, n)`): taken as it is; params with one row or one for each broadcast.
        2. Any other rank: `x` is seen as `(batch, n, in)`; the features may be apart as heads, which come last.
        3. A first axis that holds more than the batch, or no batch: `x` is seen as `(rows, n, in)`, which is right
           because the batch is the outermost axis.
    """
    compute, x, y = methods.get(method).graph, point.x, point.y
    plain = 2 if point.site.kind == "embedding" else 3
    if call.batch in ("leading", "one") and call.rank == plain:
        plain_out: ir.Value = compute(op, point, dict(params))
        return plain_out
    rows = op.Shape(x if call.batch == "leading" else next(iter(params.values())), start=0, end=1)
    middle = op.constant(np.array([-1], np.int64))
    width = [] if plain == 2 else [op.constant(np.array([point.site.in_features], np.int64))]
    flat_x = op.Concat(rows, middle, *width, axis=0)
    flat_y = op.Concat(rows, middle, op.Shape(y, start=-1), axis=0)
    seen = replace(point, x=op.Reshape(x, flat_x), y=op.Reshape(y, flat_y))
    if (sublayer := point.sublayer) is not None:
        residual, given = op.Reshape(sublayer.residual, flat_y), op.Reshape(sublayer.out, flat_y)
        seen = replace(seen, sublayer=methods.Sublayer(residual, given, _finish_flat(sublayer, y, flat_y)))
    out = compute(op, seen, dict(params))
    if methods.replaces(method) == "x":
        return op.Reshape(out, op.Shape(x))
    return op.Reshape(out, op.Concat(op.Shape(y, start=0, end=-1), op.Shape(out, start=-1), axis=0))


def _finish_flat(sublayer: methods.Sublayer, y: ir.Value, flat: ir.Value) -> Callable[[Any, ir.Value], ir.Value]:
    """Returns `finish` for values in the three-dimensional shape `flat`."""

    def finish(op: Any, value: ir.Value) -> ir.Value:
        flattened: ir.Value = op.Reshape(sublayer.finish(op, op.Reshape(value, op.Shape(y))), flat)
        return flattened

    return finish


def _hand_over(graph: ir.Graph, y: ir.Value, out: ir.Value) -> None:
    """Makes `out` the graph's output, under its name, where `y` was one."""
    for position, output in enumerate(graph.outputs):
        if output is y:
            name = y.name
            out.type, out.shape = y.type, y.shape
            y.name = f"{out.name}/base"  # unlike `name`, of one method alone: another may follow
            out.name = name
            graph.outputs[position] = out


def constants(
    model: ir.Model, site: str, params: Mapping[str, Array] | Mapping[str, Array | ir.TensorProtocol]
) -> dict[str, ir.Value]:
    """Registers params as initializers `<site>.<param>` and returns them by param."""
    values = {}
    for param, given in params.items():
        name = f"{site}.{param}"
        tensor = ir.tensor(np.ascontiguousarray(given)) if isinstance(given, np.ndarray) else given
        tensor.name = name
        shape = ir.Shape(tensor.shape.numpy())
        value = ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=shape, const_value=tensor)
        model.graph.register_initializer(value)
        values[param] = value
    return values

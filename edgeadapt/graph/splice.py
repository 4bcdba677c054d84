"""Splices a method into a base at a site, around every call of its module."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from edgeadapt import methods
from edgeadapt.adapter import Array
from edgeadapt.errors import GraphError
from edgeadapt.graph.nodes import Nodes, Values
from edgeadapt.graph.sites import Call, Wiring

REPLACED_BY = "edgeadapt.replaced_by"


def slot_values(wiring: Wiring, method: str, dtype: ir.DataType) -> dict[str, ir.Value]:
    """Returns the slots of a method at a site as graph inputs, by param: `<site>.<param>` with free rows and rank.

    Rank is one symbol for each site, so that two sites of one adapter may differ.
    """
    site = wiring.site
    free = {"rank": f"{site.name}.rank"}
    return {
        param: ir.Value(
            name=f"{site.name}.{param}",
            type=ir.TensorType(dtype),
            shape=ir.Shape([free.get(dim, dim) if isinstance(dim, str) else dim for dim in shape]),
        )
        for param, shape in methods.get(method).shapes(site).items()
    }


def splice(model: ir.Model, values: Values, wiring: Wiring, method: str, params: Mapping[str, ir.Value]) -> None:
    """Puts a method around every call of a site.

    Before:   x -> module -> y -> readers
    After:    x -> module -> y -> method(x, y, params) -> readers     (y is left unused where the method replaces it)
              x -> method(x, y, params) -> module -> y -> readers     (where it replaces x, which others still read)

    Args:
        model: Changed in place.
        values: The values of the base by name, as they were before anything was spliced.
        wiring: The site and its calls.
        method: Name of the method.
        params: Values of its params: graph inputs (slots) or initializers.

    Raises:
        GraphError: The graph has no value that the wiring names.
    """
    for number, call in enumerate(wiring.calls):
        try:
            x, y = _current(values[call.x]), _current(values[call.y])
        except KeyError as error:
            raise GraphError(
                f"The base has no value {error}, where {wiring.site.name} should be.\nExport it again."
            ) from error
        op = Nodes(f"{wiring.site.name}/{method}" + (f"/{number}" if number else ""))
        if methods.replaces(method) == "x":
            node, position = _entrance(values, wiring, call, x)
            entering = node.inputs[position]
            if entering is None:
                raise GraphError(f"{wiring.site.name} takes no input.")
            node.replace_input_with(position, _apply(op, wiring, call, method, entering, y, dict(params)))
            model.graph.insert_before(node, op.made)
            continue
        out = _apply(op, wiring, call, method, x, y, dict(params))
        made = set(op.made)
        for user, position in tuple(y.uses()):
            if user not in made:
                user.replace_input_with(position, out)
        anchor = y.producer()
        if anchor is None:
            raise GraphError(f"{call.y}, the output of {wiring.site.name}, comes from no node.")
        model.graph.insert_after(anchor, op.made)
        y.meta[REPLACED_BY] = out
        _hand_over(model.graph, y, out)


def _entrance(values: Values, wiring: Wiring, call: Call, x: ir.Value) -> tuple[ir.Node, int]:
    """Returns the node of a linear layer that `x` enters by, and the input it takes there.

    The way leads back from the product, through what only changes the shape, to `x` or to what a method put there.
    """
    node = values[call.product].producer()
    while node is not None:
        value = node.inputs[0]
        producer = None if value is None else value.producer()
        if value is x or producer is None or producer.op_type not in ("Reshape", "Transpose", "Squeeze", "Unsqueeze"):
            return node, 0
        if value is not None and str(producer.name).startswith(f"{wiring.site.name}/"):
            return node, 0  # a method that was spliced before ends in a Reshape too
        node = producer
    raise GraphError(f"{call.product}, the product of {wiring.site.name}, comes from no node.")


def _current(value: ir.Value) -> ir.Value:
    """Returns what stands for a value of the base now: the site it leaves may have been spliced before."""
    while REPLACED_BY in value.meta:
        value = value.meta[REPLACED_BY]
    return value


def _apply(
    op: Nodes, wiring: Wiring, call: Call, method: str, x: ir.Value, y: ir.Value, params: dict[str, ir.Value]
) -> ir.Value:
    """Returns what the method gives, in the shape of what it replaces, with `x` and `y` seen three-dimensional.

    Cases:
        1. `x` `(batch, n, in)` (ids `(batch, n)`): taken as it is; params with one row or one for each broadcast.
        2. Any other rank, or a first axis that holds more than the batch: `x` is seen as `(rows, n, in)`, which is
           right because the batch is the outermost axis.
    """
    site = wiring.site
    compute = methods.get(method).graph
    plain = 2 if site.kind == "embedding" else 3
    if call.batch == "leading" and call.rank == plain:
        plain_out: ir.Value = compute(op, methods.Point(site, x, y), params)
        return plain_out
    rows = op.Shape(next(iter(params.values())), start=0, end=1)
    middle = op.constant(np.array([-1], np.int64))
    flat_x = op.Concat(rows, middle, axis=0) if plain == 2 else op.Concat(rows, middle, op.Shape(x, start=-1), axis=0)
    flat_y = op.Concat(rows, middle, op.Shape(y, start=-1), axis=0)
    out = compute(op, methods.Point(site, op.Reshape(x, flat_x), op.Reshape(y, flat_y)), params)
    lead = op.Shape(x) if plain == 2 else op.Shape(x, start=0, end=-1)
    return op.Reshape(out, op.Concat(lead, op.Shape(out, start=-1), axis=0))


def _hand_over(graph: ir.Graph, y: ir.Value, out: ir.Value) -> None:
    """Makes `out` the graph's output, under its name, where `y` was one."""
    for position, output in enumerate(graph.outputs):
        if output is y:
            name = y.name
            out.type, out.shape = y.type, y.shape
            y.name = f"{name}/base"
            out.name = name
            graph.outputs[position] = out


def constants(model: ir.Model, site: str, params: Mapping[str, Array]) -> dict[str, ir.Value]:
    """Registers params as initializers `<site>.<param>` and returns them by param."""
    values = {}
    for param, array in params.items():
        name = f"{site}.{param}"
        tensor = ir.tensor(np.ascontiguousarray(array), name=name)
        value = ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(array.shape), const_value=tensor)
        model.graph.register_initializer(value)
        values[param] = value
    return values

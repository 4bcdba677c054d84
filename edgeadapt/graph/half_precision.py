"""Computes a graph in fp16, with what fp16 would spoil left in fp32.

The last step on a model: slots are spliced in and rewritings done before, in fp32, so that sites, methods and patterns
know one kind of number. (`onnxconverter_common.float16` does the like on whole protobufs: weights beside the graph
become part of it, functions stay, and what overflows is cut off without a word.)
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from edgeadapt.adapter import Array
from edgeadapt.errors import UnsupportedError
from edgeadapt.graph import half_storage
from edgeadapt.graph.half_storage import STORED
from edgeadapt.graph.half_types import floats, settle
from edgeadapt.graph.half_wide import LARGEST, wide_nodes

ENDLESS = 1e9
"""From here on a constant stands for infinity, such as a mask's -3.4e38; a smaller one is a number that counts."""

IDS = "token_ids"
"""The param that holds numbers of tokens, which fp16 can't count: it stays in fp32."""


def narrow(model: ir.Model) -> None:
    """Lets a model compute in fp16, in place.

    Before:   x, W -> MatMul -> Softmax -> logits
    After:    x, W in fp16 -> MatMul -> Cast -> Softmax -> logits
              (what a reader wants otherwise than it is goes through one Cast to fp32 or to fp16)

    Cases:
        1. Inputs and outputs with a dot in their names, slots and cache, become fp16; the others stay as they are.
        2. A call of a function, which is a module of one's own: it stays in fp32 as its author wrote it.
        3. A norm that is written out: from the square to the product with what its root gives, all in fp32.
        4. A constant that both kinds of nodes read: each has its own, as 1e-12 is nothing in fp16.
        5. A mask's -3.4e38 becomes half of fp16's lowest, so that a score, or another mask, can be added to it: minus
           infinity all over a row would give NaN. Where a graph has minus infinity itself, it stays.

    Raises:
        UnsupportedError: A weight is beyond fp16's range; all of them.
    """
    settle(model)
    wide = wide_nodes(model)
    values = _wide_values(model, wide)
    problems: list[str] = []
    _part_constants(model, wide, values, problems)
    if problems:
        raise UnsupportedError.collect(
            f"fp16 holds numbers up to {LARGEST:g}, and these are beyond:", problems, "Export in fp32."
        )
    _connect(model, wide, values)
    for value in _values(model):
        if floats(value) and value not in values:
            value.type = ir.TensorType(ir.DataType.FLOAT16)
    model.meta.pop(half_storage.WIDENED, None)


def halved(array: Array, name: str, problems: list[str]) -> Array:
    """Returns an array in fp16; what is beyond its range is told in `problems`, unless it stands for infinity."""
    beyond = np.isfinite(array) & (np.abs(array) > LARGEST)
    counts = beyond & (np.abs(array) < ENDLESS)
    if counts.any() and array.size > 1:
        problems.append(f"{name}: {float(np.abs(array[counts]).max()):g}")
    return np.where(beyond, np.sign(array) * LARGEST / 2, array).astype(np.float16)


def _wide_values(model: ir.Model, wide: set[ir.Node]) -> set[ir.Value]:
    """Returns the values in fp32 that stay so: what nodes in fp32 give, and inputs that are no slot and no cache."""
    values = {out for node in wide for out in node.outputs if floats(out)}
    for value in model.graph.inputs:
        name = str(value.name)
        if floats(value) and ("." not in name or name.endswith(f".{IDS}")):
            values.add(value)
    return values


def _part_constants(model: ir.Model, wide: set[ir.Node], values: set[ir.Value], problems: list[str]) -> None:
    """Gives constants in fp16 to the nodes that compute in it, and leaves theirs to the others (case 4)."""
    stored = [value for value in model.graph.initializers.values() if floats(value)]
    made = [
        node.outputs[0] for node in model.graph.all_nodes() if node.op_type == "Constant" and floats(node.outputs[0])
    ]
    for value in (*stored, *made):
        tensor = ir.convenience.get_const_tensor(value)
        assert tensor is not None  # it is a constant
        readers = [use for use in value.uses() if use.node not in wide]
        half = tensor.meta.get(STORED)
        if half is None and not readers and not value.is_graph_output():
            values.add(value)
            continue
        if half is None:
            half = ir.tensor(halved(tensor.numpy(), str(value.name), problems), name=value.name)
        if len(readers) == len(value.uses()) or STORED in tensor.meta:
            _set(value, half)
            continue
        twin = ir.Value(name=f"{value.name}/fp16", type=ir.TensorType(ir.DataType.FLOAT16), shape=value.shape)
        if (node := value.producer()) is None:
            twin.const_value = ir.tensor(half.numpy(), name=twin.name)
            model.graph.register_initializer(twin)
        else:
            own = ir.node("Constant", [], {"value": half}, outputs=[twin], name=str(twin.name))
            _graph(model, node).insert_after(node, own)
        for user, position in readers:
            user.replace_input_with(position, twin)
        values.add(value)


def _set(value: ir.Value, half: ir.TensorProtocol) -> None:
    """Makes a constant one in fp16."""
    if (node := value.producer()) is not None:
        node.attributes.clear()
        node.attributes["value"] = ir.AttrTensor("value", half)
    else:
        value.const_value = half
    value.type = ir.TensorType(ir.DataType.FLOAT16)


def _connect(model: ir.Model, wide: set[ir.Node], values: set[ir.Value]) -> None:
    """Puts a Cast wherever a node, or the graph's end, wants a value otherwise than it is."""
    casts: dict[ir.Value, ir.Value] = {}

    def cast(value: ir.Value) -> ir.Value:
        if value not in casts:
            to_half = value in values
            casts[value] = _cast(model, value, to_half=to_half)
            if not to_half:
                values.add(casts[value])
        return casts[value]

    for node in list(model.graph.all_nodes()):
        if node.op_type == "Cast" and node not in wide:
            if floats(node.outputs[0]):
                node.attributes["to"] = ir.AttrInt64("to", ir.DataType.FLOAT16)
            continue
        if node.op_type == "ConstantOfShape" and node not in wide and floats(node.outputs[0]):
            given = node.attributes["value"].as_tensor().numpy() if "value" in node.attributes else np.zeros(1)
            node.attributes["value"] = ir.AttrTensor("value", ir.tensor(halved(given, str(node.name), [])))
        for position, value in enumerate(node.inputs):
            if value is not None and _is_either(value) and (value in values) != (node in wide):
                node.replace_input_with(position, cast(value))
    for graph in (model.graph, *model.graph.subgraphs()):
        for position, value in enumerate(graph.outputs):
            as_it_was = graph is model.graph and "." not in str(value.name)
            if not _is_either(value) or (value in values) == as_it_was:
                continue
            out, name = cast(value), value.name
            value.name, out.name = f"{name}/{'fp16' if as_it_was else 'fp32'}", name
            graph.outputs[position] = out


def _cast(model: ir.Model, value: ir.Value, *, to_half: bool) -> ir.Value:
    """Returns a value in the other of both kinds, made where the value is."""
    target = ir.DataType.FLOAT16 if to_half else ir.DataType.FLOAT
    name = f"{value.name}/{'fp16' if to_half else 'fp32'}"
    out = ir.Value(name=name, type=ir.TensorType(target), shape=value.shape)
    node = ir.node("Cast", [value], {"to": target}, outputs=[out], name=name)
    producer = value.producer()
    if producer is None:
        graph = value.graph or model.graph
        graph.insert_before(graph[0], node)
    else:
        _graph(model, producer).insert_after(producer, node)
    return out


def _is_either(value: ir.Value) -> bool:
    return value.dtype in (ir.DataType.FLOAT, ir.DataType.FLOAT16)


def _graph(model: ir.Model, node: ir.Node) -> ir.Graph:
    """Returns the graph that a node is in, which may be a branch."""
    graph = node.graph
    return graph if isinstance(graph, ir.Graph) else model.graph


def _values(model: ir.Model) -> Iterator[ir.Value]:
    """Yields all values of the graph and its branches."""
    for graph in (model.graph, *model.graph.subgraphs()):
        yield from graph.inputs
        yield from graph.initializers.values()
        for node in graph:
            yield from node.outputs

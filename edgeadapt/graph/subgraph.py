"""An adapter as an ONNX model of its own: for each site `<site>/x`, `<site>/y` in, `<site>/out` out, weights inside.

It runs alone, and holds all that a merge needs: its params are initializers named like the slots.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from edgeadapt import methods
from edgeadapt.adapter import Adapter, Array, Attachment, Params, Site
from edgeadapt.bundle import PAST
from edgeadapt.errors import CheckpointError
from edgeadapt.graph import attention
from edgeadapt.graph.nodes import Nodes
from edgeadapt.graph.sites import Wiring, Wirings
from edgeadapt.graph.splice import constants
from edgeadapt.graph.switch import in_order

FILE = "subgraph.onnx"
ATTACHMENTS = "edgeadapt.attachments"
IR_VERSION = 10  # the newest that every ONNX Runtime we support reads
OPSET = 18


def build(adapter: Adapter, wirings: Wirings) -> ir.Model:
    """Returns the adapter as a model that runs alone.

    At each site, `x` is `(batch, n, in)` (ids `(batch, n)` at an embedding) and `y`, `out` are `(batch, n, out)`.
    Several methods at one site follow each other: the output of one is the `y` of the next. A method that replaces what
    enters a module gives `in`, `(batch, n, in)`, in place of `x`. A method at the end of a sublayer may also take
    `residual`, `(batch, n, out)`, and the base's `norm.weight` and `norm.bias`, `(out,)`; one that replaces what the
    sublayer gives, `sublayer`, gives `sublayer_out`. Where a method lengthens the sequence, `x` and `y` are those of
    the longer one.

    An attention has `queries`, `key` and `value`, `(batch, heads, n, head_dim)`, and `mask`, `(batch, 1, n, n)`: what a
    query sees. A method that puts keys before its own gives `key_out`, `value_out` and `mask_out`.

    What a decoder's cache begins with is an output, `past_key_values.0.key` `(1, heads, n, head_dim)` and the like.
    """
    graph = ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name="adapter")
    model = ir.Model(graph, ir_version=IR_VERSION, producer_name="edgeadapt")
    by_key = {(each.site, each.method): each for each in adapter.attachments}
    for name in dict.fromkeys(each.site for each in adapter.attachments):
        add = _add_attention if wirings.at(name).site.kind == "attention" else _add_site
        add(model, wirings.at(name), [by_key[key] for key in in_order(by_key) if key[0] == name])
    graph.outputs.extend(_begin(graph, name, array) for name, array in adapter.cache.items())
    model.metadata_props[ATTACHMENTS] = json.dumps(
        [
            [each.site, each.method, list(each.params), *([] if each.body is None else [each.body.identifier()])]
            for each in adapter.attachments
        ]
    )
    return model


def _begin(graph: ir.Graph, name: str, array: Array) -> ir.Value:
    """Returns an initializer that is an output."""
    tensor = ir.tensor(np.ascontiguousarray(array), name=name)
    value = ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(array.shape), const_value=tensor)
    graph.register_initializer(value)
    return value


def _add_site(model: ir.Model, wiring: Wiring, attachments: Sequence[Attachment]) -> None:
    site, name = wiring.site, wiring.site.name
    given = {end: _input(site, end) for end in ("x", "y", "residual", "sublayer", "norm.weight", "norm.bias")}
    now = {"x": given["x"], "y": given["y"], "out": given["sublayer"]}
    for attachment in attachments:
        op = Nodes(f"{name}/{attachment.method}")
        replaces = methods.replaces(attachment.method)
        x = now["x"] if replaces == "x" else given["x"]
        sublayer = methods.Sublayer(given["residual"], now["out"], _finish(wiring, given)) if site.sublayer else None
        params = constants(model, name, attachment.params)
        if attachment.body is not None:
            model.functions[attachment.body.identifier()] = attachment.body
            model.graph.opset_imports[attachment.body.domain] = 1
        point = methods.Point(site, x, now["y"], sublayer, attachment.body)
        now["y" if replaces == "sequence" else replaces] = methods.get(attachment.method).graph(op, point, params)
        model.graph.extend(op.made)
    model.graph.inputs.extend(value for end, value in given.items() if end == "x" or value.uses())
    if now["x"] is not given["x"]:
        model.graph.outputs.append(_output(now["x"], f"{name}/in", site.in_features))
    if now["y"] is not given["y"]:
        model.graph.outputs.append(_output(now["y"], f"{name}/out", None if site.labelled else site.out_features))
    if now["out"] is not given["sublayer"]:
        model.graph.outputs.append(_output(now["out"], f"{name}/sublayer_out", site.out_features))


def _add_attention(model: ir.Model, wiring: Wiring, attachments: Sequence[Attachment]) -> None:
    site, name = wiring.site, wiring.site.name
    given = {end: _attention_input(site, end) for end in ("x", "queries", "key", "value", "mask")}
    key, value, mask = given["key"], given["value"], given["mask"]
    for attachment in attachments:
        op = Nodes(f"{name}/{attachment.method}")
        params = constants(model, name, attachment.params)
        before = methods.get(attachment.method).graph(op, methods.Point(site, given["x"], given["queries"]), params)
        own = attention.Reads(given["queries"], key, value, mask, added=False)
        key, value, mask = attention.prepend(op, own, before)
        model.graph.extend(op.made)
    model.graph.inputs.extend(value for value in given.values() if value.uses())
    keys = ("batch", site.in_features, "m", site.out_features)
    for end, out, shape in (("key", key, keys), ("value", value, keys), ("mask", mask, ("batch", 1, "n", "m"))):
        out.name, out.type, out.shape = f"{name}/{end}_out", given[end].type, ir.Shape(shape)
        model.graph.outputs.append(out)


def _attention_input(site: Site, end: str) -> ir.Value:
    heads = ("batch", site.in_features, "n", site.out_features)
    width = site.in_features * site.out_features
    shapes: dict[str, tuple[int | str, ...]] = {"x": ("batch", "n", width), "mask": ("batch", 1, "n", "n")}
    return ir.Value(
        name=f"{site.name}/{end}",
        type=ir.TensorType(ir.DataType.BOOL if end == "mask" else ir.DataType.FLOAT),
        shape=ir.Shape(shapes.get(end, heads)),
    )


def _finish(wiring: Wiring, given: Mapping[str, ir.Value]) -> Callable[[Any, ir.Value], ir.Value]:
    """Returns `methods.Sublayer.finish` with the base's norm as inputs."""
    call = wiring.calls[0]

    def finish(op: Nodes, value: ir.Value) -> ir.Value:
        added = op.Add(value, given["residual"])
        if call.norm is None:
            return added
        norm = given["norm.weight"], given["norm.bias"]
        return op.LayerNormalization(added, *norm, axis=-1, epsilon=call.epsilon)

    return finish


def _output(value: ir.Value, name: str, width: int | None) -> ir.Value:
    value.name, value.type, value.shape = name, ir.TensorType(ir.DataType.FLOAT), ir.Shape(["batch", "n", width])
    return value


def _input(site: Site, end: str) -> ir.Value:
    ids = end == "x" and site.kind == "embedding"
    width = site.in_features if end == "x" and site.kind == "linear" else site.out_features
    return ir.Value(
        name=f"{site.name}/{end}",
        type=ir.TensorType(ir.DataType.INT64 if ids else ir.DataType.FLOAT),
        shape=ir.Shape(["batch", "n"] if ids else [width] if end.startswith("norm.") else ["batch", "n", width]),
    )


def read(path: Path) -> tuple[tuple[Attachment, ...], Params]:
    """Returns the params of a subgraph file, in fp32, and what a cache begins with: the inverse of `build`.

    Raises:
        CheckpointError: The file is not a subgraph that edgeadapt wrote.
    """
    try:
        model = ir.load(path)
        tensors = {name: value.const_value for name, value in model.graph.initializers.items()}
        attachments = [
            Attachment(
                site,
                method,
                {param: _array(tensors[f"{site}.{param}"]) for param in params},
                model.functions[tuple(body[0])] if body else None,
            )
            for site, method, params, *body in json.loads(model.metadata_props[ATTACHMENTS])
        ]
        cache = {name: _array(tensor) for name, tensor in tensors.items() if name.startswith(PAST)}
        return tuple(attachments), cache
    except Exception as error:
        raise CheckpointError(f"{path} is not an adapter's subgraph: {error}\nExport the adapter again.") from error


def _array(tensor: ir.TensorProtocol | None) -> Array:
    if tensor is None:
        raise ValueError("an initializer has no value")
    array = tensor.numpy()
    return array.astype(np.float32) if array.dtype == np.float16 else array

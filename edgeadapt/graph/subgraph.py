"""An adapter as an ONNX model of its own: for each site `<site>/x`, `<site>/y` in, `<site>/out` out, weights inside.

It runs alone, and holds all that a merge needs: its params are initializers named like the slots.
"""

from __future__ import annotations

import json
from pathlib import Path

import onnx_ir as ir

from edgeadapt import methods
from edgeadapt.adapter import Adapter, Array, Attachment, Site
from edgeadapt.errors import CheckpointError
from edgeadapt.graph.nodes import Nodes
from edgeadapt.graph.sites import Wirings
from edgeadapt.graph.splice import constants

FILE = "subgraph.onnx"
ATTACHMENTS = "edgeadapt.attachments"
IR_VERSION = 10  # the newest that every ONNX Runtime we support reads
OPSET = 18


def build(adapter: Adapter, wirings: Wirings) -> ir.Model:
    """Returns the adapter as a model that runs alone.

    At each site, `x` is `(batch, n, in)` (ids `(batch, n)` at an embedding) and `y`, `out` are `(batch, n, out)`.
    Several methods at one site follow each other: the output of one is the `y` of the next. A method that replaces what
    enters a module gives `in`, `(batch, n, in)`, in place of `x`.
    """
    graph = ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name="adapter")
    model = ir.Model(graph, ir_version=IR_VERSION, producer_name="edgeadapt")
    for name in dict.fromkeys(attachment.site for attachment in adapter.attachments):
        site = wirings.sites[name].site
        x, y = _input(site, "x"), _input(site, "y")
        graph.inputs.append(x)
        entering, out = x, y
        for attachment in adapter.attachments:
            if attachment.site != name:
                continue
            op = Nodes(f"{name}/{attachment.method}")
            params = constants(model, name, attachment.params)
            form = methods.get(attachment.method)
            if methods.replaces(attachment.method) == "x":
                entering = form.graph(op, methods.Point(site, entering, y), params)
            else:
                out = form.graph(op, methods.Point(site, x, out), params)
            graph.extend(op.made)
        if entering is not x:
            graph.outputs.append(_output(entering, f"{name}/in", site.in_features))
        if out is not y:
            graph.inputs.append(y)
            graph.outputs.append(_output(out, f"{name}/out", None if site.labelled else site.out_features))
    model.metadata_props[ATTACHMENTS] = json.dumps(
        [[each.site, each.method, list(each.params)] for each in adapter.attachments]
    )
    return model


def _output(value: ir.Value, name: str, width: int | None) -> ir.Value:
    value.name, value.type, value.shape = name, ir.TensorType(ir.DataType.FLOAT), ir.Shape(["batch", "n", width])
    return value


def _input(site: Site, end: str) -> ir.Value:
    ids = end == "x" and site.kind == "embedding"
    width = site.in_features if end == "x" and site.kind == "linear" else site.out_features
    return ir.Value(
        name=f"{site.name}/{end}",
        type=ir.TensorType(ir.DataType.INT64 if ids else ir.DataType.FLOAT),
        shape=ir.Shape(["batch", "n"] if ids else ["batch", "n", width]),
    )


def read(path: Path) -> tuple[Attachment, ...]:
    """Returns the params of a subgraph file, the inverse of `build`.

    Raises:
        CheckpointError: The file is not a subgraph that edgeadapt wrote.
    """
    try:
        model = ir.load(path)
        tensors = {name: value.const_value for name, value in model.graph.initializers.items()}
        attachments = [
            Attachment(site, method, {param: _array(tensors[f"{site}.{param}"]) for param in params})
            for site, method, params in json.loads(model.metadata_props[ATTACHMENTS])
        ]
        return tuple(attachments)
    except Exception as error:
        raise CheckpointError(f"{path} is not an adapter's subgraph: {error}\nExport the adapter again.") from error


def _array(tensor: ir.TensorProtocol | None) -> Array:
    if tensor is None:
        raise ValueError("an initializer has no value")
    return tensor.numpy()

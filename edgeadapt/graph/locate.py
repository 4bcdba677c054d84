"""Finds the calls of modules in an exported graph, by the module scopes that the exporter leaves on every node.

Never by the names of nodes or initializers: the exporter transposes, merges and renames weights.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

import onnx_ir as ir

from edgeadapt.adapter import Site
from edgeadapt.errors import GraphError
from edgeadapt.graph.sites import Batch, Call

SCOPES = "pkg.torch.onnx.name_scopes"
MOVING = ("Gather", "GatherND", "Identity", "Slice", "Squeeze")
BATCH = "batch"  # the name of the batch axis in the graph's symbolic shapes


def locate(model: ir.Model, sites: Iterable[Site]) -> dict[str, tuple[Call, ...]]:
    """Returns the calls of every site that has one, in the order of the graph.

    Cases:
        1. A linear layer: `MatMul` and `Add`, or `Gemm`, perhaps between two `Reshape`s.
        2. The same module called many times (ALBERT's one layer): one connected piece of graph for each call.
        3. A weight read through a `Transpose` that the exporter left in the graph.
        4. A module whose nodes were merged with another's or dropped: it has no calls.
        5. An `x` that no input changes, such as DeBERTa's relative positions: it is a call like any other.
        6. A `y` that is only added to a residual: the end of a sublayer, with the layer's own norm of the sum, if any.
        7. Ids that are the same for all rows, `(1, n)`, and a `y` that is only added to what has a batch: positions.
    """
    scopes: dict[str, list[ir.Node]] = {}
    for node in model.graph:
        if SCOPES in node.metadata_props:
            for scope in ast.literal_eval(node.metadata_props[SCOPES])[1:-1]:
                scopes.setdefault(scope, []).append(node)
    found = {}
    for site in sites:
        calls = tuple(
            call for piece in _pieces(scopes.get(site.name, [])) if (call := _call(model, site, piece)) is not None
        )
        if calls:
            found[site.name] = calls
    return found


def _pieces(nodes: list[ir.Node]) -> Iterator[list[ir.Node]]:
    """Yields the connected pieces of a module's nodes, each the work of one call (case 2)."""
    left = dict.fromkeys(nodes)
    while left:
        start = next(iter(left))
        piece, front = {start: None}, [start]
        del left[start]
        while front:
            for neighbour in _neighbours(front.pop()):
                if neighbour in left:
                    del left[neighbour]
                    piece[neighbour] = None
                    front.append(neighbour)
        yield [node for node in nodes if node in piece]


def _neighbours(node: ir.Node) -> Iterator[ir.Node]:
    """Yields the nodes that share data with `node`; sizes computed for a `Reshape` are no data."""
    for value in node.inputs:
        producer = value.producer() if value is not None and not _is_size(value) else None
        if producer is not None:
            yield producer
    for value in node.outputs:
        if not _is_size(value):
            yield from value.consumers()


def _is_size(value: ir.Value) -> bool:
    return value.dtype == ir.DataType.INT64 and value.shape is not None and value.shape.rank() <= 1


def _call(model: ir.Model, site: Site, piece: list[ir.Node]) -> Call | None:
    """Returns the call that a connected piece of a module's nodes performs, or None where it reads no weight."""
    for node in piece:
        weight = _weight(site, node)
        if weight is None:
            continue
        inside = set(piece)
        enters = {
            value
            for member in piece
            for value in member.inputs
            if value is not None and value.producer() not in inside and not _is_fixed(value) and not _is_size(value)
        } or {_data(site, node)}
        leaves = {
            value
            for member in piece
            for value in member.outputs
            if not _is_size(value)
            and (value.is_graph_output() or any(user not in inside for user in value.consumers()))
        }
        if site.kind == "rms_norm" and not _is_whole_norm(piece, len(enters), len(leaves)):
            return None
        if len(enters) != 1 or len(leaves) != 1:
            raise GraphError(
                f"A call of {site.name} takes {len(enters)} values and gives {len(leaves)}, expected one each.\n"
                "The exporter merged it with its surroundings: leave this module out of the adapter's targets."
            )
        x, y = enters.pop(), leaves.pop()
        if x.shape is None:
            raise GraphError(f"The exporter left no shape on {x.name}, which enters {site.name}.")
        total, norm = _sublayer(site, y) if site.kind == "linear" else (None, None)
        return Call(
            x=_name(x),
            y=_name(y),
            rank=x.shape.rank(),
            batch=_batch(x.shape) if not _is_spread(site, x, y) else "one",
            product=_name(node.outputs[0]),
            biased=_is_biased(site, piece, weight),
            total=None if total is None else _name(total),
            norm=None if norm is None else _name(norm),
            epsilon=_epsilon(norm),
        )
    return None


def _is_whole_norm(piece: list[ir.Node], enters: int, leaves: int) -> bool:
    """Tells whether a piece does all the work of a norm: none is gated by a second input, or shared with another."""
    return enters == leaves == 1 and any(node.op_type in ("RMSNormalization", "ReduceMean") for node in piece)


def _sublayer(site: Site, y: ir.Value) -> tuple[ir.Value | None, ir.Value | None]:
    """Returns the sum of `y` and a residual and the norm of that sum, each None where there is none (case 6).

    A norm outside of the site's layer (GPT-2's last) belongs to the model, not to the sublayer.
    """
    users = tuple(y.uses())
    if len(users) != 1 or users[0].node.op_type != "Add" or y.is_graph_output():
        return None, None
    add, position = users[0].node, users[0].idx
    residual, total = add.inputs[1 - position], add.outputs[0]
    if residual is None or _is_fixed(residual) or residual is y or not _same_rank(residual, y):
        return None, None
    readers = tuple(total.consumers())
    layer = re.match(r".*\.\d+\.", site.name)
    if layer and len(readers) == 1 and readers[0].op_type == "LayerNormalization" and not total.is_graph_output():
        scopes = ast.literal_eval(readers[0].metadata_props.get(SCOPES, "[]"))
        if any(scope.startswith(layer.group()) for scope in scopes):
            return total, readers[0].outputs[0]
    return total, None


def _epsilon(norm: ir.Value | None) -> float:
    node = None if norm is None else norm.producer()
    return 0.0 if node is None else node.attributes.get_float("epsilon", 1e-5)


def _same_rank(one: ir.Value, other: ir.Value) -> bool:
    return one.shape is not None and other.shape is not None and one.shape.rank() == other.shape.rank()


def _weight(site: Site, node: ir.Node) -> ir.Value | None:
    """Returns the initializer that `node` reads as the site's weight."""
    if site.kind == "embedding":
        weight = node.inputs[0] if node.op_type == "Gather" else None
    elif site.kind == "layer_norm":
        weight = node.inputs[1] if node.op_type == "LayerNormalization" else None
    elif site.kind == "rms_norm":  # one operator, or a product at the end of several
        vectors = [value for value in node.inputs if value is not None and _length(value) == site.out_features]
        weight = vectors[0] if vectors and node.op_type in ("RMSNormalization", "Mul") else None
    else:
        weight = node.inputs[1] if node.op_type in ("MatMul", "Gemm") else None
        producer = weight.producer() if weight is not None else None
        if producer is not None and producer.op_type == "Transpose":  # case 3
            weight = producer.inputs[0]
    return weight if weight is not None and weight.is_initializer() else None


def _is_biased(site: Site, piece: list[ir.Node], weight: ir.Value) -> bool:
    """Tells whether an initializer is added after the product."""
    for node in piece:
        first = {"Add": 0, "Gemm": 2, "LayerNormalization": 2}.get(node.op_type)
        for value in node.inputs[first:] if first is not None else ():
            if (
                value is not None
                and value.is_initializer()
                and value is not weight
                and _length(value) == site.out_features
            ):
                return True
    return False


def _length(value: ir.Value) -> int | None:
    shape = value.shape
    return int(shape[0]) if shape is not None and shape.rank() == 1 and isinstance(shape[0], int) else None


def _is_fixed(value: ir.Value) -> bool:
    """Tells whether a value is an initializer or a constant. What is computed from these alone may well be an `x`."""
    producer = value.producer()
    return value.is_initializer() or (producer is not None and producer.op_type == "Constant")


def _data(site: Site, node: ir.Node) -> ir.Value:
    """Returns the data that `node` reads beside its weight: `x` itself, where that is an initializer (case 5)."""
    value = node.inputs[1 if site.kind == "embedding" else 0]
    if value is None:
        raise GraphError(f"A call of {site.name} takes no input.")
    return value


def _batch(shape: ir.Shape) -> Batch:
    """Returns where the batch is in a value of this shape; an unknown axis counts as none, which is always exact."""
    if shape.rank() == 0:
        return "none"
    first = shape[0]
    text = "" if isinstance(first, int) else str(first.value or "")
    if text == BATCH:
        return "leading"
    return "merged" if BATCH in text else "none"


def _is_spread(site: Site, x: ir.Value, y: ir.Value) -> bool:
    """Tells whether ids `(1, n)` are looked up for all rows, so that ids `(batch, n)` may as well be (case 7)."""
    if site.kind != "embedding" or x.shape is None or x.shape.rank() != 2 or x.shape[0] != 1 or y.is_graph_output():
        return False
    others = [use.node.inputs[1 - use.idx] for use in y.uses() if use.node.op_type == "Add"]
    return bool(others) and len(others) == len(tuple(y.uses())) and all(_has_batch(other) for other in others)


def _has_batch(value: ir.Value | None) -> bool:
    return value is not None and value.shape is not None and _batch(value.shape) == "leading"


def moved(value: ir.Value) -> list[ir.Value]:
    """Returns a value and those before it that hold the same numbers, of which it takes some or in another shape.

    So a decoder's head, which scores every token, is known by the scores of each row's last one.
    """
    found = [value]
    while (node := found[-1].producer()) is not None and node.op_type in MOVING and node.inputs[0] is not None:
        found.append(node.inputs[0])
    return found


def _name(value: ir.Value) -> str:
    if value.name is None:
        raise GraphError("The exporter left a value without a name.")
    return value.name

"""Attentions that are one operator: finds them in an exported graph, and puts keys and values before their own."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from edgeadapt.adapter import Site
from edgeadapt.errors import GraphError
from edgeadapt.graph import rotary
from edgeadapt.graph.locate import BATCH, SCOPES
from edgeadapt.graph.sites import Call

KEY, VALUE, MASK = 1, 2, 3  # inputs of the operator
PAST = slice(4, None)


@dataclass(frozen=True, slots=True)
class Reads:
    """What an attention reads beside its queries.

    Attributes:
        queries: `(batch, heads, n, head_dim)`.
        key: `(batch, heads, m, head_dim)`.
        value: As `key`.
        mask: Broadcast to `(batch, heads, n, m)`: what a query sees, or what is added to its products.
            None: it sees all.
        added: The mask is added.
    """

    queries: ir.Value
    key: ir.Value
    value: ir.Value
    mask: ir.Value | None
    added: bool


def locate(
    model: ir.Model, counts: Mapping[str, int], frequencies: tuple[float, ...] = ()
) -> dict[str, tuple[Site, tuple[Call, ...]]]:
    """Returns the attentions of a freshly exported graph, as sites with their calls, in the order of the graph.

    A site has the name of the module that computes it. Its `in_features` are the heads of its keys, its `out_features`
    their length; the `x` of a call is what enters the module, or its keys where several values enter it.

    Cases:
        1. `Attention` with keys and values `(batch, heads, n, head_dim)`, perhaps with a mask of a column for each.
        2. One that masks causally by itself, has a cache, or keys and values of other shapes: no site.
        3. One module with calls of different shapes, or fewer calls in the graph than in PyTorch: no site.

    Args:
        model: The graph, with the exporter's scopes on its nodes.
        counts: How often every module is called in PyTorch.
        frequencies: By what angles the base rotates by positions, where it does.
    """
    found: dict[str, tuple[Site, tuple[Call, ...]]] = {}
    broken: set[str] = set()
    for node in model.graph:
        if node.op_type != "Attention":
            continue
        scopes = ast.literal_eval(node.metadata_props.get(SCOPES, "[]"))
        name = scopes[-2] if len(scopes) > 2 else ""
        site = _site(name, node, frequencies)
        before = found.get(name, (site, ()))
        if site is None or before[0] != site:
            broken.add(name)
            continue
        found[name] = (site, (*before[1], _call(model, name, node)))
    return {
        name: each
        for name, each in found.items()
        if name not in broken and len(each[1]) == counts.get(name, 0) and name
    }


def _site(name: str, node: ir.Node, frequencies: tuple[float, ...]) -> Site | None:
    """Returns the attention as a site, or None where keys can't be put before its own (cases 2)."""
    attributes, inputs = node.attributes, node.inputs
    if attributes.get_int("is_causal", 0) or any(inputs[PAST]) or any(output.uses() for output in node.outputs[1:]):
        return None
    shapes = [None if value is None else value.shape for value in inputs[KEY : VALUE + 1]]
    key, value = shapes
    if key is None or value is None or key.rank() != 4 or value.rank() != 4 or str(key[0]) != BATCH:
        return None
    if not isinstance(key[1], int) or not isinstance(key[3], int) or (key[1], key[3]) != (value[1], value[3]):
        return None
    mask = inputs[MASK] if len(inputs) > MASK else None
    if mask is not None and (mask.shape is None or mask.shape.rank() != 4 or mask.shape[3] == 1):
        return None
    queries = inputs[0]
    rotated = queries is not None and rotary.turns_halves(queries)
    return Site(name, "attention", key[1], key[3], rotation=frequencies if rotated else ())


def _call(model: ir.Model, name: str, node: ir.Node) -> Call:
    inside = {
        each
        for each in model.graph
        if SCOPES in each.metadata_props and name in ast.literal_eval(each.metadata_props[SCOPES])
    }
    enters = {
        value
        for each in inside
        for value in each.inputs
        if value is not None and not value.is_initializer() and value.producer() not in inside and _is_data(value)
    }
    x = enters.pop() if len(enters) == 1 else reads(node).key
    if x.shape is None:
        raise GraphError(f"The exporter left no shape on {x.name}, which enters {name}.")
    product = str(node.outputs[0].name)
    return Call(str(x.name), product, x.shape.rank(), "leading", product, biased=False)


def _is_data(value: ir.Value) -> bool:
    """Tells whether a value is what a module works on, `(batch, n, width)`."""
    shape = value.shape
    return value.dtype == ir.DataType.FLOAT and shape is not None and shape.rank() == 3 and str(shape[0]) == BATCH


def reads(node: ir.Node) -> Reads:
    """Returns what an `Attention` reads now: keys may have been put before its own already."""
    queries, key, value = node.inputs[:MASK]
    mask = node.inputs[MASK] if len(node.inputs) > MASK else None
    if queries is None or key is None or value is None:
        raise GraphError(f"{node.name} has no keys.")
    if mask is not None and mask.dtype not in (ir.DataType.BOOL, ir.DataType.FLOAT):
        raise GraphError(f"The graph doesn't say what {mask.name}, the mask of {node.name}, holds.")
    return Reads(queries, key, value, mask, mask is not None and mask.dtype == ir.DataType.FLOAT)


def prepend(op: Any, own: Reads, before: tuple[ir.Value, ir.Value, ir.Value]) -> tuple[ir.Value, ir.Value, ir.Value]:
    """Returns keys, values and mask of an attention with others before its own.

    Where no row has any, they are cut to no length, so that the attention computes what it did, bit for bit: one more
    column, though masked, would change the order in which its sums are taken.

    Args:
        op: Makes the nodes.
        own: What the attention reads.
        before: Keys and values `(rows, heads, rank, head_dim)`, and which of them are there, `(rows, 1, 1, rank)`, as 1
            or 0.
    """
    key, value, there = before

    def numbers(*values: int) -> ir.Value:
        constant: ir.Value = op.constant(np.array(values, np.int64))
        return constant

    most = op.Reshape(op.Cast(op.ReduceMax(there, keepdims=0), to=ir.DataType.INT64), numbers(1))
    length = op.Mul(most, op.Shape(there, start=3))
    batch = op.Concat(op.Shape(own.queries, start=0, end=1), numbers(1, 1, 1), axis=0)
    keys, values = (
        op.Concat(op.Expand(op.Slice(each, numbers(0), length, numbers(2)), batch), old, axis=2)
        for each, old in ((key, own.key), (value, own.value))
    )
    seen = op.Greater(op.Slice(there, numbers(0), length, numbers(3)), op.constant(np.array(0.5, np.float32)))
    mask = own.mask
    if mask is None:  # every query sees every key
        seen = op.Expand(seen, op.Concat(numbers(1, 1), op.Shape(own.queries, start=2, end=3), numbers(1), axis=0))
        rest = op.Concat(op.Shape(seen, start=0, end=3), op.Shape(own.key, start=2, end=3), axis=0)
        return keys, values, _typed(op.Concat(seen, op.Expand(op.constant(np.array(True)), rest), axis=3), own)
    if own.added:
        seen = op.Where(seen, op.constant(np.array(0, np.float32)), op.constant(np.array(-np.inf, np.float32)))
    seen = op.Expand(seen, op.Concat(op.Shape(mask, start=0, end=3), numbers(1), axis=0))
    if mask.shape is None or str(mask.shape[0]) != BATCH:  # its rows may become different
        mask = op.Expand(mask, op.Concat(op.Shape(seen, start=0, end=3), numbers(1), axis=0))
    return keys, values, _typed(op.Concat(seen, mask, axis=3), own)


def _typed(mask: ir.Value, own: Reads) -> ir.Value:
    """Returns the new mask, of which the next method must know what it holds."""
    mask.type = ir.TensorType(ir.DataType.FLOAT if own.added else ir.DataType.BOOL)
    return mask

"""Attention with its cache, repeated heads and rotation as one operator, which writes into the cache where it lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from edgeadapt.bundle import PAST, PRESENT
from edgeadapt.graph.nodes import Nodes
from edgeadapt.graph.optimise.probe import Evaluate, values_at

DOMAIN = "com.microsoft"
CAPACITY = "capacity"
MASK, POSITIONS = "attention_mask", "position_ids"
SWAPPED = (0, 2, 1, 3)
WHOLE = 16  # what the operator wants the length of a head to be a multiple of, where it rotates


@dataclass(frozen=True, slots=True)
class Rotation:
    """A rotation by positions: cosines and sines as they enter it, and how pairs of numbers lie."""

    cos: ir.Value
    sin: ir.Value
    interleaved: int


@dataclass(frozen=True, slots=True)
class Found:
    """One attention with its cache.

    Attributes:
        node: The `Attention`.
        out: What leaves it, `(batch, sequence, heads * head_dim)`.
        queries: What becomes its queries, `(batch, heads, sequence, head_dim)`, before a rotation.
        keys: The same of its new keys, with as many heads as the cache has.
        values: The same of its new values.
        rotation: Of queries and keys, or None.
        key: The cache's input of keys; its name ends as those of the other three do.
        heads: Of the queries.
    """

    node: ir.Node
    out: ir.Value
    queries: ir.Value
    keys: ir.Value
    values: ir.Value
    rotation: Rotation | None
    key: ir.Value
    heads: int


def apply(model: ir.Model, positions: int, evaluate: Evaluate) -> int:
    """Replaces all attentions of a decoder, in place, or none; returns how many.

    Before:   queries -> Reshape -> Transpose -> RotaryEmbedding -> Attention -> Transpose -> Reshape -> out
              keys -> Reshape -> Transpose -> RotaryEmbedding -> Concat(past) -> present -> Unsqueeze -> Expand -> ...
              values -> Reshape -> Transpose -> Concat(past) -> present -> Unsqueeze -> Expand -> ...
    After:    queries, keys, values, past, lengths -> GroupQueryAttention -> out, present

    The cache's third axis becomes `capacity`: rows lie at its start, each as long as its mask says, and the operator
    writes new keys behind them, into the very memory of the cache where input and output are bound to it.
    `position_ids` is no input any more, where the rotation was its only reader.

    Cases:
        1. Queries and keys that are normalised, scaled or clipped before the rotation: they are joined again after it.
        2. No rotation (GPT-2), or one of a part of each head, with frequencies that depend on the length, or of heads
           of an odd length: it stays where it is, and the operator gets what leaves it.
        3. A sliding window: the operator's `local_window_size`.
        4. Any other mask, scores that are capped, attention in parts: all attentions stay as they are.
        5. Queries, keys and values that are one product and nothing else (`graph.packed`): the operator splits them.

    Args:
        model: The graph.
        positions: How many tokens the model takes.
        evaluate: Runs a small graph.
    """
    caches = {str(value.name): value for value in model.graph.inputs if str(value.name).startswith(PAST)}
    found = [each for node in model.graph if node.op_type == "Attention" and (each := _match(node)) is not None]
    if 2 * len(found) != len(caches) or {each.key.name for each in found} != {n for n in caches if n.endswith(".key")}:
        return 0
    windows = [_window(model, each.node.inputs[3], positions, evaluate) for each in found]
    if any(window is None for window in windows):
        return 0
    tables = _Tables(model, positions, evaluate)
    op = Nodes("cache")
    mask = next(value for value in model.graph.inputs if value.name == MASK)
    one = op.constant(np.array([1], np.int64))
    lengths = op.Cast(op.Sub(op.ReduceSum(mask, one, keepdims=0), one), to=ir.DataType.INT32)
    total = op.Cast(op.Squeeze(op.Shape(mask, start=1, end=2)), to=ir.DataType.INT32)
    model.graph.insert_before(model.graph[0], op.made)
    for each, window in zip(found, windows, strict=True):
        _replace(model, each, int(window or 0), (lengths, total), tables)
    for value in caches.values():
        for one_of in (value, next(o for o in model.graph.outputs if o.name == str(value.name).replace(PAST, PRESENT))):
            dims = list(one_of.shape or ())
            one_of.shape = ir.Shape([dims[0], dims[1], CAPACITY, dims[3]])
    model.graph.opset_imports[DOMAIN] = 1
    _drop_positions(model)
    return len(found)


def _match(node: ir.Node) -> Found | None:
    """Returns an attention with all that belongs to it, or None where it is another kind (case 4)."""
    attributes = node.attributes
    if attributes.get_int("is_causal", 0) or _number(attributes, "softcap") or len(node.inputs) != 4:
        return None
    if any(value is None for value in node.inputs) or any(out.uses() for out in node.outputs[1:]):
        return None
    queries, rotation = _unrotated(node.inputs[0])
    cached, values = _cached(node.inputs[1]), _cached(node.inputs[2])
    joined = _joined(node.outputs[0])
    if queries is None or cached is None or values is None or joined is None or queries.shape is None:
        return None
    keys, other = _unrotated(cached[1])
    if keys is None or (rotation is None) != (other is None):
        return None
    if rotation is not None and other is not None:
        same = (rotation.cos, rotation.sin, rotation.interleaved) == (other.cos, other.sin, other.interleaved)
        if not same:
            return None
    heads = queries.shape[1]
    return Found(node, joined, queries, keys, values[1], rotation, cached[0], heads) if isinstance(heads, int) else None


def _unrotated(value: ir.Value | None) -> tuple[ir.Value | None, Rotation | None]:
    """Returns what enters the rotation that gives a value, or the value itself where there is none."""
    node = None if value is None else value.producer()
    if node is None or node.op_type != "RotaryEmbedding" or _number(node.attributes, "rotary_embedding_dim"):
        return value, None
    x, cos, sin = node.inputs[:3]
    if len(node.inputs) > 3 and node.inputs[3] is not None:
        return value, None
    if x is None or cos is None or sin is None or x.shape is None or x.shape.rank() != 4:
        return value, None
    return x, Rotation(_narrow(cos), _narrow(sin), node.attributes.get_int("interleaved", 0))


def _narrow(value: ir.Value) -> ir.Value:
    """Returns what was given to every row of the batch (`graph.rotary.widen`), or the value itself."""
    node = value.producer()
    inner = node.inputs[0] if node is not None and node.op_type == "Expand" else None
    return value if inner is None else inner


def _cached(value: ir.Value | None) -> tuple[ir.Value, ir.Value] | None:
    """Returns the cache's input and what is put behind it, of keys or values whose heads may be repeated."""
    node = None if value is None else value.producer()
    if node is not None and node.op_type == "Reshape":
        for kind in ("Expand", "Unsqueeze"):
            value = node.inputs[0]
            node = None if value is None else value.producer()
            if node is None or node.op_type != kind:
                return None
        value = node.inputs[0]
        node = None if value is None else value.producer()
    if node is None or node.op_type != "Concat" or len(node.inputs) != 2 or value is None:
        return None
    past, new = node.inputs
    if past is None or new is None or not past.is_graph_input() or not value.is_graph_output():
        return None
    return past, new


def _joined(value: ir.Value) -> ir.Value | None:
    """Returns what becomes of an attention's output: its heads joined again."""
    for kind in ("Transpose", "Reshape"):
        users = list(value.uses())
        if len(users) != 1 or users[0].node.op_type != kind or value.is_graph_output():
            return None
        value = users[0].node.outputs[0]
    return value


def _window(model: ir.Model, mask: ir.Value | None, positions: int, evaluate: Evaluate) -> int | None:
    """Returns how many tokens a query sees, itself included, 0 for all before it, or None for any other mask (3, 4)."""
    if mask is None or mask.dtype != ir.DataType.BOOL:
        return None
    past, sequence = 40, 9
    try:
        (small,) = values_at(model, [mask], past, sequence, evaluate)
        (wide,) = values_at(model, [mask], positions - 1, 1, evaluate)
    except (KeyError, ValueError):
        return None
    window = int(wide.sum())
    distance = np.arange(past, past + sequence)[:, None] - np.arange(past + sequence)[None]
    if not np.array_equal(small.reshape(small.shape[-2:]), (distance >= 0) & (distance < window)):
        return None
    return window if window < positions else 0


class _Tables:
    """Cosines and sines of every position, made once for every rotation of the graph."""

    def __init__(self, model: ir.Model, positions: int, evaluate: Evaluate) -> None:
        self._model = model
        self._positions = positions
        self._evaluate = evaluate
        self._made: dict[tuple[str, str], tuple[ir.Value, ir.Value] | None] = {}

    def of(self, rotation: Rotation) -> tuple[ir.Value, ir.Value] | None:
        """Returns `(positions, head_dim / 2)` each, or None where they depend on more than a position (case 2)."""
        key = str(rotation.cos.name), str(rotation.sin.name)
        if key not in self._made:
            self._made[key] = self._make(rotation)
        return self._made[key]

    def _make(self, rotation: Rotation) -> tuple[ir.Value, ir.Value] | None:
        pair = [rotation.cos, rotation.sin]
        try:
            whole = values_at(self._model, pair, 0, self._positions, self._evaluate)
            part = values_at(self._model, pair, 3, 5, self._evaluate)
        except (KeyError, ValueError):
            return None
        if any(not np.array_equal(one[0, 3:8], other[0]) for one, other in zip(whole, part, strict=True)):
            return None
        made = []
        for name, table in zip(("cos", "sin"), whole, strict=True):
            value = ir.Value(
                name=f"cache/{name}.{len(self._made)}", const_value=ir.tensor(np.ascontiguousarray(table[0]))
            )
            value.type, value.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(table[0].shape)
            self._model.graph.register_initializer(value)
            made.append(value)
        return made[0], made[1]


def _replace(model: ir.Model, found: Found, window: int, lengths: Sequence[ir.Value], tables: _Tables) -> None:
    op = Nodes(f"{found.node.name}/grouped")
    width = int(found.key.shape[3])  # type: ignore[arg-type,index]  # a number
    table = None if found.rotation is None or width % WHOLE else tables.of(found.rotation)
    queries, keys = found.queries, found.keys
    if found.rotation is not None and table is None:  # case 2
        queries, keys = found.node.inputs[0], _cached(found.node.inputs[1])[1]  # type: ignore[index,assignment]
    flat = _joined_again([_flat(op, value) for value in (queries, keys, found.values)])
    value_name = str(found.key.name).removesuffix(".key") + ".value"
    by_name = {str(value.name): value for value in model.graph.inputs}
    attributes: dict[str, Any] = {
        "num_heads": found.heads,
        "kv_num_heads": int(found.key.shape[1]),  # type: ignore[arg-type,index]  # a number
        "scale": _number(found.node.attributes, "scale") or width**-0.5,
        "do_rotary": int(table is not None),
    }
    if table is not None and found.rotation is not None:
        attributes["rotary_interleaved"] = found.rotation.interleaved
    if window:
        attributes["local_window_size"] = window
    made = ir.node(
        "GroupQueryAttention",
        [*flat, found.key, by_name[value_name], *lengths, *(table or ())],
        attributes,
        domain=DOMAIN,
        num_outputs=3,
        name=f"{found.node.name}/grouped",
    )
    made.outputs[0].name = f"{made.name}/out"
    out = made.outputs[0]
    out.type, out.shape = found.out.type, found.out.shape
    after = Nodes(f"{made.name}/rows")
    if found.out.shape is not None and found.out.shape.rank() == 2:
        # A Gemm follows (GPT-2), to which the tokens of all rows are one axis.
        out.shape = None
        out = after.Reshape(out, after.constant(np.array([-1, found.heads * width], np.int64)))
    model.graph.insert_after(found.node, [*op.made, made, *after.made])
    ir.convenience.replace_all_uses_with(found.out, out)
    outputs = {str(value.name): position for position, value in enumerate(model.graph.outputs)}
    for new, past in zip(made.outputs[1:], (str(found.key.name), value_name), strict=True):
        name = past.replace(PAST, PRESENT)
        old = model.graph.outputs[outputs[name]]
        new.type, new.shape, new.name, old.name = old.type, old.shape, name, f"{name}/before"
        model.graph.outputs[outputs[name]] = new


def _flat(op: Nodes, value: ir.Value) -> ir.Value:
    """Returns a value `(batch, heads, n, head_dim)` as `(batch, n, heads * head_dim)`: what it was, or joined again."""
    node = value.producer()
    if node is not None and node.op_type == "Transpose" and tuple(node.attributes.get_ints("perm", ())) == SWAPPED:
        inner = node.inputs[0]
        before = None if inner is None else inner.producer()
        if before is not None and before.op_type == "Reshape" and before.inputs[0] is not None:
            return before.inputs[0]
        return op.Reshape(inner, op.constant(np.array([0, 0, -1], np.int64)))
    return op.Reshape(op.Transpose(value, perm=SWAPPED), op.constant(np.array([0, 0, -1], np.int64)))


def _joined_again(values: list[ir.Value]) -> list[ir.Value | None]:
    """Returns what three values were split from, in this order and whole, in the place of the first (case 5)."""
    node = values[0].producer()
    if node is None or node.op_type != "Split" or list(node.outputs) != values:
        return list(values)
    return [node.inputs[0], None, None]


def _number(attributes: Any, name: str) -> float:
    return float(attributes[name].value) if name in attributes else 0.0


def _drop_positions(model: ir.Model) -> None:
    """Takes `position_ids` away where nothing that counts reads it any more."""
    RemoveUnusedNodesPass()(model)
    for value in [value for value in model.graph.inputs if value.name == POSITIONS and not value.uses()]:
        model.graph.inputs.remove(value)

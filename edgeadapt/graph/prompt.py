"""Makes room for prompts: a longer sequence inside of a graph, whose inputs and outputs stay as long as they are.

Before:   ids, mask, types -> readers                            y -> output
After:    ids, mask, types -> at their new places -> readers     y -> at the tokens' places -> output
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from edgeadapt import methods
from edgeadapt.adapter import Site
from edgeadapt.errors import GraphError, UnsupportedError
from edgeadapt.graph.locate import BATCH
from edgeadapt.graph.nodes import Nodes
from edgeadapt.graph.sites import Call
from edgeadapt.methods.prompt import LENGTH

IDS, MASK, TYPES = "input_ids", "attention_mask", "token_type_ids"
SEQUENCE = "sequence"  # the name of the axis of tokens in the graph's symbolic shapes


def filler(model: ir.Model, site: Site, calls: tuple[Call, ...]) -> int | None:
    """Returns the id to put where there is no token, or None where no prompt can be put before what the site gives.

    Cases:
        1. An embedding that looks up the graph's `input_ids`, whose tokens have a mask. Nothing else reads the ids but
           their shape: any id does.
        2. They are also compared with one number (positions of RoBERTa's kin, the last token of GPT-2): padding's id.
        3. Anything else is done with the ids: None.
    """
    inputs = {value.name: value for value in model.graph.inputs}
    if site.kind != "embedding" or len(calls) != 1 or calls[0].batch != "leading" or not inputs.keys() >= {IDS, MASK}:
        return None
    front, looked_up, padding = [inputs[IDS]], False, set()
    while front:
        for node in front.pop().consumers():
            if node.op_type == "Reshape":
                front.append(node.outputs[0])
            elif node.op_type == "Equal" and (number := _number(node)) is not None:
                padding.add(number)
            elif node.outputs[0].name == calls[0].product:
                looked_up = True
            elif node.op_type != "Shape":
                return None
    found = min(padding, default=0)
    return found if looked_up and len(padding) <= 1 and 0 <= found < site.in_features else None


def _number(node: ir.Node) -> int | None:
    """Returns the one number that a value is compared with."""
    tensors = [value.const_value for value in node.inputs if value is not None and value.const_value is not None]
    return int(tensors[0].numpy().item()) if len(tensors) == 1 and tensors[0].size == 1 else None


def check(pairs: Iterable[tuple[str, str]]) -> None:
    """Refuses prompts beside methods that average over the sequence, and with it over the room of others' prompts.

    Nothing is known of what modules of one's own do.

    Raises:
        UnsupportedError: There are both.
    """
    used = {method for _, method in pairs}
    averaging = sorted(method for method in used if "gated" in method or method.startswith("module-"))
    if averaging and any(methods.replaces(method) == "sequence" for method in used):
        does = "may average" if averaging[0].startswith("module-") else "averages"
        raise UnsupportedError(
            f"Prompts can't share a bundle with {averaging[0]}: it {does} over the sequence, padding included, and a "
            "prompt in another row makes that longer.\nExport them as two bundles."
        )


@dataclass(frozen=True, slots=True)
class Places:
    """Where tokens stand in the longer sequence of `m` places.

    Attributes:
        source: `(batch, m, 1)`: which token stands at a place, the nearest where none does.
        prompted: `(rows, m)`: a place of a prompt.
        empty: `(rows, m)`: a place behind the tokens.
        back: `(batch, n, 1)`: at which place a token stands.
    """

    source: ir.Value
    prompted: ir.Value
    empty: ir.Value
    back: ir.Value


def lengthen(model: ir.Model, site: Site, method: str, params: Mapping[str, ir.Value]) -> None:
    """Lets every reader of the inputs read them behind the prompts, and every output be that of the tokens.

    A row's prompt is at its start, its tokens follow, and what is left is masked. The sequence gets as long as the
    longest row needs, and never shorter than it was: without prompts everything is as in the base, bit for bit.

    Args:
        model: Changed in place. Nothing may be spliced into it afterwards.
        site: The embedding of the tokens.
        method: Name of the method.
        params: Its values there.

    Raises:
        GraphError: An output has its tokens on another axis than the second.
    """
    graph = model.graph
    inputs = {value.name: value for value in graph.inputs}
    scope = f"{site.name}/{method}/places"
    op = Nodes(scope)
    length = op.Cast(op.Reshape(params[LENGTH], op.constant(np.array([-1, 1], np.int64))), to=ir.DataType.INT64)
    places = _places(op, inputs[MASK], length)
    padding = site.filler or 0
    prompted = {IDS: 0 if padding else 1, MASK: 1, TYPES: 0}
    empty = {IDS: padding, MASK: 0, TYPES: 0}
    moved = {name: _moved(op, places, inputs[name], prompted[name], empty[name]) for name in prompted if name in inputs}
    made = set(op.made)
    for name, value in moved.items():
        for node, position in tuple(inputs[name].uses()):
            if node not in made:
                node.replace_input_with(position, value)
    graph.insert_before(graph[0], op.made)
    _take_back(graph, Nodes(f"{scope}/back"), places)
    _forget_lengths(graph)


def _places(op: Any, mask: ir.Value, length: ir.Value) -> Places:
    """Returns the places of tokens under a mask `(batch, n)` behind prompts of the lengths `(rows, 1)`."""

    def numbers(*values: int) -> ir.Value:
        constant: ir.Value = op.constant(np.array(values, np.int64))
        return constant

    def count(end: ir.Value) -> ir.Value:
        found: ir.Value = op.Range(
            op.constant(np.array(0, np.int64)), op.Squeeze(end), op.constant(np.array(1, np.int64))
        )
        return found

    batch, n = op.Shape(mask, start=0, end=1), op.Shape(mask, start=1, end=2)
    tokens = count(n)
    used = op.ReduceMax(op.Mul(mask, op.Add(tokens, numbers(1))), numbers(1))
    needed = op.Reshape(op.ReduceMax(op.Add(used, length), keepdims=0), numbers(1))
    m = op.Max(n, needed)
    source = op.Sub(count(m), length)
    nearest = op.Min(op.Max(source, numbers(0)), op.Sub(n, numbers(1)))
    back = op.Min(op.Add(tokens, length), op.Sub(m, numbers(1)))
    return Places(
        source=op.Unsqueeze(op.Expand(nearest, op.Concat(batch, m, axis=0)), numbers(2)),
        prompted=op.Less(source, numbers(0)),
        empty=op.GreaterOrEqual(source, n),
        back=op.Unsqueeze(op.Expand(back, op.Concat(batch, n, axis=0)), numbers(2)),
    )


def _moved(op: Any, places: Places, value: ir.Value, prompted: int, empty: int) -> ir.Value:
    """Returns an input `(batch, n)` at its new places, `(batch, m)`, with numbers of its own at the others."""
    moved = op.GatherND(value, places.source, batch_dims=1)
    for where, number in ((places.empty, empty), (places.prompted, prompted)):
        moved = op.Where(where, op.constant(np.array(number, np.int64)), moved)
    result: ir.Value = moved
    return result


def _take_back(graph: ir.Graph, op: Nodes, places: Places) -> None:
    """Puts in place of every output of tokens what it has at the tokens' places."""
    for position, output in enumerate(graph.outputs):
        axes = [] if output.shape is None else [str(dim) for dim in output.shape]
        if SEQUENCE not in axes:
            continue
        if axes[:2] != [BATCH, SEQUENCE]:
            raise GraphError(f"{output.name} has the axes {', '.join(axes)}; a prompt needs its tokens on the second.")
        taken = op.GatherND(output, places.back, batch_dims=1)
        taken.type, taken.shape = output.type, output.shape
        taken.name, output.name = output.name, f"{taken.name}/base"
        graph.outputs[position] = taken
    graph.extend(op.made)


def _forget_lengths(graph: ir.Graph) -> None:
    """Takes the lengths that the exporter knew from all values inside: those of the inputs are no longer theirs.

    ONNX Runtime plans its memory by them.
    """
    given = set(graph.outputs)
    for node in graph.all_nodes():
        for value in node.outputs:
            if value not in given and value.shape is not None:
                kept = [dim if isinstance(dim, int) or str(dim) == BATCH else None for dim in value.shape]
                value.shape = ir.Shape(kept)

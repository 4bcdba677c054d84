"""Makes the nodes of a method at one call of a site, with names that say where they belong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import onnx_ir as ir

from edgeadapt.adapter import Array

Values: TypeAlias = Mapping[str, ir.Value]

REPLACED_BY = "edgeadapt.replaced_by"
"""The note, at a value of the base, of what stands for it now."""


def values_of(model: ir.Model) -> Values:
    """Returns all values of a graph by name; made once, as it takes longer than most of what is looked up in it."""
    return dict(ir.convenience.create_value_mapping(model.graph))


class Nodes:
    """An `edgeadapt.methods.Op`: every attribute is an ONNX operator that makes one node and gives its output.

    Example:
        >>> op = Nodes("encoder.query/lora")
        >>> y = op.Add(ir.val("a"), ir.val("b"))
        >>> y.name, [node.op_type for node in op.made]
        ('encoder.query/lora/Add_0', ['Add'])
    """

    def __init__(self, scope: str) -> None:
        self.scope = scope
        self.made: list[ir.Node] = []
        self.inner: list[ir.Node] = []

    def constant(self, value: Array) -> ir.Value:
        """Returns `value` as the output of a Constant node."""
        return self._node("Constant", [], {"value": ir.tensor(value)})

    def call(self, body: ir.Function, *inputs: ir.Value) -> ir.Value:
        """Returns what a function gives for the last of `inputs`, as many as it takes."""
        output = ir.Value(name=f"{self.scope}/{body.name}_{len(self.made)}")
        given = inputs[len(inputs) - len(body.inputs) :]
        self.made.append(ir.node(body.name, list(given), domain=body.domain, outputs=[output], name=output.name))
        return output

    def branch(self, condition: ir.Value, then: Callable[[Nodes], ir.Value], otherwise: ir.Value) -> ir.Value:
        """Returns the output of an If: what `then` makes where `condition` is true, else `otherwise`."""
        inner, other = Nodes(f"{self.scope}/then"), Nodes(f"{self.scope}/else")
        branches = [(then(inner), inner), (other.Identity(otherwise), other)]
        graphs = [ir.Graph([], [out], nodes=op.made, name=op.scope) for out, op in branches]
        self.inner += [*inner.made, *other.made]
        return self._node("If", [condition], {"then_branch": graphs[0], "else_branch": graphs[1]})

    def __getattr__(self, op_type: str) -> Callable[..., ir.Value]:
        """Returns the maker of nodes of one operator: inputs by position, attributes by name."""
        if not op_type[:1].isupper():
            raise AttributeError(op_type)
        return lambda *inputs, **attributes: self._node(op_type, inputs, attributes)

    def _node(self, op_type: str, inputs: Any, attributes: dict[str, Any]) -> ir.Value:
        name = f"{self.scope}/{op_type}_{len(self.made)}"
        output = ir.Value(name=name)
        self.made.append(ir.node(op_type, list(inputs), attributes, outputs=[output], name=name))
        return output

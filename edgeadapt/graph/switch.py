"""Merge, switchable: slots at the sites of a base, so that an adapter is an input of the run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from edgeadapt import methods
from edgeadapt.adapter import Adapter
from edgeadapt.graph import prompt
from edgeadapt.graph.locate import moved
from edgeadapt.graph.nodes import values_of
from edgeadapt.graph.sites import Wirings
from edgeadapt.graph.splice import WHOLE, slot_values, splice

HEAD = WHOLE

Bodies: TypeAlias = Mapping[tuple[str, str], ir.Function]
"""What own modules compute, by site and method."""


def points(adapters: Iterable[Adapter]) -> list[tuple[str, str]]:
    """Returns every pair of site and method that the adapters attach to, each once, in the order of merging."""
    return in_order((each.site, each.method) for adapter in adapters for each in adapter.attachments)


def in_order(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Returns pairs of site and method, each once, in the order in which they follow each other at a site.

    What replaces a module comes first, then what changes its weights' work, then what takes its output further; last
    what lengthens the sequence, for everything that reads the inputs.
    """

    def step(pair: tuple[str, str]) -> int:
        if methods.replaces(pair[1]) == "sequence":
            return 3
        return 0 if pair[1] == HEAD else 1 if isinstance(methods.get(pair[1]), methods.Foldable) else 2

    return sorted(dict.fromkeys(pairs), key=step)


def bodies(adapters: Iterable[Adapter]) -> Bodies:
    """Returns the functions of those pairs of site and method whose names don't say what they compute."""
    return {
        (each.site, each.method): each.body
        for adapter in adapters
        for each in adapter.attachments
        if each.body is not None
    }


def bodies_in(model: ir.Model) -> Bodies:
    """Returns the functions of own modules that a switchable model calls, the inverse of putting them there."""
    found = {}
    for branch in (node for node in model.graph if node.op_type == "If"):
        for node in branch.attributes["then_branch"].as_graph():
            if (node.domain, node.op_type, node.overload) in model.functions:
                site, _, rest = str(branch.name).partition("/")
                found[site, rest.partition("/")[0]] = model.functions[node.domain, node.op_type, node.overload]
    return found


def switch(
    model: ir.Model,
    wirings: Wirings,
    pairs: Iterable[tuple[str, str]],
    functions: Bodies = MappingProxyType({}),
) -> None:
    """Adds the slots of each pair of site and method to a base, in place.

    Before:   inputs                 x -> module -> y -> readers
    After:    inputs, site.lora_A,   x -> module -> y -> method(x, y, slots) -> readers
              site.lora_B

    Slots that the base already has (a head it can't live without) stay as they are. Nodes that nothing reads any more,
    such as a head that its slots replace, are removed with their weights. `functions` are those of own modules.
    """
    pairs = in_order(pairs)
    prompt.check(pairs)
    values = values_of(model)
    there = {value.name for value in model.graph.inputs}
    for site, method in pairs:
        slots = slot_values(wirings.at(site), method, ir.DataType.FLOAT)
        if all(slot.name in there for slot in slots.values()):
            continue
        model.graph.inputs.extend(slots.values())
        splice(model, values, wirings.at(site), method, slots, functions.get((site, method)))
    free_labels(model, wirings)
    RemoveUnusedNodesPass()(model)


def open_heads(model: ir.Model, wirings: Wirings) -> None:
    """Replaces every module that the base has no weights for by slots: invented weights never leave the exporter."""
    switch(model, wirings, [(name, HEAD) for name, wiring in wirings.sites.items() if wiring.open])


def free_labels(model: ir.Model, wirings: Wirings) -> None:
    """Names the label axis of what a replaced head gives, whatever its length was in the base."""
    inputs = {value.name for value in model.graph.inputs}
    replaced = any(wiring.site.labelled and f"{name}.weight" in inputs for name, wiring in wirings.sites.items())
    for value in [value for output in model.graph.outputs for value in moved(output)] if replaced else ():
        if value.shape is not None:
            value.shape = ir.Shape([*list(value.shape)[:-1], "labels"])

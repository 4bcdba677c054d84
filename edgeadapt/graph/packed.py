"""Modules that read the same value as one product: what a step of a decoder costs is how many nodes it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from edgeadapt.adapter import Adapter, Array, Attachment, Site
from edgeadapt.graph.fold import base_weights
from edgeadapt.graph.nodes import Nodes, Values, values_of
from edgeadapt.graph.sites import Call, Wiring, Wirings
from edgeadapt.graph.splice import constants

METHOD = "lora"
"""The method whose params of several modules are those of one: A side by side, B as blocks."""


def pack(model: ir.Model, wirings: Wirings) -> Wirings:
    """Packs the linear layers of one parent that read the same value, in place, and returns the wirings with the packs.

    Before:   x -> MatMul(W_q) -> Add(b_q) -> q
              x -> MatMul(W_k) -> Add(b_k) -> k
    After:    x -> MatMul([W_q W_k]) -> Add([b_q b_k]) -> y -> Split -> q, k

    Cases:
        1. Every module stays a site, with its columns of the product and its own `y`.
        2. Together they are one more site, whose `y` is what is split: `parent.q_proj+k_proj`.
        3. Modules that are called more than once, are no such product, or have a bias where others have none: they stay
           by themselves.
    """
    values = values_of(model)
    weights = base_weights(model)
    packs = {}
    sites = dict(wirings.sites)
    for names in _alike(values, wirings):
        members = [wirings.sites[name] for name in names]
        pack_of = _pack(model, values, members, [weights(each) for each in members])
        packs[pack_of.site.name] = pack_of
        start = 0
        for each in members:
            end = start + each.site.out_features
            call = replace(each.calls[0], product=pack_of.calls[0].product, columns=(start, end))
            sites[each.site.name] = replace(each, calls=(call,))
            start = end
    RemoveUnusedNodesPass()(model)
    return replace(wirings, sites=sites, packs=packs)


def _alike(values: Values, wirings: Wirings) -> list[list[str]]:
    """Returns the names of modules that become one product, in the order of the graph."""
    found: dict[tuple[str, str, bool], list[str]] = {}
    for name, wiring in wirings.sites.items():
        if wiring.site.kind != "linear" or wiring.open or wiring.site.labelled or len(wiring.calls) != 1:
            continue
        call = wiring.calls[0]
        if call.rank == 3 and call.batch == "leading" and _is_plain(values, call):
            found.setdefault((name.rpartition(".")[0], call.x, call.biased), []).append(name)
    return [names for names in found.values() if len(names) > 1]


def _is_plain(values: Values, call: Call) -> bool:
    """Tells whether a call is a product with `x`, and a sum with a bias where it has one, and no more."""
    product = values[call.product].producer()
    if product is None or product.op_type != "MatMul" or product.inputs[0] is not values[call.x]:
        return False
    leaving = values[call.product]
    if call.biased:
        users = list(leaving.uses())
        if len(users) != 1 or users[0].node.op_type != "Add":
            return False
        leaving = users[0].node.outputs[0]
    return leaving is values[call.y] and not leaving.is_graph_output()


def _pack(
    model: ir.Model, values: Values, members: Sequence[Wiring], arrays: Sequence[tuple[Array, Array | None]]
) -> Wiring:
    """Puts one product in the place of several, and returns its wiring."""
    parent = members[0].site.name.rpartition(".")[0]
    name = f"{parent}.{'+'.join(each.site.name.rpartition('.')[2] for each in members)}"
    widths = [each.site.out_features for each in members]
    x = values[members[0].calls[0].x]
    made = {"weight": np.concatenate([weight for weight, _ in arrays], axis=1)}
    biases = [bias for _, bias in arrays if bias is not None]
    if biases:
        made["bias"] = np.concatenate(biases)
    fixed = constants(model, name, made)
    op = Nodes(name)
    product = y = op.MatMul(x, fixed["weight"])
    if biases:
        y = op.Add(product, fixed["bias"])
    for value in {product, y}:
        shape = list(x.shape or ())[:-1]
        value.type, value.shape = x.type, ir.Shape([*shape, sum(widths)])
    sizes = op.constant(np.array(widths, np.int64))
    split = ir.node("Split", [y, sizes], {"axis": -1}, num_outputs=len(members), name=f"{name}/Split")
    first = values[members[0].calls[0].product].producer()
    assert first is not None  # `_is_plain` has seen it
    model.graph.insert_before(first, [*op.made, split])
    for each, part in zip(members, split.outputs, strict=True):
        old = values[each.calls[0].y]
        part.type, part.shape, part.name, old.name = old.type, old.shape, old.name, f"{old.name}/before"
        ir.convenience.replace_all_uses_with(old, part)
    call = Call(members[0].calls[0].x, str(y.name), 3, "leading", str(product.name), bool(biases))
    site = Site(name, "linear", members[0].site.in_features, sum(widths))
    return Wiring(site, open=False, layout="in_out", calls=(call,), members=tuple(each.site.name for each in members))


def packed(adapter: Adapter, wirings: Wirings) -> Adapter:
    """Returns an adapter with the LoRAs of modules that are one product as one LoRA: `y + x [A_q A_k] [B_q 0; 0 B_k]`.

    The other methods' params stay at their modules.
    """
    own = {each.site: each for each in adapter.attachments if each.method == METHOD}
    joined: dict[str, Attachment] = {}
    place = {member: wiring for wiring in wirings.packs.values() for member in wiring.members}
    attachments: dict[tuple[str, str], Attachment] = {}
    for each in adapter.attachments:
        wiring = place.get(each.site) if each.method == METHOD else None
        if wiring is None:
            attachments[each.site, each.method] = each
        elif wiring.site.name not in joined:
            joined[wiring.site.name] = made = Attachment(wiring.site.name, METHOD, _blocks(wiring, wirings, own))
            attachments[made.site, METHOD] = made
    return replace(adapter, attachments=tuple(attachments.values()))


def _blocks(wiring: Wiring, wirings: Wirings, own: Mapping[str, Attachment]) -> dict[str, Array]:
    """Returns A `(1, in, ranks)` and B `(1, ranks, out)` of a pack; a module without a LoRA has no rank in it."""
    found = [(wirings.sites[name].calls[0].columns, own[name].params) for name in wiring.members if name in own]
    a = np.concatenate([params["lora_A"] for _, params in found], axis=2)
    b = np.zeros((1, a.shape[2], wiring.site.out_features), np.float32)
    start = 0
    for columns, params in found:
        assert columns is not None  # every member has its own
        end = start + params["lora_B"].shape[1]
        b[:, start:end, slice(*columns)] = params["lora_B"]
        start = end
    return {"lora_A": a, "lora_B": b}

"""What PyTorch says of an adapter, and what is held to it: the adapter as it is, or LoRAs that stand in for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from edgeadapt import parity
from edgeadapt.adapter import Adapter, Array
from edgeadapt.errors import ParityError
from edgeadapt.exporter import adapterhub_reference, forward, low_rank, merged, reference
from edgeadapt.exporter import base as bases
from edgeadapt.exporter import checkpoint as checkpoints
from edgeadapt.exporter.binding import BaseWeight
from edgeadapt.exporter.checkpoint import Checkpoint
from edgeadapt.exporter.reference import Outputs
from edgeadapt.graph.sites import Wirings
from edgeadapt.graph.switch import HEAD
from edgeadapt.methods import Foldable, get
from edgeadapt.parity import Tolerance

WORST = 0.5
"""The largest error, as a share of the adapter's effect, at which a LoRA may still stand in for it."""
BIG = 4 << 20
"""Bytes from which on an adapter of full rank is told to be big."""
SUGGESTED = 16
REFERENCES = {"peft": reference.adapter_outputs, "adapterhub": adapterhub_reference.adapter_outputs}


@dataclass(frozen=True, slots=True)
class Live:
    """An adapter and its reference.

    Attributes:
        adapter: What is exported.
        outputs: PyTorch's outputs with exactly that.
        notes: What a user should know about it.
        made_with: What the outputs were computed with, for the record.
    """

    adapter: Adapter
    outputs: Outputs
    notes: tuple[str, ...]
    made_with: str = field(default_factory=reference.versions)


@dataclass(frozen=True, slots=True)
class Bench:
    """What adapters are run on.

    Attributes:
        base: The base.
        wirings: Its sites.
        weights: Gives the base's own weights.
        inputs: The inputs of the parity case.
        outputs: Names of the task's outputs.
    """

    base: bases.Base
    wirings: Wirings
    weights: BaseWeight
    inputs: Mapping[str, Array]
    outputs: Sequence[str]


def run(name: str, checkpoint: Checkpoint, adapter: Adapter, rank: int | None, bench: Bench) -> Live:
    """Runs an adapter in the library that trained it, and where a rank is given also what stands in for it.

    Args:
        name: Its name, for notes and errors.
        checkpoint: Its folder.
        adapter: The adapter, bound to the base.
        rank: The rank of the LoRAs that stand in for its changes of weights, or None.
        bench: What it is run on.

    Raises:
        ParityError: What PEFT merges is not what PEFT runs, or LoRAs of that rank are too far from it.
        UnsupportedError: A rank is given, and the adapter is no change of weights.
    """
    run_there = REFERENCES[checkpoint.kind]
    exact = run_there(bench.base, bench.wirings, checkpoint, adapter, bench.inputs, bench.outputs)
    if not checkpoints.is_read(checkpoint):
        _check_merge(name, checkpoint, adapter, exact, bench)
    if rank is not None:
        return _stand_in(name, adapter, rank, exact, bench)
    notes = (_advice(name, adapter, bench),) if adapter.size() > BIG and _is_full(adapter, bench.wirings) else ()
    return Live(adapter, exact, notes)


def _check_merge(name: str, checkpoint: Checkpoint, adapter: Adapter, exact: Outputs, bench: Bench) -> None:
    """Refuses a method whose merged model says something else than its layers do, such as one that draws at random."""
    report = parity.compare(name, _outputs(adapter, bench), exact.adapted, exact.plain, Tolerance(), classes=False)
    if failures := report.failures():
        kind = checkpoint.config.get("peft_type")
        raise ParityError.collect(
            f"{checkpoint.folder}: PEFT's merge of this {kind} says something else than PEFT says with its layers:",
            failures,
            f"What it does is no fixed change of weights. {merged.ADVICE}",
        )


def _stand_in(name: str, adapter: Adapter, rank: int, exact: Outputs, bench: Bench) -> Live:
    """Returns LoRAs in an adapter's place, with what they lose.

    Raises:
        ParityError: Their error is more than `WORST` of the adapter's effect.
    """
    near = low_rank.as_lora(adapter, bench.wirings, bench.weights, rank)
    adapted = _outputs(near.adapter, bench)
    error, effect = _distance(adapted, exact.adapted), _distance(exact.adapted, exact.plain)
    words = (
        f"LoRAs of rank {rank} keep {near.kept:.2%} of its change: they are {error:.1e} from it where its effect is "
        f"{effect:.1e}"
    )
    if error > WORST * effect:
        raise ParityError(
            f"Adapter {name!r} can't be approximated like this:\n  {words}; at most {WORST:.0%} of that passes.\n"
            f"Rank {_enough(adapter, rank, near.most, exact, bench)} would be near enough."
        )
    facts = {"rank": rank, "method": adapter.method, "kept": near.kept, "max_abs_error": error, "effect": effect}
    return Live(
        replace(near.adapter, source={**adapter.source, "as_lora": facts}),
        Outputs(adapted, exact.plain),
        (f"{name}: {words}, {error / effect if effect else 0:.1%} of it",),
        f"{reference.versions()}, with LoRAs of rank {rank} in place of the {adapter.method}",
    )


def _enough(adapter: Adapter, rank: int, most: int, exact: Outputs, bench: Bench) -> int:
    """Returns the first rank that is near enough, of twice the one given, four times, and so on up to the largest."""
    effect = _distance(exact.adapted, exact.plain)
    while (rank := 2 * rank) < most:
        near = low_rank.as_lora(adapter, bench.wirings, bench.weights, rank)
        if _distance(_outputs(near.adapter, bench), exact.adapted) <= WORST * effect:
            return rank
    return most


def _outputs(adapter: Adapter, bench: Bench) -> dict[str, Array]:
    """Returns the outputs of a fresh base in PyTorch with an adapter's changes in its weights."""
    fresh = reference.with_heads(bench.base, bench.wirings, adapter, all_of_them=True)
    with torch.no_grad():
        for each in adapter.attachments:
            form = get(each.method)
            if each.method == HEAD or not isinstance(form, Foldable):
                continue
            wiring, module = bench.wirings.sites[each.site], _module(fresh.model, each.site)
            flip = wiring.site.kind == "linear" and wiring.layout == "out_in"
            stored = module.weight.detach().numpy()
            own = None if getattr(module, "bias", None) is None else module.bias.detach().numpy()
            weight, bias = form.fold(wiring.site, stored.T if flip else stored, own, each.params)
            module.weight = _parameter(weight.T if flip else weight)
            if bias is not None:
                module.bias = _parameter(bias)
    return forward.run(fresh, bench.inputs, bench.outputs)


def _module(model: nn.Module, name: str) -> Any:
    return model.get_submodule(name)


def _parameter(array: Array) -> nn.Parameter:
    """Returns a parameter of its own: a module that shares the tensor keeps the one it has."""
    return nn.Parameter(torch.from_numpy(np.array(array, np.float32)), requires_grad=False)


def _distance(one: Mapping[str, Array], other: Mapping[str, Array]) -> float:
    return max(float(np.abs(one[name].astype(np.float64) - other[name]).max()) for name in one)


def _is_full(adapter: Adapter, wirings: Wirings) -> bool:
    """Tells whether a LoRA of an adapter has all the rank that its site allows, where nothing else is in its way."""
    sites = [(wirings.sites[each.site].site, each) for each in adapter.attachments if each.method == "lora"]
    return {each.method for each in adapter.attachments} <= {"lora", *low_rank.STAYING} and any(
        next(iter(each.params.values())).shape[-1] >= min(site.in_features, site.out_features) for site, each in sites
    )


def _advice(name: str, adapter: Adapter, bench: Bench) -> str:
    near = low_rank.as_lora(adapter, bench.wirings, bench.weights, SUGGESTED)
    return (
        f"{name}: its changes of weights are of high rank, {adapter.size() / 1e6:.1f} MB; --as-lora {SUGGESTED} would "
        f"make them {near.adapter.size() / 1e6:.1f} MB and keep {near.kept:.2%} of them"
    )

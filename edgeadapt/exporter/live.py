"""What PyTorch says of an adapter, and what is held to it: the adapter as it is, or LoRAs that stand in for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgeadapt.adapter import Adapter, Array
from edgeadapt.errors import UnsupportedError
from edgeadapt.exporter import adapterhub_reference, low_rank, merged, reference, trace
from edgeadapt.exporter import base as bases
from edgeadapt.exporter.binding import BaseWeight
from edgeadapt.exporter.checkpoint import Checkpoint
from edgeadapt.exporter.reference import Outputs
from edgeadapt.graph.sites import Wirings

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
    """

    adapter: Adapter
    outputs: Outputs
    notes: tuple[str, ...]


def run(
    name: str,
    checkpoint: Checkpoint,
    adapter: Adapter,
    rank: int | None,
    base: bases.Base,
    wirings: Wirings,
    weights: BaseWeight,
    inputs: Mapping[str, Array],
    outputs: Sequence[str],
) -> Live:
    """Runs an adapter in the library that trained it, and where a rank is given also what stands in for it.

    Args:
        name: Its name, for notes and errors.
        checkpoint: Its folder.
        adapter: The adapter, bound to the base.
        rank: The rank of the LoRAs that stand in for its changes of weights, or None.
        base: The base.
        wirings: Its sites.
        weights: Gives the base's own weights.
        inputs: The inputs of the parity case.
        outputs: Names of the task's outputs.

    Raises:
        UnsupportedError: It is no change of weights, or LoRAs of that rank are too far from it.
    """
    exact = REFERENCES[checkpoint.kind](base, wirings, checkpoint, adapter, inputs, outputs)
    if rank is None:
        big = adapter.size() > BIG and any("lora" in each.method for each in adapter.attachments)
        return Live(adapter, exact, (_advice(name, adapter, wirings, weights),) if big else ())
    near = low_rank.as_lora(adapter, wirings, weights, rank)
    fresh = merged.approximated(base, wirings, near.adapter)
    plain = exact.plain
    stands = Outputs(trace.run(fresh, inputs, outputs), plain)
    error = _distance(stands.adapted, exact.adapted)
    effect = _distance(exact.adapted, plain)
    words = (
        f"LoRAs of rank {rank} keep {near.kept:.2%} of its change: they are {error:.1e} from it where its effect is "
        f"{effect:.1e}"
    )
    if error > WORST * effect:
        raise UnsupportedError(
            f"Adapter {name!r} can't be approximated like this:\n  {words}.\n"
            f"Rank {near.enough} would keep {low_rank.ENOUGH:.0%} of its change."
        )
    facts = {"rank": rank, "method": adapter.method, "kept": near.kept, "max_abs_error": error, "effect": effect}
    found = replace(near.adapter, source={**adapter.source, "as_lora": facts})
    return Live(found, stands, (f"{name}: {words}, {error / effect if effect else 0:.1%} of it",))


def _distance(one: Mapping[str, Array], other: Mapping[str, Array]) -> float:
    return max(float(np.abs(one[name].astype(np.float64) - other[name]).max()) for name in one)


def _advice(name: str, adapter: Adapter, wirings: Wirings, weights: BaseWeight) -> str:
    near = low_rank.as_lora(adapter, wirings, weights, SUGGESTED)
    return (
        f"{name}: its changes of weights are of high rank, {adapter.size() / 1e6:.1f} MB; --as-lora {SUGGESTED} would "
        f"make them {near.adapter.size() / 1e6:.1f} MB and keep {near.kept:.2%} of them"
    )

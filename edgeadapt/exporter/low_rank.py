"""Changes of weights as products of two thin matrices: exactly, or the nearest of a rank. numpy only.

Source: Eckart and Young, 1936: of all matrices of a rank, the one that keeps the largest singular values is nearest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from edgeadapt import methods
from edgeadapt.adapter import Adapter, Array, Attachment, Params
from edgeadapt.errors import UnsupportedError
from edgeadapt.graph.sites import Wiring, Wirings
from edgeadapt.graph.switch import HEAD
from edgeadapt.methods import lora

HALF_ULP = 2.0**-24  # of a float32 near 1: a smaller change of a weight is lost when it is rounded
ENOUGH = 0.99
"""The share of a change's energy that the rank a refusal names would keep."""


@dataclass(frozen=True, slots=True)
class LowRank:
    """An adapter whose changes have become LoRAs of one rank at most.

    Attributes:
        adapter: The adapter.
        kept: The share of the changes' energy (the sum of squares of all entries) that the rank keeps.
        enough: The rank that would keep `ENOUGH` of it.
    """

    adapter: Adapter
    kept: float
    enough: int


def exact(delta: Array, weight: Array) -> dict[str, Array]:
    """Returns the LoRA of a change `(in, out)`, of the change's own rank.

    Singular values are left out that, all together, move no entry of the weight by half a step of fp32 at the weight's
    largest entry.
    """
    u, values, v = np.linalg.svd(delta.astype(np.float64), full_matrices=False)
    tails = np.sqrt(np.cumsum(values[::-1] ** 2))[::-1]  # the Frobenius norm of what is left out bounds every entry
    rank = max(1, int(np.count_nonzero(tails > HALF_ULP * np.abs(weight).max())))
    if rank == len(values):
        return lora.whole(delta)
    return lora.halves(u[:, :rank] * values[:rank], v[:rank])


def as_lora(
    adapter: Adapter, wirings: Wirings, base: Callable[[Wiring], tuple[Array, Array | None]], rank: int
) -> LowRank:
    """Returns an adapter with the change of every weight replaced by the nearest LoRA of a rank.

    Heads, layer norms and biases stay as they are; a change of a bias that a method makes becomes a trained bias.

    Args:
        adapter: The adapter, bound to the base.
        wirings: The sites of the base.
        base: Gives a site's weight `(in, out)` and bias `(out,)`.
        rank: The most a LoRA may have.

    Raises:
        UnsupportedError: The adapter changes more than weights (a bottleneck), or no weight at all.
    """
    attachments = [each for each in adapter.attachments if not _is_weight(each, wirings)]
    if odd := sorted({each.method for each in attachments} - {HEAD, "bias"}):
        raise UnsupportedError(f"A LoRA can't stand in for {', '.join(odd)}: what it does is no change of weights.")
    energies: list[Array] = []
    for site in dict.fromkeys(each.site for each in adapter.attachments if _is_weight(each, wirings)):
        own = [each for each in adapter.attachments if each.site == site and _is_weight(each, wirings)]
        weight, bias = base(wirings.sites[site])
        new_weight, new_bias = weight.astype(np.float64), None if bias is None else bias.astype(np.float64)
        for each in own:
            new_weight, new_bias = _fold(each, wirings, new_weight, new_bias)
        u, values, v = np.linalg.svd(new_weight - weight, full_matrices=False)
        energies.append(values**2)
        keys = methods.get("lora").shapes(wirings.sites[site].site)
        halves = lora.halves(u[:, :rank] * values[:rank], v[:rank]).values()
        attachments.append(Attachment(site, "lora", dict(zip(keys, halves, strict=True))))
        if new_bias is not None and not np.array_equal(new_bias, np.zeros_like(new_bias) if bias is None else bias):
            moved = new_bias if bias is None else new_bias - bias
            attachments.append(_with_bias(attachments, site, moved))
    if not energies:
        raise UnsupportedError("The adapter changes no weights that a LoRA could stand in for.")
    merged = {(each.site, each.method): each for each in attachments}
    total = sum(float(each.sum()) for each in energies)
    kept = sum(float(each[:rank].sum()) for each in energies) / total if total else 1.0
    return LowRank(replace(adapter, method="lora", attachments=tuple(merged.values())), kept, _enough(energies, total))


def _is_weight(attachment: Attachment, wirings: Wirings) -> bool:
    form = methods.get(attachment.method)
    kind = wirings.sites[attachment.site].site.kind
    return attachment.method not in (HEAD, "bias") and isinstance(form, methods.Foldable) and kind in KINDS


KINDS = ("linear", "embedding")


def _fold(attachment: Attachment, wirings: Wirings, weight: Array, bias: Array | None) -> tuple[Array, Array | None]:
    form = methods.get(attachment.method)
    assert isinstance(form, methods.Foldable)  # `_is_weight` has seen to it
    return form.fold(wirings.sites[attachment.site].site, weight, bias, attachment.params)


def _with_bias(attachments: list[Attachment], site: str, moved: Array) -> Attachment:
    """Returns the trained bias of a site, with what the site has already."""
    before = [each.params["bias_delta"] for each in attachments if (each.site, each.method) == (site, "bias")]
    params: Params = {"bias_delta": np.ascontiguousarray(sum(before, moved.reshape(1, 1, -1)), np.float32)}
    return Attachment(site, "bias", params)


def _enough(energies: list[Array], total: float) -> int:
    longest = max(len(each) for each in energies)
    for rank in range(1, longest):
        if sum(float(each[:rank].sum()) for each in energies) >= ENOUGH * total:
            return rank
    return longest

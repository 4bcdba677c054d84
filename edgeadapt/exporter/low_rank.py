"""Changes of weights as products of two thin matrices: exactly, or the nearest of a rank. numpy only.

Source: Eckart and Young, 1936: of all matrices of a rank, the one that keeps the largest singular values is nearest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from edgeadapt import methods
from edgeadapt.adapter import Adapter, Array, Attachment, Site
from edgeadapt.errors import UnsupportedError
from edgeadapt.graph.sites import Wiring, Wirings
from edgeadapt.graph.switch import HEAD
from edgeadapt.methods import lora

HALF_ULP = 2.0**-24  # of a float32 near 1: a smaller change of a weight is lost when it is rounded
NOISE = 2.0**-20  # of a change: what PEFT's own fp32 arithmetic leaves in it
KINDS = ("linear", "embedding")
STAYING = (HEAD, "bias", "trainable_tokens")
"""Methods that a LoRA doesn't stand in for: they are exact and no smaller as one."""


@dataclass(frozen=True, slots=True)
class LowRank:
    """An adapter whose changes have become LoRAs of one rank at most.

    Attributes:
        adapter: The adapter.
        kept: The share of the changes' energy (the sum of squares of all entries) that the rank keeps.
        most: The rank that would keep all of it.
    """

    adapter: Adapter
    kept: float
    most: int


def exact(site: Site, delta: Array, weight: Array) -> dict[str, Array]:
    """Returns the LoRA of a change of `weight`, both `(in, out)`, of the change's own rank.

    Left out are the smallest singular values that all together (by the Frobenius norm, which no entry exceeds) are
    neither more than half a step of fp32 at the changed weight's largest entry, nor than a millionth of the change.
    """
    u, values, v = np.linalg.svd(delta.astype(np.float64), full_matrices=False)
    rank = _own_rank(values, weight + delta)
    if rank == len(values):
        return _named(site, lora.whole(delta))
    return _named(site, lora.halves(u[:, :rank] * values[:rank], v[:rank]))


def row(vector: Array) -> Array:
    """Returns a vector `(out,)` as a param `(1, 1, out)` in fp32."""
    return np.ascontiguousarray(vector, np.float32).reshape(1, 1, -1)


def as_lora(
    adapter: Adapter, wirings: Wirings, base: Callable[[Wiring], tuple[Array, Array | None]], rank: int
) -> LowRank:
    """Returns an adapter with the change of every weight replaced by the nearest LoRA of a rank.

    A LoRA that has no larger rank stays as it is, as do heads, norms, trained tokens and biases; a change of a bias
    that a method makes becomes a trained bias.

    Args:
        adapter: The adapter, bound to the base.
        wirings: The sites of the base.
        base: Gives a site's weight `(in, out)` and bias `(out,)`.
        rank: The most a LoRA may have.

    Raises:
        UnsupportedError: The adapter changes more than weights (a bottleneck), or no weight at all.
    """
    if odd := sorted({each.method for each in adapter.attachments if not _fits(each, wirings)}):
        raise UnsupportedError(f"A LoRA can't stand in for {', '.join(odd)}: what it does is no change of weights.")
    found: dict[tuple[str, str], Attachment] = {
        (each.site, each.method): each for each in adapter.attachments if each.method in STAYING
    }
    kept, total, most = 0.0, 0.0, 0
    for site in dict.fromkeys(each.site for each in adapter.attachments if each.method not in STAYING):
        own = [each for each in adapter.attachments if each.site == site and each.method not in STAYING]
        delta, moved = _change(own, wirings.sites[site], base)
        u, values, v = np.linalg.svd(delta, full_matrices=False)
        here = _own_rank(values, base(wirings.sites[site])[0] + delta)
        length, energy = min(rank, here), values**2
        most, total = max(most, here), total + float(energy.sum())
        kept += float(energy.sum() if length == here else energy[:length].sum())
        if [each.method for each in own] == ["lora"] and next(iter(own[0].params.values())).shape[-1] <= rank:
            found[site, "lora"] = own[0]
            continue
        halves = lora.halves(u[:, :length] * values[:length], v[:length])
        found[site, "lora"] = Attachment(site, "lora", _named(wirings.sites[site].site, halves))
        if moved is not None:
            before = [found[site, "bias"].params["bias_delta"]] if (site, "bias") in found else []
            found[site, "bias"] = Attachment(site, "bias", {"bias_delta": sum(before, row(moved))})
    if not total:
        raise UnsupportedError("The adapter changes no weights that a LoRA could stand in for.")
    return LowRank(replace(adapter, method="lora", attachments=tuple(found.values())), kept / total, most)


def _own_rank(values: Array, weight: Array) -> int:
    """Returns how many singular values of a change matter to the changed weight (see `exact`); 1 or more."""
    tails = np.sqrt(np.cumsum(values[::-1] ** 2))[::-1]
    limit = min(HALF_ULP * float(np.abs(weight).max()), NOISE * float(tails[0]))
    return max(1, int(np.count_nonzero(tails > limit)))


def _fits(attachment: Attachment, wirings: Wirings) -> bool:
    """Tells whether what an attachment does stays as it is, or is a change of a weight."""
    if attachment.method in STAYING:
        return True
    form = methods.get(attachment.method)
    return isinstance(form, methods.Foldable) and wirings.sites[attachment.site].site.kind in KINDS


def _change(
    own: list[Attachment], wiring: Wiring, base: Callable[[Wiring], tuple[Array, Array | None]]
) -> tuple[Array, Array | None]:
    """Returns how far methods move a site's weight `(in, out)`, and its bias `(out,)` where they do, in float64."""
    weight, bias = (None if each is None else each.astype(np.float64) for each in base(wiring))
    assert weight is not None  # every site of these kinds has a weight
    new_weight, new_bias = weight, bias
    for each in own:
        form = methods.get(each.method)
        assert isinstance(form, methods.Foldable)  # `_fits` has seen to it
        new_weight, new_bias = form.fold(wiring.site, new_weight, new_bias, each.params)
    if new_bias is None or (bias is not None and np.array_equal(new_bias, bias)):
        return new_weight - weight, None
    return new_weight - weight, new_bias if bias is None else new_bias - bias


def _named(site: Site, halves: dict[str, Array]) -> dict[str, Array]:
    """Returns two halves under the names that a LoRA has at this kind of site."""
    return dict(zip(methods.get("lora").shapes(site), halves.values(), strict=True))

"""Blends: several adapters at once, each with a weight, `base + sum(weight * adapter)`.

Exact where an adapter is a sum beside the base. One rule a method:

    lora             A's and B's concatenated along the rank, B scaled: x [A1 A2] [w1 B1; w2 B2] = sum w (x A) B
    gated_lora       as lora: each column of A keeps its gate
    bias             the weighted sum
    dora             as lora and bias, and the scale's distance from 1 adds up: 1 + sum w (s - 1)
    ia3              the factor's distance from 1 adds up, at the output and (ia3_ff) at the input
    bottleneck       as lora: side by side the blocks are one block; not with norms or gates of their own
    trainable_tokens as lora: the tokens side by side, their changes scaled
    modules_to_save  a head does not add up: at most one adapter may bring it, and its weight does not touch it
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from edgeadapt.bundle import CACHE
from edgeadapt.errors import UnsupportedError, listed
from edgeadapt.runtime.choice import Row

if TYPE_CHECKING:
    from edgeadapt.bundle import Slot
    from edgeadapt.runtime.filling import Array

Parts: TypeAlias = Sequence[tuple["Array", float]]
Rule: TypeAlias = Callable[["Slot", Parts], "Array"]


def blended(row: Row, slots: Sequence[Slot]) -> dict[str, Array]:
    """Returns the arrays, `(1, ...)`, of the slots that an adapter of `row` brings; ranks add up.

    Raises:
        UnsupportedError: The adapters can't be blended exactly; all reasons.
    """
    bringing = {slot.name: [(part, weight) for part, weight in row if slot.name in part.brings] for slot in slots}
    problems: dict[str, None] = {}
    labels: set[int] = set()
    if begun := [part.name for part, _ in row if part.cache]:
        problems[f"{CACHE}: {listed(begun)} begin with a cache of their own, and caches don't add up"] = None
    for slot in slots:
        names = [part.name for part, _ in bringing[slot.name]]
        if names and rule(slot.method) is None:
            problems[f"{slot.site}: {slot.method} is no sum beside the base ({listed(names)})"] = None
        elif len(names) > 1 and rule(slot.method) is alone:
            problems[f"{slot.site}: {listed(names)} each bring their own, and these don't add up"] = None
        counts = {part.filling.arrays[slot.name].shape[-1] for part, _ in bringing[slot.name] if "labels" in slot.shape}
        labels |= counts
    if len(labels) > 1:
        problems[f"labels: {listed(sorted(map(str, labels)))} of them"] = None
    if problems:
        names = [part.name for part, _ in row]
        remedy = "Run them one by one and combine the outputs."
        raise UnsupportedError.collect(f"A blend of {listed(names)} has no exact meaning:", problems, remedy)
    return {
        slot.name: how(slot, [(part.filling.arrays[slot.name], weight) for part, weight in parts])
        for slot in slots
        if (parts := bringing[slot.name]) and (how := rule(slot.method))
    }


def rule(method: str) -> Rule | None:
    """Returns how the arrays of a slot of this method are blended, or None where a blend has no exact meaning.

    A bottleneck is linear in its output unless one of its options makes it depend on itself.
    """
    name, _, options = method.partition("-")
    if name == "bottleneck" and not set(options.split("-")[1:]) <= {"original_ln_before", "parallel"}:
        return None
    return RULES.get(name)


def _lora(slot: Slot, parts: Parts) -> Array:
    """Returns `(1, in, sum of ranks)` for A, `(1, sum of ranks, out)` for B, `(1, 1, out)` for a bias of B."""
    if "rank" not in slot.shape:
        return _sum(slot, parts)
    scaled = [_scaled(array, weight) if slot.param.endswith("_B") else array for array, weight in parts]
    return np.concatenate(scaled, axis=slot.shape.index("rank"))


def _sum(slot: Slot, parts: Parts) -> Array:
    total = sum(array.astype(np.float64) * weight for array, weight in parts)
    return np.asarray(total, dtype=slot.dtype)


def _dora(slot: Slot, parts: Parts) -> Array:
    return _factor(slot, parts) if slot.param.endswith("_scale") else _lora(slot, parts)


def _factor(slot: Slot, parts: Parts) -> Array:
    total = 1 + sum((array.astype(np.float64) - 1) * weight for array, weight in parts)
    return np.asarray(total, dtype=slot.dtype)


def alone(slot: Slot, parts: Parts) -> Array:
    """Returns the one array there is; its weight does not touch it."""
    return parts[0][0]


def _bottleneck(slot: Slot, parts: Parts) -> Array:
    """Returns blocks side by side: down and its bias concatenated along the rank, up and its bias weighted."""
    param = slot.param.partition(".")[0]
    if param == "adapter_up_bias":
        return _sum(slot, parts)
    scaled = [_scaled(array, weight) if param == "adapter_up" else array for array, weight in parts]
    return np.concatenate(scaled, axis=slot.shape.index("rank"))


def _tokens(slot: Slot, parts: Parts) -> Array:
    """Returns all tokens and their changes side by side; a token that stands twice changes by the sum."""
    scaled = [_scaled(array, weight) if slot.param == "token_delta" else array for array, weight in parts]
    return np.concatenate(scaled, axis=slot.shape.index("rank"))


def _scaled(array: Array, weight: float) -> Array:
    return (array * weight).astype(array.dtype, copy=False)


RULES: dict[str, Rule] = {
    "bias": _sum,
    "bottleneck": _bottleneck,
    "dora": _dora,
    "gated_lora": _lora,
    "ia3": _factor,
    "ia3_ff": _factor,
    "lora": _lora,
    "modules_to_save": alone,
    "trainable_tokens": _tokens,
}

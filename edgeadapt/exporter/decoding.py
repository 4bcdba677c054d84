"""A decoder with a cache: what it is traced with, and the tokens on which it is compared with PyTorch.

The case of the parity gate is prompts and the tokens that follow them, whatever these are worth: ONNX Runtime runs the
prompts at once and then token by token, each adapter on its own cache, and PyTorch all at once without a cache. So the
cache, the positions and the masks are in the comparison, and a case says nothing of how a graph keeps its cache.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

from edgeadapt.adapter import Array
from edgeadapt.bundle import KEPT, PAST, PRESENT, ChatRecord, GenerationRecord
from edgeadapt.errors import UnsupportedError
from edgeadapt.exporter.base import Base
from edgeadapt.exporter.forward import present, tensors

PROMPTS = (8, 6, 3, 1)
"""Tokens of each row's prompt, padded on the left."""
FOLLOWING = 3
TOTAL = max(PROMPTS) + FOLLOWING

Axes = dict[str, tuple[str, ...]]


def case(base: Base, ids: Array) -> dict[str, Array]:
    """Returns what is compared: tokens `(batch, total)`, and the positions whose logits count.

    Args:
        base: The base.
        ids: `(batch, total)`; a row's last tokens are what follows its prompt.
    """
    lengths = np.array(PROMPTS)[:, None] + FOLLOWING
    mask = (np.arange(TOTAL)[None] >= TOTAL - lengths).astype(np.int64)
    kept = np.tile(np.arange(max(PROMPTS) - 1, TOTAL, dtype=np.int64), (len(ids), 1))
    return {**_part(base, ids * mask, mask, 0, TOTAL), KEPT: kept}


def example(base: Base, found: Mapping[str, Array]) -> tuple[dict[str, Array], Axes]:
    """Returns inputs that go on from a cache, to trace the model with, and the names of their axes.

    Args:
        base: The base.
        found: What `case` returned.

    Raises:
        UnsupportedError: The model doesn't keep keys and values of all layers as a cache of transformers.
    """
    ids, mask, cut = found["input_ids"][:2], found["attention_mask"][:2], max(PROMPTS)
    given = _part(base, ids, mask, cut, TOTAL)
    axes: Axes = dict.fromkeys(given, ("batch", "sequence"))
    axes["attention_mask"] = ("batch", "total")
    for name, array in _cache(base, _part(base, ids, mask, 0, cut)).items():
        key = name.replace(PRESENT, PAST)
        given[key] = array
        axes[key] = ("batch", str(array.shape[1]), "past", str(array.shape[3]))
    given[KEPT] = np.zeros((len(ids), 1), np.int64)
    axes[KEPT] = ("batch", "kept")
    return {name: np.ascontiguousarray(array) for name, array in given.items()}, axes


def outputs(axes: Axes) -> Axes:
    """Returns the names of the axes of the cache as it leaves."""
    return {
        name.replace(PAST, PRESENT): (own[0], own[1], "total", own[3])
        for name, own in axes.items()
        if name.startswith(PAST)
    }


def record(base: Base, chat: ChatRecord | None) -> GenerationRecord:
    """Returns what the manifest says of how a decoder is run: the tokens that end a text, positions, conversations."""
    given: Any = getattr(base.model, "generation_config", None)
    ends = getattr(given, "eos_token_id", None)
    if ends is None:
        ends = getattr(base.model.config, "eos_token_id", None)
    found = [] if ends is None else [ends] if isinstance(ends, int) else list(ends)
    return GenerationRecord(tuple(int(each) for each in found), positions(base), chat)


def positions(base: Base) -> int | None:
    """Returns how many tokens a base takes, or None where it knows no limit."""
    found = getattr(base.model.config, "max_position_embeddings", None)
    return int(found) if found else None


def _part(base: Base, ids: Array, mask: Array, start: int, end: int) -> dict[str, Array]:
    """Returns the inputs for tokens from `start` to `end`, positions too where the model takes them."""
    found = {"input_ids": ids[:, start:end], "attention_mask": mask[:, :end]}
    if "position_ids" in inspect.signature(base.model.forward).parameters:
        found["position_ids"] = np.maximum(mask.cumsum(axis=1) - 1, 0)[:, start:end]
    return found


def _cache(base: Base, given: Mapping[str, Array]) -> dict[str, Array]:
    """Returns keys and values of all layers after the base has seen some tokens, `(batch, heads, past, head_dim)`."""
    batch, length = given["input_ids"].shape
    cache = DynamicCache()
    try:
        with torch.no_grad():
            found = base.model(**tensors(given), past_key_values=cache, use_cache=True, return_dict=True)
        arrays = {name: tensor.numpy() for name, tensor in present(found.past_key_values)}
    except Exception as error:
        raise UnsupportedError(
            f"{base.model_type} does not run with a cache of keys and values:\n  {type(error).__name__}: {error}"
        ) from error
    if not arrays or any(
        array.ndim != 4 or array.shape[0] != batch or array.shape[2] != length for array in arrays.values()
    ):
        raise UnsupportedError(
            f"{base.model_type} keeps something else than keys and values (batch, heads, past, head_dim) of every "
            "token in its cache, and edgeadapt can't carry that."
        )
    return arrays

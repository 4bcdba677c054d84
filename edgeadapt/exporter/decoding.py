"""The parity case of a decoder with a cache: some tokens are in the cache already, and some enter."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

from edgeadapt.adapter import Array
from edgeadapt.bundle import KEPT, PAST, PRESENT, GenerationRecord
from edgeadapt.errors import UnsupportedError
from edgeadapt.exporter.base import Base
from edgeadapt.exporter.forward import present, tensors

PAST_LENGTH, SEQUENCE = 8, 4
KEPT_POSITIONS = ((0, 3), (1, 3), (2, 3), (3, 0))
LENGTHS = (PAST_LENGTH + SEQUENCE, 10, 7, SEQUENCE)
"""Tokens of each row, padded on the left; the last row has none in the cache."""

Axes = dict[str, tuple[str, ...]]


def inputs(base: Base, tokens: Mapping[str, Array]) -> tuple[dict[str, Array], Axes]:
    """Returns the inputs of a run that goes on from a cache, and the names of their axes.

    The cache holds what the base without an adapter gives for the first tokens; what padding left in it is zero.

    Args:
        base: The base.
        tokens: `input_ids` and `attention_mask`, `(batch, total)`, padded on the left.

    Raises:
        UnsupportedError: The model doesn't keep keys and values of all layers as a cache of transformers.
    """
    ids, mask = tokens["input_ids"], tokens["attention_mask"]
    positions = np.maximum(mask.cumsum(axis=1) - 1, 0)
    named = "position_ids" in inspect.signature(base.model.forward).parameters

    def part(start: int, end: int) -> dict[str, Array]:
        found = {"input_ids": ids[:, start:end], "attention_mask": mask[:, :end]}
        return {**found, "position_ids": positions[:, start:end]} if named else found

    given = part(PAST_LENGTH, ids.shape[1])
    axes: Axes = dict.fromkeys(given, ("batch", "sequence"))
    axes["attention_mask"] = ("batch", "total")
    there = mask[:, None, :PAST_LENGTH, None] == 1
    for name, array in _cache(base, part(0, PAST_LENGTH)).items():
        key = name.replace(PRESENT, PAST)
        given[key] = np.where(there, array, 0).astype(np.float32)
        axes[key] = ("batch", str(array.shape[1]), "past", str(array.shape[3]))
    given[KEPT] = np.array(KEPT_POSITIONS, np.int64)
    axes[KEPT] = ("batch", "kept")
    return {name: np.ascontiguousarray(array) for name, array in given.items()}, axes


def outputs(axes: Axes) -> Axes:
    """Returns the names of the axes of the cache as it leaves."""
    return {
        name.replace(PAST, PRESENT): (own[0], own[1], "total", own[3])
        for name, own in axes.items()
        if name.startswith(PAST)
    }


def _cache(base: Base, given: Mapping[str, Array]) -> dict[str, Array]:
    """Returns keys and values of all layers after the base has seen some tokens, `(batch, heads, past, head_dim)`."""
    cache = DynamicCache()
    try:
        with torch.no_grad():
            found = base.model(**tensors(given), past_key_values=cache, use_cache=True, return_dict=True)
        arrays = {name: tensor.numpy() for name, tensor in present(found.past_key_values)}
    except Exception as error:
        raise UnsupportedError(
            f"{base.model_type} does not run with a cache of keys and values:\n  {type(error).__name__}: {error}"
        ) from error
    batch = len(given["input_ids"])
    if not arrays or any(
        array.ndim != 4 or array.shape[0] != batch or array.shape[2] != PAST_LENGTH for array in arrays.values()
    ):
        raise UnsupportedError(
            f"{base.model_type} keeps something else than keys and values (batch, heads, past, head_dim) of every "
            "token in its cache, and edgeadapt can't carry that."
        )
    return arrays


def record(base: Base) -> GenerationRecord:
    """Returns what the manifest says of how a decoder is run: the tokens that end a text, and its positions."""
    given: Any = getattr(base.model, "generation_config", None)
    ends = getattr(given, "eos_token_id", None)
    if ends is None:
        ends = getattr(base.model.config, "eos_token_id", None)
    found = [] if ends is None else [ends] if isinstance(ends, int) else list(ends)
    positions = getattr(base.model.config, "max_position_embeddings", None)
    return GenerationRecord(tuple(int(each) for each in found), int(positions) if positions else None)

"""The prompts of a generation: rows of tokens, padded on the left so that all end together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeadapt.errors import InputError

if TYPE_CHECKING:
    from edgeadapt.runtime.filling import Array

ENDED = -1
"""Stands for the token of a row that has ended."""


@dataclass(frozen=True, slots=True)
class Prompts:
    """Rows of tokens.

    Attributes:
        ids: `(batch, n)` int64, 0 where a row has none.
        mask: `(batch, n)` int64, 1 where a row has a token.
        rows: The tokens of each row alone.
    """

    ids: Array
    mask: Array
    rows: tuple[Array, ...]


def prompts(
    input_ids: Any,
    attention_mask: Array | None,
    max_new_tokens: int,
    positions: int | None,
    virtual: Sequence[int] = (),
) -> Prompts:
    """Returns prompts in order.

    Args:
        input_ids: `(batch, n)` int64, or a list with the tokens of each row, which may be of different lengths.
        attention_mask: `(batch, n)` of 0 and 1, padded on the left; None where `input_ids` has no padding.
        max_new_tokens: How many tokens are to follow.
        positions: How many tokens the model takes, or None where it knows no limit.
        virtual: How many tokens each row's cache holds before the first; none where no row's holds any.

    Raises:
        InputError: The batch or a row is empty, ids are no tokens, a mask is padded on the right or has holes, or a
            prompt with what is to follow is longer than the model takes; all of it at once.

    Example:
        >>> prompts([[5, 6, 7], [8]], None, 10, 128).ids
        array([[5, 6, 7],
               [0, 0, 8]])
    """
    rows, problems = _rows(input_ids, attention_mask)
    if not rows and not problems:
        problems.append("input_ids: got no rows, expected one prompt or more")
    for index, row in enumerate(rows):
        if len(row) == 0:
            problems.append(f"row {index}: the prompt is empty; begin with the model's start token")
        elif row.min() < 0:
            problems.append(f"row {index}: {row.min()} is no token")
        elif positions is not None:
            problems += _too_long(index, len(row), max_new_tokens, positions, virtual[index] if virtual else 0)
    if problems:
        raise InputError.collect("These prompts can't be gone on with:", problems)
    longest = max(len(row) for row in rows)
    ids = np.zeros((len(rows), longest), np.int64)
    mask = np.zeros_like(ids)
    for index, row in enumerate(rows):
        ids[index, longest - len(row) :] = row
        mask[index, longest - len(row) :] = 1
    return Prompts(ids, mask, tuple(rows))


def _too_long(index: int, length: int, new: int, positions: int, virtual: int) -> list[str]:
    """Returns what is wrong with the length of a prompt and what is to follow, in a model with so many positions."""
    own = f" and {virtual} virtual ones before it" if virtual else ""
    if length + virtual > positions:
        return [f"row {index}: the prompt has {length} tokens{own}, and the model has {positions} positions"]
    if length + virtual + new > positions:
        return [
            f"row {index}: {length} tokens{own} and {new} new ones are more than the model's {positions} "
            f"positions; max_new_tokens can be {positions - length - virtual}"
        ]
    return []


def _rows(input_ids: Any, mask: Array | None) -> tuple[list[Array], list[str]]:
    """Returns the tokens of each row without padding, and what is wrong with them."""
    if isinstance(input_ids, np.ndarray):
        if input_ids.ndim != 2 or input_ids.dtype.kind not in "iu":
            return [], [f"input_ids: got {input_ids.dtype} {input_ids.shape}, expected int64 (batch, n)"]
        if mask is None:
            return list(input_ids.astype(np.int64)), []
        if np.shape(mask) != input_ids.shape or not np.isin(mask, (0, 1)).all():
            return [], [f"attention_mask: got {np.shape(mask)}, expected 0 and 1 {input_ids.shape}"]
        problems = [
            f"row {index}: the mask has {'holes' if row[-1] else 'padding on the right'}; pad on the left"
            for index, row in enumerate(np.asarray(mask))
            if row.any() and (np.diff(row.astype(np.int64)) < 0).any()
        ]
        return [row[own == 1].astype(np.int64) for row, own in zip(input_ids, np.asarray(mask), strict=True)], problems
    if not isinstance(input_ids, Sequence) or isinstance(input_ids, str):
        return [], [f"input_ids: got {type(input_ids).__name__}, expected an array or a list of rows"]
    if mask is not None:
        return [], ["attention_mask: is for an array of input_ids; rows in a list are padded here"]
    rows, problems = [], []
    for index, row in enumerate(input_ids):
        array = np.asarray(row)
        if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
            problems.append(f"row {index}: got {type(row).__name__} of {array.dtype}, expected whole numbers")
        else:
            rows.append(array.astype(np.int64))
    return rows, problems

"""What an encoder reads: rows of tokens, padded on the right under a mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeadapt.errors import InputError

if TYPE_CHECKING:
    from edgeadapt.bundle import EncoderDecoderRecord
    from edgeadapt.runtime.filling import Array


def sources(
    input_ids: Any, attention_mask: Array | None, begun: int, max_new_tokens: int, record: EncoderDecoderRecord
) -> dict[str, Array]:
    """Returns what the encoder takes, `input_ids` and `attention_mask`, `(batch, source)`.

    Args:
        input_ids: `(batch, n)` int64, or a list with the tokens of each row, which may be of different lengths.
        attention_mask: `(batch, n)` of 0 and 1; None where `input_ids` has no padding.
        begun: How many tokens the decoder begins with.
        max_new_tokens: How many tokens are to be written.
        record: What is known of the model.

    Raises:
        InputError: The batch or a row is empty, ids are no tokens, a row is longer than the encoder reads, or more is
            to be written than the decoder has positions for; all of it at once.
    """
    ids, mask, problems = _padded(input_ids, attention_mask)
    limit = record.encoder.positions
    for index, (row, own) in enumerate(zip(ids, mask, strict=True)):
        if not own.any():
            problems.append(f"row {index}: is empty; give it the token that ends a text at least")
        elif row[own == 1].min() < 0:
            problems.append(f"row {index}: {row[own == 1].min()} is no token")
    if limit is not None and ids.shape[1] > limit:
        problems.append(f"the longest row has {ids.shape[1]} tokens, and the encoder reads {limit}")
    problems += _too_many(begun, max_new_tokens, record.positions)
    if problems:
        raise InputError.collect("These texts can't be rewritten:", problems)
    return {"input_ids": ids * mask, "attention_mask": mask}


def sounds(
    features: Any, mask: Array | None, begun: int, max_new_tokens: int, record: EncoderDecoderRecord
) -> dict[str, Array]:
    """Returns what an encoder of sounds takes, `input_features` `(batch, mels, frames)`; see `sources`.

    Raises:
        InputError: They are no such array, or come with a mask, or more is to be written than the decoder has positions
            for; all of it at once.
    """
    shape = next(tensor.shape for tensor in record.encoder.inputs if tensor.name == "input_features")
    problems = _too_many(begun, max_new_tokens, record.positions)
    if mask is not None:
        problems.append("attention_mask: got one, and sounds have none: they are padded with silence")
    found = f"{features.dtype} {features.shape}" if isinstance(features, np.ndarray) else type(features).__name__
    given = np.asarray(features) if isinstance(features, np.ndarray) else np.zeros(())
    if given.dtype != np.float32 or given.ndim != 3 or given.shape[1:] != shape[1:] or not len(given):
        problems.append(f"input_features: got {found}, expected float32 (batch, {shape[1]}, {shape[2]})")
    if problems:
        raise InputError.collect("These sounds can't be written down:", problems)
    return {"input_features": given}


def _too_many(begun: int, max_new_tokens: int, positions: int | None) -> list[str]:
    if positions is None or begun + max_new_tokens <= positions:
        return []
    return [
        f"{begun} tokens to begin with and {max_new_tokens} new ones are more than the decoder's {positions} "
        f"positions; max_new_tokens can be {positions - begun}"
    ]


def _padded(input_ids: Any, mask: Array | None) -> tuple[Array, Array, list[str]]:
    """Returns ids and mask, and what is wrong with them."""
    nothing = np.zeros((0, 0), np.int64)
    if isinstance(input_ids, np.ndarray):
        if input_ids.ndim != 2 or input_ids.dtype.kind not in "iu" or not len(input_ids):
            problem = f"input_ids: got {input_ids.dtype} {input_ids.shape}, expected int64 (batch, n)"
            return nothing, nothing, [problem]
        if mask is not None and (np.shape(mask) != input_ids.shape or not np.isin(mask, (0, 1)).all()):
            problem = f"attention_mask: got {np.shape(mask)}, expected 0 and 1 {input_ids.shape}"
            return nothing, nothing, [problem]
        ids = input_ids.astype(np.int64)
        return ids, np.ones_like(ids) if mask is None else np.asarray(mask, np.int64), []
    if not isinstance(input_ids, Sequence) or isinstance(input_ids, str) or not len(input_ids):
        problem = f"input_ids: got {type(input_ids).__name__}, expected an array or a list of one row or more"
        return nothing, nothing, [problem]
    if mask is not None:
        return nothing, nothing, ["attention_mask: is for an array of input_ids; rows in a list are padded here"]
    rows = [np.asarray(row) for row in input_ids]
    problems = [
        f"row {index}: got {type(input_ids[index]).__name__} of {row.dtype}, expected whole numbers"
        for index, row in enumerate(rows)
        if row.ndim != 1 or (row.size and row.dtype.kind not in "iu")
    ]
    if problems:
        return nothing, nothing, problems
    longest = max(len(row) for row in rows)
    ids, own = np.zeros((len(rows), longest), np.int64), np.zeros((len(rows), longest), np.int64)
    for index, row in enumerate(rows):
        ids[index, : len(row)], own[index, : len(row)] = row, 1
    return ids, own, []

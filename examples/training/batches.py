"""Batches of rows of like length, as the network takes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from transformers import BatchEncoding, PreTrainedTokenizerBase

from training.rows import Row
from training.settings import BATCH_ROWS, BUCKET_BATCHES, MAX_TOKENS


def bucket(lengths: Sequence[int], rng: np.random.Generator) -> list[list[int]]:
    """Deal row numbers into batches of like length, in random order.

    Rows are shuffled, `BUCKET_BATCHES` batches' worth of them sorted by length at a time, and the batches shuffled
    again: little padding, and still other neighbours in every epoch.
    """
    order = rng.permutation(len(lengths)).tolist()
    pool = BATCH_ROWS * BUCKET_BATCHES
    batches = []
    for start in range(0, len(order), pool):
        rows = sorted(order[start : start + pool], key=lambda row: lengths[row])
        batches += [rows[first : first + BATCH_ROWS] for first in range(0, len(rows), BATCH_ROWS)]
    return [batches[place] for place in rng.permutation(len(batches))]


def make_batches(
    rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, rng: np.random.Generator
) -> Iterator[tuple[BatchEncoding, torch.Tensor]]:
    """Yield every row once, in length-bucketed batches padded to their longest row.

    Yields:
        The model's inputs, `input_ids` and `attention_mask`, int64 `(rows, tokens)`; and class ids, int64 `(rows,)`.
    """
    token_ids = tokenizer([row.text for row in rows], truncation=True, max_length=MAX_TOKENS)["input_ids"]
    for members in bucket([len(ids) for ids in token_ids], rng):
        inputs = tokenizer.pad({"input_ids": [token_ids[row] for row in members]}, return_tensors="pt")
        yield inputs, torch.tensor([rows[row].label for row in members])

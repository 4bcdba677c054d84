"""What an adapter reaches on rows that it was not trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from training.batches import make_batches
from training.rows import Row
from training.settings import SEED


@dataclass(frozen=True, slots=True)
class Score:
    """What an adapter reaches on held-out rows.

    Attributes:
        rows: How many rows were measured.
        accuracy: Share of rows whose class was found.
        baseline: Accuracy of always answering the most frequent class.
        f1: F1 of the recipe's positive class, where it names one.
    """

    rows: int
    accuracy: float
    baseline: float
    f1: float | None

    def __str__(self) -> str:
        """Say it in one line."""
        f1 = "" if self.f1 is None else f", F1 {self.f1:.4f}"
        return f"accuracy {self.accuracy:.4f} of {self.rows} rows (most frequent class {self.baseline:.4f}){f1}"


@torch.inference_mode()
def measure(
    model: nn.Module, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, positive: int | None = None
) -> Score:
    """Classify rows and count.

    Args:
        model: Network with an adapter, in evaluation mode.
        rows: Rows the adapter was not trained on.
        tokenizer: The base's tokenizer.
        positive: Class id whose F1 is wanted.
    """
    pairs: Counter[tuple[int, int]] = Counter()  # (predicted, true)
    for inputs, labels in make_batches(rows, tokenizer, np.random.default_rng(SEED)):
        predicted = model(**inputs).logits.argmax(dim=-1)
        pairs.update(zip(predicted.tolist(), labels.tolist(), strict=True))
    right = sum(count for (predicted, true), count in pairs.items() if predicted == true)
    most_frequent = max(Counter(row.label for row in rows).values())
    return Score(
        rows=len(rows),
        accuracy=right / len(rows),
        baseline=most_frequent / len(rows),
        f1=None if positive is None else f1(pairs, positive),
    )


def f1(pairs: Counter[tuple[int, int]], positive: int) -> float:
    """Return F1 = 2 TP / (2 TP + FP + FN) of one class from counts of (predicted, true)."""
    mentions = sum(count * ((predicted == positive) + (true == positive)) for (predicted, true), count in pairs.items())
    return 2 * pairs[positive, positive] / mentions

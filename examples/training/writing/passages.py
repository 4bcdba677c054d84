"""The data: one long text, cut into passages of as many tokens, the last of which are held out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from training.settings import SEED
from training.writing.recipe import BATCH_PASSAGES, HELD_OUT_SHARE, MEASURED, TOKENS


@dataclass(frozen=True, slots=True)
class Passages:
    """Passages to train on, and passages only to measure on, each int64 `(passages, tokens)`."""

    train: torch.Tensor
    held_out: torch.Tensor

    @property
    def measured(self) -> torch.Tensor:
        """Those that perplexity is measured on, int64 `(measured, tokens)`."""
        places = np.linspace(0, len(self.held_out) - 1, min(MEASURED, len(self.held_out))).round().astype(int)
        return self.held_out[places.tolist()]


def read(path: Path, tokenizer: PreTrainedTokenizerBase) -> Passages:
    """Read a text and hold out its end, from the first blank line of it on.

    Raises:
        click.ClickException: The file is not there.
    """
    if not path.is_file():
        raise click.ClickException(f"No file '{path.name}' in {path.parent}.\nName the folder that has it by --data.")
    text = path.read_text(encoding="utf-8")
    cut = text.index("\n\n", round((1 - HELD_OUT_SHARE) * len(text))) + 2
    return Passages(_cut(text[:cut], tokenizer), _cut(text[cut:], tokenizer))


def batches(passages: torch.Tensor, steps: int) -> Iterator[torch.Tensor]:
    """Yield batches of passages in random order, int64 `(BATCH_PASSAGES, tokens)`, none of them twice in a pass."""
    rng = np.random.default_rng(SEED)
    order: list[int] = []
    for _ in range(steps):
        if len(order) < BATCH_PASSAGES:
            order = rng.permutation(len(passages)).tolist()
        members, order = order[:BATCH_PASSAGES], order[BATCH_PASSAGES:]
        yield passages[members]


def _cut(text: str, tokenizer: PreTrainedTokenizerBase) -> torch.Tensor:
    ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return torch.tensor(ids[: len(ids) // TOKENS * TOKENS]).reshape(-1, TOKENS)

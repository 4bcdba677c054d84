"""What decides an adapter of a decoder: its text, its method, and how it is trained."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from training.recipes import Lora

BASE_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
TOKENS = 128
"""Of every passage."""
BATCH_PASSAGES = 4
HELD_OUT_SHARE = 0.1
MEASURED = 32
"""Passages that perplexity is measured on, spread evenly over those that are held out."""


@dataclass(frozen=True, slots=True)
class WritingRecipe:
    """All that decides one adapter, apart from what lies above and in `training.settings`.

    Attributes:
        name: Folder name.
        purpose: What the adapter does, one sentence.
        limitations: What it does badly, or was never shown.
        file: File name of the text.
        credit: Title, author and address, as the card prints them.
        licence: Licence in words.
        method: What is trained.
        steps: Batches that it is trained on.
        learning_rate: Peak of the schedule.
        dtype: Precision in which the weights are stored; training is fp32 always.
    """

    name: str
    purpose: str
    limitations: str
    file: str
    credit: str
    licence: str
    method: Lora
    steps: int
    learning_rate: float
    dtype: torch.dtype


RECIPE = WritingRecipe(
    name="shakespeare",
    purpose="Goes on with a text as a play of Shakespeare's: speakers in capitals, verse, and the words of his time.",
    limitations=(
        "It was shown 13% of the text, once, so it has the plays' form and words and tells no story. It "
        "knows nothing of chats: what the base was taught of instructions is bent toward verse as well. The base has "
        "surely read the plays in its own training, so both perplexities speak of memory, too."
    ),
    file="tinyshakespeare.txt",
    credit="Tiny Shakespeare, 40,000 lines of the plays of William Shakespeare, collected by A. Karpathy, "
    "<https://github.com/karpathy/char-rnn>",
    licence="public domain",
    method=Lora("all-linear", rank=8, alpha=16, dropout=0.0),
    steps=80,
    learning_rate=1e-3,
    dtype=torch.float16,  # half the bytes: seven linears in each of 30 layers would be 9.8 MB in fp32
)

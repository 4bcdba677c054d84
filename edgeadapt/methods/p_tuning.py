"""P-tuning: a prompt that a small network gave in training; PEFT saves what it gave.

Source: Liu et al., arXiv 2103.10385; `peft.tuners.p_tuning.PromptEncoder`.
"""

from __future__ import annotations

from edgeadapt.methods import prompt
from edgeadapt.methods.prompt import read, split, spread, start

__all__ = ["FIELDS", "TITLE", "TYPE", "read", "split", "spread", "start"]

TITLE = prompt.TITLE
TYPE = "P_TUNING"
FIELDS = prompt.FIELDS | {
    "encoder_dropout", "encoder_hidden_size", "encoder_num_layers", "encoder_reparameterization_type",
}  # fmt: skip

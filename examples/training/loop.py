"""The loop that trains whatever is trained: AdamW on a linear schedule with warm-up."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from rich.progress import track
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from training.settings import MAX_GRADIENT_NORM, WARMUP_SHARE, WEIGHT_DECAY


def fit(model: nn.Module, losses: Iterable[torch.Tensor], steps: int, learning_rate: float, title: str) -> None:
    """Train the weights of a network that are not frozen, one step for each loss.

    Args:
        model: The network, in training mode.
        losses: Scalars; each is computed when it is due, with the weights as they are then.
        steps: How many there are.
        learning_rate: Peak of the schedule.
        title: What the progress bar says.
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=learning_rate, weight_decay=WEIGHT_DECAY)
    warmup = round(WARMUP_SHARE * steps)
    schedule = LambdaLR(optimiser, lambda step: min((step + 1) / warmup, (steps - step) / (steps - warmup)))
    for loss in track(losses, description=title, total=steps):
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, MAX_GRADIENT_NORM)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()

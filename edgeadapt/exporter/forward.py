"""Calls PyTorch's model the way a bundle's graph is called: arrays by name in, arrays by name out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import DynamicCache

from edgeadapt.adapter import Array
from edgeadapt.bundle import KEPT, PAST, PRESENT
from edgeadapt.exporter.base import Base
from edgeadapt.tasks import multiple_choice


class Forward(nn.Module):
    """A model that takes a graph's inputs by name and returns the outputs of these names, as a tuple.

    A decoder's cache is spread over inputs and outputs: `past_key_values.0.key` `(batch, heads, past, head_dim)` enters
    and `present.0.key` `(batch, heads, total, head_dim)` leaves. It is a `transformers.DynamicCache` without a window
    in every layer, so that the mask alone says what is seen. `kept_positions` `(batch, kept)` cuts the logits to
    some positions of each row.

    Attributes:
        choices: How many rows in turn a model of multiple choice takes as one question's; None for other tasks.
    """

    def __init__(self, model: nn.Module, names: Sequence[str], choices: int | None = None) -> None:
        super().__init__()
        self.model = model
        self.names = tuple(names)
        self.choices = choices

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Returns the outputs in the order of `names`."""
        if self.choices is not None:
            # The model takes (questions, choices, sequence), and its scores (questions, choices) are (rows, 1) again.
            grouped = {name: each.reshape(-1, self.choices, each.shape[-1]) for name, each in inputs.items()}
            outputs = self.model(**grouped, return_dict=True)
            return tuple(outputs[name].reshape(-1, 1) for name in self.names)
        options: dict[str, Any] = {
            name: tensor for name, tensor in inputs.items() if name != KEPT and not name.startswith(PAST)
        }
        past = [tensor for name, tensor in inputs.items() if name.startswith(PAST)]
        if past:
            cache = DynamicCache()
            for layer, (key, value) in enumerate(zip(past[::2], past[1::2], strict=True)):
                cache.update(key, value, layer)
            options |= {"past_key_values": cache, "use_cache": True}
        outputs = self.model(**options, return_dict=True)
        found = dict(present(outputs.past_key_values)) if past else {}
        if KEPT in inputs:
            outputs["logits"] = outputs["logits"].gather(1, _spread(inputs[KEPT], outputs["logits"]))
        return tuple(found[name] if name in found else outputs[name] for name in self.names)


def _spread(positions: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    return positions[:, :, None].expand(-1, -1, logits.shape[-1])


def present(cache: Any) -> list[tuple[str, torch.Tensor]]:
    """Returns keys and values of a `DynamicCache`, `(batch, heads, total, head_dim)`, under their outputs' names."""
    return [
        (f"{PRESENT}{index}.{role}", tensor)
        for index, layer in enumerate(cache.layers)
        for role, tensor in (("key", layer.keys), ("value", layer.values))
    ]


def tensors(inputs: Mapping[str, Array]) -> dict[str, torch.Tensor]:
    """Returns arrays as PyTorch's tensors."""
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in inputs.items()}


def run(
    base: Base, inputs: Mapping[str, Array], outputs: Sequence[str], model: nn.Module | None = None
) -> dict[str, Array]:
    """Returns the outputs of PyTorch's model (`model`, or the base's own) for numpy inputs."""
    rows = len(next(iter(inputs.values())))
    with torch.no_grad():
        results = Forward(model if model is not None else base.model, outputs, choices(base, rows))(tensors(inputs))
    return {name: result.numpy() for name, result in zip(outputs, results, strict=True)}


def choices(base: Base, rows: int) -> int | None:
    """Returns how many of a batch's rows are one question's: four, as in the task's samples, where it has so many."""
    return math.gcd(rows, multiple_choice.CHOICES) if base.task == multiple_choice.NAME else None

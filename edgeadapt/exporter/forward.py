"""Calls PyTorch's model the way a bundle's graph is called: arrays by name in, arrays by name out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import DynamicCache, EncoderDecoderCache

from edgeadapt.adapter import Array
from edgeadapt.bundle import CROSS, ENCODED, KEPT, PAST, PRESENT
from edgeadapt.exporter.base import Base
from edgeadapt.tasks import multiple_choice

MASK, SEEN_MASK = "attention_mask", "encoder_attention_mask"
"""The mask of what an encoder reads, and the same as its decoder takes it."""
READ = ("input_ids", MASK, "input_features")
"""What an encoder takes of the inputs of an encoder-decoder."""


class Forward(nn.Module):
    """A model that takes a graph's inputs by name and returns the outputs of these names, as a tuple.

    A decoder's cache is spread over inputs and outputs: `past_key_values.0.key` `(batch, heads, past, head_dim)` enters
    and `present.0.key` `(batch, heads, total, head_dim)` leaves. It is a `transformers.DynamicCache` without a window
    in every layer, so that the mask alone says what is seen. `kept_positions` `(batch, kept)` cuts the logits to
    some positions of each row.

    An encoder and its decoder are two halves that share no value: the encoder reads `input_ids` (or
    `input_features`) and gives `encoded.0.key` `(batch, heads, source, head_dim)`, and the decoder takes these as
    `encoder_key_values.0.key` beside its cache, `decoder_input_ids`
    and `encoder_attention_mask`. So a run can do one half without the other.

    Attributes:
        choices: How many rows in turn a model of multiple choice takes as one question's; None for other tasks.
        cross: The modules that give keys and values of what the encoder gives, in the order of the cache.
    """

    def __init__(
        self, model: nn.Module, names: Sequence[str], choices: int | None = None, cross: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.cross = tuple(cross)
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
        if self.cross:
            return self._halves(inputs)
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

    def _halves(self, inputs: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Returns what the encoder gives of its inputs, and the decoder of its own."""
        model: Any = self.model
        hidden = model.get_encoder()(**{name: inputs[name] for name in READ if name in inputs}, return_dict=True)[0]
        before = [tensor for name, tensor in inputs.items() if name.startswith(PAST)]
        seen = [tensor for name, tensor in inputs.items() if name.startswith(CROSS)]
        heads = seen[0].shape[1]
        encoded = []
        for name in self.cross:
            found = model.get_submodule(name)(hidden)
            encoded.append(found.reshape(*found.shape[:2], heads, -1).transpose(1, 2))
        own, across = DynamicCache(), DynamicCache()
        for layer in range(len(before) // 2):
            own.update(before[2 * layer], before[2 * layer + 1], layer)
            across.update(seen[2 * layer], seen[2 * layer + 1], layer)
        # Read for its shape alone: its keys and values are in the cache.
        stand_in = seen[0][:, 0, :, :1].expand(-1, -1, hidden.shape[-1])
        mask = {MASK: inputs[SEEN_MASK]} if SEEN_MASK in inputs else {}
        outputs = model(
            encoder_outputs=(stand_in,),
            decoder_input_ids=inputs["decoder_input_ids"],
            past_key_values=EncoderDecoderCache(own, across),
            use_cache=True,
            return_dict=True,
            **mask,
        )
        found = dict(present(outputs.past_key_values.self_attention_cache))
        names = [f"{ENCODED}{layer}.{role}" for layer in range(len(encoded) // 2) for role in ("key", "value")]
        found |= {"logits": outputs.logits, **dict(zip(names, encoded, strict=True))}
        return tuple(found[name] for name in self.names)


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

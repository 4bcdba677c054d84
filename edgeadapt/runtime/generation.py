"""Text generation: a prompt is run once, then one new token at a time on what a cache keeps of all those before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import onnxruntime as ort

from edgeadapt.bundle import KEPT, PAST, PRESENT
from edgeadapt.errors import AdapterError, ConfigError, InputError
from edgeadapt.runtime.prompts import ENDED, Prompts

if TYPE_CHECKING:
    from edgeadapt.runtime.choice import Choices
    from edgeadapt.runtime.filling import Array
    from edgeadapt.runtime.sampling import Sampler

Values: TypeAlias = Mapping[str, ort.OrtValue]
Run: TypeAlias = Callable[[Values], dict[str, ort.OrtValue]]
"""Runs the model with inputs by name, the adapters' slots filled already; gives its outputs by name."""
Bind: TypeAlias = Callable[["Choices", int], Run]
"""Returns the run of a choice of adapters, for a batch of so many rows."""
Stop: TypeAlias = Sequence[Sequence[int]] | Callable[[Sequence[int]], bool]
"""What else ends a row: sequences of tokens, or a function of the row's new tokens that says whether it is over."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When rows end.

    Attributes:
        max_new_tokens: After so many tokens.
        eos_ids: At one of these tokens, which is the row's last.
        stop: What else ends a row.
    """

    max_new_tokens: int
    eos_ids: frozenset[int]
    stop: Stop = ()

    def check(self) -> None:
        """Refuses numbers that have no meaning.

        Raises:
            ConfigError: `max_new_tokens` is no number of 1 or more, or a sequence to stop at is empty.
        """
        problems = []
        if type(self.max_new_tokens) is not int or self.max_new_tokens < 1:
            problems.append(f"max_new_tokens: got {self.max_new_tokens!r}, expected a number of 1 or more")
        if not callable(self.stop) and any(len(each) == 0 for each in self.stop):
            problems.append("stop: holds an empty sequence, which would end every row at once")
        if problems:
            raise ConfigError.collect("Nothing can be generated like this:", problems)

    def ended(self, new: Sequence[int]) -> bool:
        """Tells whether a row with these new tokens is over."""
        if new[-1] in self.eos_ids:
            return True
        if callable(self.stop):
            return self.stop(new)
        return any(list(new[-len(each) :]) == list(each) for each in self.stop)


@dataclass(frozen=True, slots=True)
class Decoder:
    """What a generation knows of the model.

    Attributes:
        inputs: The names of its inputs.
        layers: The names of the cache as it enters, with the number of heads and the length of one head's keys.
        positions: How many tokens it takes, or None where it knows no limit.
    """

    inputs: frozenset[str]
    layers: Mapping[str, tuple[int, int]]
    positions: int | None = None


def decoder(inputs: Iterable[tuple[str, Sequence[Any]]], positions: int | None = None) -> Decoder:
    """Returns what is known of a model with these inputs, by name and shape."""
    shapes = dict(inputs)
    layers = {name: (int(shape[1]), int(shape[3])) for name, shape in shapes.items() if name.startswith(PAST)}
    return Decoder(frozenset(shapes), layers, positions)


class Generation:
    """Rows of tokens that grow, with the cache of what the model has seen and the adapters that it was seen with.

    Made by `Session.begin`; one thread at a time.

    Attributes:
        adapter: The choice of adapters that made the cache.
    """

    def __init__(self, bind: Bind, model: Decoder, batch: int, adapter: Choices = None) -> None:
        """Takes what runs the model, what is known of it, and what `Session.begin` was given."""
        self.adapter = adapter
        self._bind = bind
        self._batch = batch
        self._model = model
        self._run = bind(adapter, batch)
        self._empty()

    def _empty(self) -> None:
        self._ids = self._mask = np.zeros((self._batch, 0), np.int64)
        self._cache: dict[str, ort.OrtValue] = {
            name: _value(np.zeros((self._batch, heads, 0, width), np.float32))
            for name, (heads, width) in self._model.layers.items()
        }

    def __len__(self) -> int:
        """Returns how many places the cache has, those of padding included."""
        return int(self._ids.shape[1])

    def feed(self, ids: Array, mask: Array | None = None) -> Array:
        """Runs the model on further tokens and returns the logits after the last one, `(batch, vocabulary)`.

        Args:
            ids: `(batch, n)` int64.
            mask: `(batch, n)` int64, 0 where a row has no token; None where all have.

        Raises:
            InputError: The shapes don't fit, or there are more tokens than the model has positions.
        """
        mask = np.ones_like(ids) if mask is None else mask
        if ids.ndim != 2 or ids.shape[0] != self._batch or ids.shape[1] == 0 or mask.shape != ids.shape:
            raise InputError(
                f"Tokens to go on with: got {ids.shape} under a mask of {mask.shape}, expected ({self._batch}, n) with "
                "n of 1 or more."
            )
        whole = np.concatenate([self._mask, mask], axis=1)
        counted = np.cumsum(whole, axis=1)
        most = int(counted[:, -1].max())
        if self._model.positions is not None and most > self._model.positions:
            raise InputError(f"A row would have {most} tokens, and the model has {self._model.positions} positions.")
        length = ids.shape[1]
        given = {
            "input_ids": ids,
            "attention_mask": whole,
            "position_ids": np.maximum(counted - 1, 0)[:, -length:],
            KEPT: np.full((self._batch, 1), length - 1, np.int64),
        }
        feeds = {name: _value(array) for name, array in given.items() if name in self._model.inputs}
        outputs = self._run({**feeds, **self._cache})
        self._cache = {name: outputs[name.replace(PAST, PRESENT)] for name in self._model.layers}
        self._ids, self._mask = np.concatenate([self._ids, ids], axis=1), whole
        logits: Array = outputs["logits"].numpy()[:, -1]
        return logits

    def switch(self, adapter: Choices, *, prefill: bool = False) -> Array | None:
        """Goes on with other adapters: the cache holds what the old ones made of the tokens, so they are run again.

        Args:
            adapter: The new choice.
            prefill: Permits that: all tokens are run anew with the new adapters.

        Returns:
            The logits after the last token, `(batch, vocabulary)`, or None where there is none yet.

        Raises:
            AdapterError: There are tokens already, and `prefill` is not given.
        """
        if len(self) and not prefill:
            raise AdapterError(
                f"The cache holds {len(self)} tokens that were run with {self.adapter!r}; going on with {adapter!r} "
                "would mix both.\nPass prefill=True to run them again, or begin anew."
            )
        self._run = self._bind(adapter, self._batch)
        self.adapter = adapter
        ids, mask = self._ids, self._mask
        self._empty()
        return self.feed(ids, mask) if ids.shape[1] else None


def stream(generation: Generation, prompts: Prompts, sampler: Sampler, limits: Limits) -> Iterator[Array]:
    """Yields the next token of every row, `(batch,)` int64, until all rows have ended; `ENDED` for those that have.

    Args:
        generation: An empty one.
        prompts: What it begins with.
        sampler: What chooses tokens.
        limits: When rows end.
    """
    seen: list[list[int]] = [list(row) for row in prompts.rows]
    new: list[list[int]] = [[] for _ in seen]
    over = [False] * len(seen)
    logits = generation.feed(prompts.ids, prompts.mask)
    for count in range(1, limits.max_new_tokens + 1):
        tokens = sampler.choose(logits, [np.array(row, np.int64) for row in seen])
        for row, token in enumerate(tokens):
            if over[row]:
                tokens[row] = ENDED
                continue
            seen[row].append(int(token))
            new[row].append(int(token))
            over[row] = limits.ended(new[row])
        yield tokens
        if all(over) or count == limits.max_new_tokens:
            return
        # A row that has ended is fed any token, under a mask.
        going = (tokens != ENDED).astype(np.int64)[:, None]
        logits = generation.feed(np.maximum(tokens, 0)[:, None], going)


def replay(generation: Generation, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Returns the logits of a parity case, `(batch, kept, vocabulary)`: of the prompts, then token by token.

    Args:
        generation: An empty one.
        inputs: `input_ids` and `attention_mask` `(batch, total)`, padded on the left, and `kept_positions`
            `(batch, kept)`: the last of the prompts', and all that follow.
    """
    ids, mask, length = inputs["input_ids"], inputs["attention_mask"], int(inputs[KEPT][0, 0]) + 1
    logits = [generation.feed(ids[:, :length], mask[:, :length])]
    for place in range(length, ids.shape[1]):
        logits.append(generation.feed(ids[:, place : place + 1]))
    return {"logits": np.stack(logits, axis=1)}


def gathered(tokens: Iterator[Array], batch: int) -> list[Array]:
    """Returns the new tokens of every row, `(new,)` int64, from what `stream` yields."""
    rows: list[list[int]] = [[] for _ in range(batch)]
    for step in tokens:
        for row, token in zip(rows, step, strict=True):
            if token != ENDED:
                row.append(int(token))
    return [np.array(row, np.int64) for row in rows]


def _value(array: Any) -> ort.OrtValue:
    return ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))

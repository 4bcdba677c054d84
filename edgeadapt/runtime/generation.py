"""Text generation: a prompt is run once, then one new token at a time on what a cache keeps of all those before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from edgeadapt.bundle import KEPT
from edgeadapt.errors import AdapterError, ConfigError, InputError
from edgeadapt.runtime.cache import cache, row_by_row
from edgeadapt.runtime.decoder import virtual_tokens
from edgeadapt.runtime.prompts import ENDED, Prompts, prompts

if TYPE_CHECKING:
    from edgeadapt.runtime.choice import Choice, Choices
    from edgeadapt.runtime.decoder import Bind, Bound, Decoder
    from edgeadapt.runtime.filling import Array
    from edgeadapt.runtime.sampling import Sampler

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
        self._model = model
        self._rows: list[list[int]] = [[] for _ in range(batch)]
        self._begin(bind(adapter, batch))

    @property
    def rows(self) -> list[list[int]]:
        """The tokens that each row has been fed."""
        return [list(row) for row in self._rows]

    @property
    def virtual(self) -> list[int]:
        """How many tokens the cache of each row holds before the row's first, such as those of a prefix."""
        return list(self._virtual)

    def reserve(self, length: int) -> None:
        """Makes room for rows of so many tokens at once; without it, the cache grows as it must."""
        self._room = length + max(self._virtual, default=0)
        self._cache.reserve(self._room)

    def feed(self, ids: Array, mask: Array | None = None) -> Array:
        """Runs the model on further tokens and returns the logits after the last one, `(batch, vocabulary)`.

        Args:
            ids: `(batch, n)` int64.
            mask: `(batch, n)` int64, 0 where a row has no token: on the left, or everywhere for a row that has ended,
                whose logits mean nothing then; None where all rows have all tokens.

        Raises:
            InputError: The shapes don't fit, a row would begin without a token, or there are more tokens than the model
                has positions.
        """
        mask = np.ones_like(ids) if mask is None else mask
        if ids.ndim != 2 or len(ids) != len(self._rows) or ids.shape[1] == 0 or mask.shape != ids.shape:
            raise InputError(
                f"Tokens to go on with: got {ids.shape} under a mask of {mask.shape}, expected ({len(self._rows)}, n) "
                "with n of 1 or more."
            )
        new = ids.tolist() if mask.all() else [own[there == 1].tolist() for own, there in zip(ids, mask, strict=True)]
        lengths = [len(row) + len(own) for row, own in zip(self._rows, new, strict=True)]
        self._check_room(lengths, self._virtual)
        if not all(lengths):
            raise InputError("A row has no token to begin with.")
        logits = self._feed(ids, mask)
        for row, own in zip(self._rows, new, strict=True):
            row += own
        return logits

    def _check_room(self, lengths: Sequence[int], virtual: Sequence[int]) -> None:
        """Refuses rows of so many tokens, after so many virtual ones, where the model has fewer positions."""
        tokens, before = max(zip(lengths, virtual, strict=True), key=sum)
        positions = self._model.positions
        if positions is not None and tokens + before > positions:
            own = f" and {before} virtual ones before them" if before else ""
            raise InputError(f"A row would have {tokens} tokens{own}, and the model has {positions} positions.")

    def _begin(self, bound: Bound) -> None:
        """Makes a cache that holds what the rows' adapters begin with, and no token yet."""
        batch = len(self._rows)
        initial = bound.initial or [{}] * batch
        self._run = bound.run
        self._virtual = [virtual_tokens(each) for each in initial]
        self._cache = cache(self._model, batch, initial)
        self._fresh = True
        self._room = 0

    def _feed(self, ids: Array, mask: Array) -> Array:
        """Runs tokens `(batch, n)`; returns the logits after the last one of each row.

        The first tokens of several rows, some of which have virtual ones before them, are run row by row: ONNX
        Runtime's `GroupQueryAttention` takes several tokens into a cache that isn't empty for one row alone.
        """
        if not self._fresh or self._model.cache != "shared" or not any(self._virtual) or len(ids) == 1:
            self._fresh = False
            return self._cache.feed(self._run, ids, mask)
        choices: Sequence[Choice] = (
            [self.adapter] * len(ids)
            if self.adapter is None or isinstance(self.adapter, str | Mapping)
            else self.adapter
        )
        rows = [self._bind(choice, 1) for choice in choices]
        self._cache, logits = row_by_row(self._model, rows, ids, mask)
        self._cache.reserve(self._room)
        self._fresh = False
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
            InputError: With the virtual tokens of the new adapters, a row has more than the model has positions.
        """
        count = max(map(len, self._rows), default=0)
        if count and not prefill:
            raise AdapterError(
                f"The cache holds {count} tokens that were run with {self.adapter!r}; going on with {adapter!r} would "
                "mix both.\nPass prefill=True to run them again, or begin anew."
            )
        bound = self._bind(adapter, len(self._rows))
        if count:
            lengths = [len(row) for row in self._rows]
            self._check_room(lengths, [virtual_tokens(each) for each in bound.initial] or [0] * len(lengths))
        self.adapter = adapter
        self._begin(bound)
        if not count:
            return None
        again = prompts(self._rows, None, 0, None)
        return self._feed(again.ids, again.mask)


def stream(generation: Generation, start: Prompts, sampler: Sampler, limits: Limits) -> Iterator[Array]:
    """Yields the next token of every row, `(batch,)` int64, until all rows have ended; `ENDED` for those that have.

    Args:
        generation: An empty one.
        start: What it begins with.
        sampler: What chooses tokens.
        limits: When rows end.
    """
    seen: list[list[int]] = [list(row) for row in start.rows]
    new: list[list[int]] = [[] for _ in seen]
    over = [False] * len(seen)
    generation.reserve(start.ids.shape[1] + limits.max_new_tokens)
    logits = generation.feed(start.ids, start.mask)
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

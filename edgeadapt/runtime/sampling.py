"""How the next tokens of a text are chosen: the likeliest, or drawn from those that top-k and top-p keep.

Source: `_get_logits_processor` and `_sample` of `transformers.generation.GenerationMixin`, whose
`RepetitionPenaltyLogitsProcessor`, `TemperatureLogitsWarper`, `TopKLogitsWarper` and `TopPLogitsWarper` follow each
other in this order.
"""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgeadapt.errors import ConfigError, InputError

if TYPE_CHECKING:
    from edgeadapt.runtime.filling import Array

_LEAST, _MOST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
_POSITIVE = "a positive number that float32 can hold"
_FIRST_TRY, _GROWTH = 64, 8
_COLUMN, _STRETCH = 32, 256


@dataclass(frozen=True, slots=True)
class Sampling:
    """How next tokens are chosen.

    Attributes:
        temperature: What the scores are divided by; 0 takes the token with the highest score, and draws nothing.
        top_k: Draw from this many tokens with the highest scores, and from those that tie with the last of them.
        top_p: Draw from the fewest tokens that have this much of the probability together, or just over it.
        repetition_penalty: Scores of tokens already seen are divided by it, or multiplied where they are negative.
        seed: Draws the same tokens at every call; None for others at each. Without a temperature it says nothing new.
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    repetition_penalty: float = 1.0
    seed: int | None = None

    def problems(self) -> list[str]:
        """Returns what is wrong with the values, one line each.

        Example:
            >>> Sampling(top_p=1.5).problems()
            ['top_p: got 1.5, expected a number above 0, up to 1', 'top_p: has no effect at temperature 0']
        """
        heat, penalty = self.temperature, self.repetition_penalty
        checks = (
            ("temperature", _number(heat) and (heat == 0 or _LEAST <= heat <= _MOST), f"0 or {_POSITIVE}"),
            ("top_k", self.top_k is None or (_whole(self.top_k) and self.top_k >= 1), "1 or more"),
            ("top_p", self.top_p is None or (_number(self.top_p) and 0 < self.top_p <= 1), "a number above 0, up to 1"),
            ("repetition_penalty", _number(penalty) and _LEAST <= penalty <= _MOST, _POSITIVE),
            ("seed", self.seed is None or (_whole(self.seed) and self.seed >= 0), "0 or more"),
        )
        wrong = [
            f"{name}: got {getattr(self, name)!r}, expected {expected}" for name, right, expected in checks if not right
        ]
        idle = [name for name in ("top_k", "top_p") if heat == 0 and getattr(self, name) is not None]
        return wrong + [f"{name}: has no effect at temperature 0" for name in idle]


class Sampler:
    """Chooses the next token of every row, step by step.

    Each row has a random generator of its own, and with a seed all of them start alike: a row gets the tokens that it
    gets alone, whatever else is in the batch. So equal rows get equal texts; without a seed they differ.
    """

    __slots__ = ("_generators", "_sampling")

    def __init__(self, sampling: Sampling, rows: int) -> None:
        """Prepares for a batch of `rows`.

        Raises:
            ConfigError: Values of `sampling` are out of range or have no effect; it names all.
        """
        if problems := sampling.problems():
            raise ConfigError.collect("The next tokens can't be chosen like this:", problems)
        self._sampling = sampling
        self._generators = [np.random.default_rng(sampling.seed) for _ in range(rows)]

    def choose(self, logits: Array, seen: Sequence[Array]) -> Array:
        """Returns the next token of each row, `(rows,)` int64.

        Of equal scores the greedy choice is the first, as with `torch.argmax`.

        Args:
            logits: `(rows, vocabulary)`; they stay as they are.
            seen: The ids of each row's prompt and of what came after it, `(length,)` each and without padding.
                transformers 5 leaves a prompt's padding out too; 4 takes its token for one that was seen.

        Raises:
            InputError: A row's scores are NaN or infinite, or ids are negative; it names all rows.
        """
        chosen = np.zeros(len(logits), np.int64)
        problems: list[str] = []
        for row, (line, ids, generator) in enumerate(zip(logits, seen, self._generators, strict=True)):
            if ids.size and ids.min() < 0:
                problems.append(f"row {row}: a token it has seen is {ids.min()}, expected 0 or more")
                continue
            scores = scored(line, ids, self._sampling)
            best = int(scores.argmax())  # NaN counts as the highest
            if not np.isfinite(scores[best]):
                problems.append(f"row {row}: the highest score is {scores[best]}, expected a finite number")
            elif self._sampling.temperature == 0:
                chosen[row] = best
            else:
                ids = kept(scores, self._sampling)
                chosen[row] = ids[_drawn(scores[ids], generator)]
        if problems:
            raise InputError.collect(
                "There is no next token to choose:",
                problems,
                "Scores that are not finite come from the model, or from a temperature or a repetition penalty that is "
                "too extreme.\n`edgeadapt verify` compares the model with PyTorch on this device.",
            )
        return chosen


def scored(logits: Array, seen: Array, sampling: Sampling) -> Array:
    """Returns a row's scores `(vocabulary,)` float32 after repetition penalty and temperature.

    Ids beyond the vocabulary are left out: a model may embed more tokens than it gives logits for.
    """
    scores = np.asarray(logits, np.float32)
    # What float32 can't hold becomes infinite, as in PyTorch; whoever draws looks at the highest score.
    with np.errstate(over="ignore", under="ignore"):
        if sampling.repetition_penalty != 1:
            penalty = np.float32(sampling.repetition_penalty)
            ids = seen[seen < scores.size]
            old = scores[ids]
            scores = scores.copy()
            scores[ids] = np.where(old < 0, old * penalty, old / penalty)
        if sampling.temperature not in (0, 1):
            scores = scores / np.float32(sampling.temperature)
    return scores


def kept(scores: Array, sampling: Sampling) -> Array:
    """Returns the ids that top-k and top-p keep of a row's scores `(vocabulary,)`, in rising order.

    They are those of transformers, with two exceptions: where the sum of top-p comes within float32's rounding of
    `1 - top_p`, one token more or less may stay; and of equal scores on the edge of top-p the first stay, where
    transformers keeps as many, but which of them is up to PyTorch's sort.

    Args:
        scores: The highest is finite, and none is NaN.
        sampling: With a `top_k`, a `top_p`, both or neither.
    """
    ids = np.arange(scores.size) if sampling.top_k is None else _highest(scores, sampling.top_k)
    if sampling.top_p is None or sampling.top_p == 1:
        return ids
    return ids[_nucleus(scores[ids], float(sampling.top_p))]


def _highest(scores: Array, count: int) -> Array:
    """Returns the places of the `count` highest scores, and of all that tie with the last of them, in rising order."""
    places = np.arange(scores.size)
    if count >= scores.size:
        return places
    columns = scores.size // _COLUMN
    if count <= columns:
        # At least `count` scores reach the `count`-th of the columns' maxima, and few others do: a fast first sieve.
        maxima = scores[: columns * _COLUMN].reshape(_COLUMN, columns).max(axis=0)
        places = np.flatnonzero(scores >= np.partition(maxima, -count)[-count])
    left = scores[places]
    highest: Array = places[left >= np.partition(left, -count)[-count]]
    return highest


def _nucleus(scores: Array, top_p: float) -> Array:
    """Returns the places of what `TopPLogitsWarper` keeps, in rising order.

    It removes tokens from the least likely on, as long as their sum is at most `1 - top_p`, and never the last.
    """
    highest = scores.max()
    weights = np.exp(scores - highest)
    scale, total = weights.sum(), weights.sum(dtype=np.float64)
    limit = np.float32(1 - top_p)
    count = _FIRST_TRY
    # Where all tokens outside of the highest few go anyway, only those few need sorting.
    while True:
        places = _highest(scores, count)
        outside = (total - weights[places].sum(dtype=np.float64)) / scale
        if places.size == scores.size or np.float32(outside) <= limit:
            break
        count *= _GROWTH
    rising = np.sort(scores[places])
    below = outside + np.cumsum(np.exp(rising - highest) / scale, dtype=np.float64)
    removed = min(int(np.count_nonzero(below.astype(np.float32) <= limit)), rising.size - 1)
    edge = rising[removed]
    ties = int(np.searchsorted(rising, edge, side="right")) - removed
    places = places[scores[places] >= edge]
    return np.delete(places, np.flatnonzero(scores[places] == edge)[ties:])


def _drawn(scores: Array, generator: np.random.Generator) -> int:
    """Returns a place, each with the probability that the softmax of the scores gives it.

    It draws a stretch of tokens, then one in it: a running sum over a whole vocabulary takes ten times as long.
    """
    weights = np.exp(scores - scores.max())
    stretches = np.add.reduceat(weights, np.arange(0, weights.size, _STRETCH), dtype=np.float64)
    start = _picked(stretches, generator) * _STRETCH
    return start + _picked(weights[start : start + _STRETCH], generator)


def _picked(weights: Array, generator: np.random.Generator) -> int:
    bounds = np.cumsum(weights, dtype=np.float64)
    return int(np.searchsorted(bounds, generator.random() * bounds[-1], side="right"))


def _number(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _whole(value: object) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)

"""What a base's generation configuration holds every next token to: the logits processors of transformers, in order."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from edgeadapt.bundle import RulesRecord
    from edgeadapt.runtime.filling import Array


def ruled(
    logits: Array, seen: Sequence[int], start: int, last: bool, ends: Collection[int], rules: RulesRecord
) -> Array:
    """Returns a row's scores `(vocabulary,)` float32 after the rules; a token that may not come has `-inf`.

    Source: `transformers.GenerationMixin._get_logits_processor`.

    Args:
        logits: `(vocabulary,)`; they stay as they are.
        seen: The decoder's tokens so far.
        start: How many of them it began with.
        last: Whether no token may follow the next one.
        ends: The tokens that end a text.
        rules: The rules.
    """
    scores = np.array(logits, np.float32)
    if rules.repetition_penalty != 1:
        penalty, ids = np.float32(rules.repetition_penalty), np.unique(seen)
        scores[ids] = np.where(scores[ids] < 0, scores[ids] * penalty, scores[ids] / penalty)
    if rules.no_repeat_ngram_size:
        scores[_repeating(seen, rules.no_repeat_ngram_size)] = -np.inf
    if len(seen) < rules.min_length or len(seen) - start < rules.min_new_tokens:
        scores[list(ends)] = -np.inf
    if rules.forced_bos_token_id is not None and len(seen) == 1:
        scores = _only(scores, (rules.forced_bos_token_id,))
    if rules.forced_eos_token_ids and last:
        scores = _only(scores, rules.forced_eos_token_ids)
    scores[list(rules.suppress_tokens)] = -np.inf
    # A token that is forced first puts the beginning off.
    if len(seen) == (start if start > 1 or rules.forced_bos_token_id is None else start + 1):
        scores[list(rules.begin_suppress_tokens)] = -np.inf
    return scores


def _repeating(seen: Sequence[int], size: int) -> list[int]:
    """Returns the tokens that would make the last ones a sequence of `size` that has been there."""
    before = tuple(seen[len(seen) - size + 1 :]) if size > 1 else ()
    return [
        seen[place + size - 1]
        for place in range(len(seen) - size + 1)
        if tuple(seen[place : place + size - 1]) == before
    ]


def _only(scores: Array, ids: Sequence[int]) -> Array:
    forced = np.full_like(scores, -np.inf)
    forced[list(ids)] = 0
    return forced

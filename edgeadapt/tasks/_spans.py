"""How start and end logits become answers: the best spans of a window, and the words they cover."""

from __future__ import annotations

from typing import TypeAlias, TypedDict

import numpy as np

from edgeadapt.tasks._runner import Array, Tokens

Logits: TypeAlias = tuple[Array, Array]
"""Start and end logits of a window, `(sequence,)` each."""

EXCLUDED = -10000.0
"""The logit of a token that can't be part of an answer."""


class Answer(TypedDict):
    """A part of the context, from character `start` to before `end`, and its score."""

    score: float
    start: int
    end: int
    answer: str


def candidates(tokens: Tokens, cls_id: int | None, question_first: bool) -> Array:
    """Returns `(sequence,)` int64: 1 for the tokens that may be part of an answer, the context's and `[CLS]`.

    `[CLS]` is where models put "no answer". With the context first the reference excludes no token at all, and so does
    this (`p_mask` in `QuestionAnsweringPipeline.preprocess`).
    """
    if not question_first:
        return np.ones(len(tokens), np.int64)
    allowed = np.array([sequence == 1 for sequence in tokens.sequences], np.int64)
    if cls_id is not None:
        allowed[tokens.ids == cls_id] = 1
    return allowed


def best_spans(
    logits: Logits, allowed: Array, count: int, max_answer_len: int
) -> tuple[list[tuple[int, int, float]], float]:
    """Returns the best `(first token, last token, score)` of a window, best first, and the score of "no answer".

    The score of a span is `softmax(start)[first] * softmax(end)[last]` over the allowed tokens. Source:
    `select_starts_ends` in transformers' `question_answering.py`.

    Args:
        logits: Start and end logits, `(sequence,)` each.
        allowed: `(sequence,)`, 1 where a token may be part of an answer.
        count: How many spans to return at most.
        max_answer_len: Tokens of the longest span.

    Example:
        >>> first = np.array([0.0, 9.0, 0.0], np.float32)
        >>> last = np.array([0.0, 0.0, 9.0], np.float32)
        >>> [span[:2] for span in best_spans((first, last), np.ones(3, np.int64), 1, 15)[0]]
        [(1, 2)]
    """
    start, end = (_probabilities(each, allowed) for each in logits)
    no_answer = (start[0] * end[0]).item()
    start[0] = end[0] = 0.0
    return _decoded(start, end, allowed, count, max_answer_len), no_answer


def _probabilities(logits: Array, allowed: Array) -> Array:
    masked = np.where(allowed == 0, EXCLUDED, logits)
    shifted = np.exp(masked - masked.max())
    probabilities: Array = shifted / shifted.sum()
    return probabilities


def _decoded(start: Array, end: Array, allowed: Array, count: int, max_answer_len: int) -> list[tuple[int, int, float]]:
    """Returns the best spans that end no earlier than they start (`decode_spans` in transformers)."""
    scores = np.tril(np.triu(np.outer(start, end)), max_answer_len - 1)
    flat = scores.flatten()
    # Equal scores come out in the order that these very calls give them, so they are the reference's.
    if count == 1:
        order = np.array([np.argmax(flat)])
    elif len(flat) < count:
        order = np.argsort(-flat)
    else:
        largest = np.argpartition(-flat, count)[:count]
        order = largest[np.argsort(-flat[largest])]
    firsts, lasts = np.unravel_index(order, scores.shape)
    # Token 0 always passes the reference's check; without [CLS] it does so with a score of 0.
    passes = np.concatenate([allowed.nonzero()[0], [0]])
    kept = np.isin(firsts, passes) & np.isin(lasts, passes)
    return [
        (int(first), int(last), float(scores[first, last]))
        for first, last in zip(firsts[kept], lasts[kept], strict=True)
    ]


def in_words(tokens: Tokens, first: int, last: int, context: int) -> tuple[int, int]:
    """Returns where the word of token `first` starts and that of `last` ends, in characters of the context.

    Words are those of this window, and `context` says which text of the pair they are from, 0 or 1. Where a token has
    no word, the tokens' own ends are taken, as `QuestionAnsweringPipeline.get_indices` does.
    """
    start, end = (_word(tokens, index, context) for index in (first, last))
    if start is None or end is None:
        return tokens.offsets[first][0], tokens.offsets[last][1]
    return start[0], end[1]


def _word(tokens: Tokens, index: int, context: int) -> tuple[int, int] | None:
    """Returns the characters of the word that a token is of, or None."""
    word = tokens.words[index]
    if word is None:
        return None
    own = [
        offset
        for offset, number, sequence in zip(tokens.offsets, tokens.words, tokens.sequences, strict=True)
        if number == word and sequence == context
    ]
    return (own[0][0], own[-1][1]) if own else None

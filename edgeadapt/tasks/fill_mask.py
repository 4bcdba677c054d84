"""Fill-mask: what could stand where a text has its mask token."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Literal, TypeAlias, TypedDict

import numpy as np

from edgeadapt.errors import ConfigError, InputError, UnsupportedError
from edgeadapt.tasks._runner import BATCH_SIZE, Array, Choice, Runner, Tokens, Vocabulary, as_rows, check_texts, choices
from edgeadapt.tasks._samples import RAILWAY
from edgeadapt.tasks._scores import check_top_k, softmax

NAME = "fill-mask"
OUTPUTS = {"logits": ("batch", "sequence", "vocab")}
LABELS = False
CACHED = False
INPUT: Literal["text"] = "text"

PLACEHOLDER = "[MASK]"
"""What `SAMPLES` have in place of the tokenizer's own mask token: `with_mask` puts that in."""

SAMPLES = (
    "Good [MASK]!",
    "The capital of France is [MASK].",
    "She opened the [MASK] and let the dog out before the rain began.",
    "Neil Armstrong was the first [MASK] to walk on the Moon, and he landed there in [MASK] 1969.",
    "If the parcel isn't here by Friday I'd like my [MASK] back, because I've had to buy another one in the meantime.",
    RAILWAY.replace("the villages along the river", "the villages along the [MASK]").replace("a school", "a [MASK]"),
)


class Filling(TypedDict):
    """One way to fill one mask."""

    score: float
    token: int
    token_str: str
    sequence: str


Fillings: TypeAlias = list[Filling] | list[list[Filling]]


def with_mask(sample: str, mask_token: str) -> str:
    """Returns a sample with the tokenizer's mask token in place of the placeholder.

    Example:
        >>> with_mask(SAMPLES[0], "<mask>")
        'Good <mask>!'
    """
    return sample.replace(PLACEHOLDER, mask_token)


def postprocess(
    logits: Array, ids: Array, mask_id: int, vocabulary: Vocabulary, top_k: int = 5, targets: Array | None = None
) -> Fillings:
    """Returns what `FillMaskPipeline.postprocess` of transformers returns for one text.

    Args:
        logits: `(sequence, vocab)`.
        ids: `(sequence,)` int64.
        mask_id: The mask token's id.
        vocabulary: The tokenizer's tokens.
        top_k: How many tokens to return for each mask, best first.
        targets: `(targets,)` int64, the only tokens to choose from; None for all.

    Returns:
        The fillings of the mask, or a list of them for each mask where there are several. Each mask is filled by
        itself: scores are of one mask, and the other masks stay in `sequence`.
    """
    places = np.flatnonzero(ids == mask_id)
    scores = softmax(logits[places])
    if targets is not None:
        scores = scores[:, targets]
    results: list[list[Filling]] = []
    for place, row in zip(places.tolist(), scores, strict=True):
        best = np.argsort(-row, kind="stable")[:top_k]
        tokens = best if targets is None else targets[best]
        results.append(
            [
                {
                    "score": score,
                    "token": token,
                    "token_str": vocabulary.decode([token], skip_special=False),
                    # With one mask special tokens go; with several the other masks have to stay to be seen.
                    "sequence": vocabulary.decode(_filled(ids, place, token, vocabulary.pad_id), len(places) == 1),
                }
                for score, token in zip(row[best].tolist(), tokens.tolist(), strict=True)
            ]
        )
    return results[0] if len(results) == 1 else results


def _filled(ids: Array, place: int, token: int, pad_id: int) -> list[int]:
    filled = ids.copy()
    filled[place] = token
    return [int(token_id) for token_id in filled if token_id != pad_id]


class Pipeline:
    """Fills masks as `transformers.pipeline("fill-mask")` does."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def __call__(
        self,
        inputs: str | Sequence[str],
        *,
        adapter: Choice | Sequence[Choice] = None,
        top_k: int = 5,
        targets: str | Sequence[str] | None = None,
        truncation: bool = True,
        batch_size: int = BATCH_SIZE,
    ) -> Fillings | list[Fillings]:
        """Returns the likeliest tokens for the mask of each text.

        Args:
            inputs: A text that contains the tokenizer's mask token, or a list of them. As in transformers, a list of
                one gives what its text gives.
            adapter: One adapter for all, or a list with one for each text; None is the base.
            top_k: How many tokens to return, best first.
            targets: The only tokens to choose from. One that the vocabulary lacks stands for its first token, with a
                warning.
            truncation: Whether a text that is too long is cut or refused.
            batch_size: Texts computed at a time, in their order.

        Raises:
            InputError: A text has no mask, or is too long; the adapters are not one for each text.
            ConfigError: No target is left.
            UnsupportedError: The tokenizer has no mask token.
        """
        check_top_k(top_k)
        rows, as_list = as_rows(inputs)
        texts = check_texts(rows)
        adapters = choices(adapter, len(texts))
        vocabulary = self._runner.vocabulary
        mask_id = _mask_id(vocabulary)
        chosen = None if targets is None else target_ids(targets, vocabulary)
        tokens = self._runner.tokens(texts, truncation)
        _check_masks(tokens, mask_id, vocabulary)
        results = [
            postprocess(output["logits"], row.ids, mask_id, vocabulary, top_k, chosen)
            for row, output in zip(tokens, self._runner.run(tokens, adapters, batch_size), strict=True)
        ]
        return results if as_list and len(results) != 1 else results[0]


def target_ids(targets: str | Sequence[str], vocabulary: Vocabulary) -> Array:
    """Returns the ids of the targets `(targets,)`, each once (`FillMaskPipeline.get_target_ids` of transformers).

    Raises:
        ConfigError: None of them has a token.
    """
    found: dict[int, None] = {}
    for target in [targets] if isinstance(targets, str) else targets:
        token_id = vocabulary.id(target)
        if token_id is None:
            token_id = vocabulary.first_id(target)
            stands = "is ignored" if token_id is None else f"stands for {vocabulary.token(token_id)!r}"
            warnings.warn(f"The target {target!r} is no token of the vocabulary and {stands}.", stacklevel=3)
        if token_id is not None:
            found[token_id] = None
    if not found:
        raise ConfigError(f"targets: got {targets!r}, expected at least one word that the tokenizer has a token for.")
    return np.array(list(found), np.int64)


def _mask_id(vocabulary: Vocabulary) -> int:
    mask_id = None if vocabulary.mask_token is None else vocabulary.id(vocabulary.mask_token)
    if mask_id is None:
        raise UnsupportedError("The tokenizer has no mask token, so there is nothing that could be filled.")
    return mask_id


def _check_masks(tokens: Sequence[Tokens], mask_id: int, vocabulary: Vocabulary) -> None:
    missing = [f"input {index}" for index, row in enumerate(tokens) if mask_id not in row.ids]
    if missing:
        raise InputError.collect(
            f"No mask token {vocabulary.mask_token} in:",
            missing,
            f"Write {vocabulary.mask_token} where a word is to be found.",
        )

"""Token classification: a label for every token of a text, or for runs of tokens that belong together."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Literal

from edgeadapt.errors import BundleError, ConfigError
from edgeadapt.tasks._entities import Piece, Strategy, grouped, without_overlaps
from edgeadapt.tasks._runner import (
    BATCH_SIZE,
    Array,
    Choice,
    Runner,
    Tokens,
    Vocabulary,
    as_rows,
    check_texts,
    choices,
    in_windows,
)
from edgeadapt.tasks._samples import TEXTS
from edgeadapt.tasks._scores import softmax

NAME = "token-classification"
OUTPUTS = {"logits": ("batch", "sequence", "labels")}
LABELS = True
CACHED = False
INPUT: Literal["text"] = "text"
SAMPLES = TEXTS

STRATEGIES: tuple[Strategy, ...] = ("none", "simple", "first", "average", "max")


def postprocess(
    windows: Sequence[tuple[Tokens, Array]],
    sentence: str,
    labels: Sequence[str],
    vocabulary: Vocabulary,
    aggregation_strategy: Strategy = "none",
    ignore_labels: Sequence[str] = ("O",),
) -> list[dict[str, Any]]:
    """Returns what `TokenClassificationPipeline.postprocess` of transformers returns for one text.

    Args:
        windows: The tokens and logits `(sequence, labels)` of each window of the text; mostly one.
        sentence: The text.
        labels: The head's labels.
        vocabulary: The tokenizer's tokens.
        aggregation_strategy: How tokens are put together, see `Pipeline`.
        ignore_labels: Labels that are left out.

    Returns:
        `{"entity", "score", "index", "word", "start", "end"}` for each token, or `{"entity_group", "score", "word",
        "start", "end"}` for each group.
    """
    results: list[dict[str, Any]] = []
    for tokens, logits in windows:
        if logits.shape[-1] != len(labels):
            raise BundleError(
                f"The head gives {logits.shape[-1]} scores for a token and has {len(labels)} labels.\n"
                "Export the adapter again with its labels."
            )
        pieces = _pieces(tokens, softmax(logits), sentence, vocabulary, aggregation_strategy)
        results += [
            entity.record()
            for entity in grouped(pieces, labels, vocabulary, aggregation_strategy)
            if entity.label not in ignore_labels
        ]
    return without_overlaps(results) if len(windows) > 1 else results


def _pieces(tokens: Tokens, scores: Array, sentence: str, vocabulary: Vocabulary, strategy: Strategy) -> list[Piece]:
    """Returns the tokens that are the text's own, as `TokenClassificationPipeline.gather_pre_entities` does."""
    prefix = vocabulary.subword_prefix
    if not prefix and strategy in ("first", "average", "max"):
        warnings.warn(
            "The tokenizer doesn't mark where words begin: they are taken to begin after a space.", stacklevel=4
        )
    pieces = []
    for index, token_id in enumerate(tokens.ids.tolist()):
        if tokens.special[index]:
            continue
        start, end = tokens.offsets[index]
        word, written = vocabulary.token(token_id), sentence[start:end]
        # Without marks a word is taken to begin after a space; the reference does so too.
        after_space = start == 0 or " " in sentence[start - 1 : start + 1]
        inside = len(word) != len(written) if prefix else not after_space
        if token_id == vocabulary.unknown_id:
            word, inside = written, False
        pieces.append(Piece(word, scores[index], start, end, index, inside))
    return pieces


class Pipeline:
    """Classifies tokens as `transformers.pipeline("token-classification")` does."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def __call__(
        self,
        inputs: str | Sequence[str],
        *,
        adapter: Choice | Sequence[Choice] = None,
        aggregation_strategy: Strategy = "none",
        ignore_labels: Sequence[str] = ("O",),
        stride: int | None = None,
        batch_size: int = BATCH_SIZE,
    ) -> list[dict[str, Any]] | list[list[dict[str, Any]]]:
        """Returns the labelled tokens of each text.

        Args:
            inputs: A text, or a list of them.
            adapter: One adapter for all, or a list with one for each text; None is the base.
            aggregation_strategy: `"none"` for every token by itself; `"simple"` for runs of the same tag, split where
                one begins with `B-`; `"first"`, `"average"` and `"max"` the same with whole words, whose label is that
                of the first token, of the mean scores, or of the surest token.
            ignore_labels: Labels that are left out.
            stride: None cuts a text that is too long; a number splits it into windows of which so many tokens overlap.
            batch_size: Texts (or windows) computed at a time, in their order.

        Raises:
            InputError: An input is no text; the adapters are not one for each text.
            ConfigError: There is no such strategy; a stride is too long, or given without aggregation.
        """
        if aggregation_strategy not in STRATEGIES:
            raise ConfigError(
                f"aggregation_strategy: got {aggregation_strategy!r}, expected one of {', '.join(STRATEGIES)}."
            )
        rows, as_list = as_rows(inputs)
        texts = check_texts(rows)
        adapters = choices(adapter, len(texts))
        windows = self._windows(texts, stride, aggregation_strategy)
        found = in_windows(self._runner, windows, adapters, batch_size)
        results = [
            postprocess(
                [(tokens, output["logits"]) for tokens, output in each],
                text,
                self._runner.labels(name),
                self._runner.vocabulary,
                aggregation_strategy,
                ignore_labels,
            )
            for text, each, name in zip(texts, found, adapters, strict=True)
        ]
        return results if as_list else results[0]

    def _windows(self, texts: list[str], stride: int | None, strategy: Strategy) -> list[list[Tokens]]:
        if stride is None:
            return [[tokens] for tokens in self._runner.tokens(texts, truncation=True)]
        if strategy == "none":
            raise ConfigError("stride: windows overlap, so it needs an aggregation_strategy other than 'none'.")
        return [self._runner.windows(text, self._runner.max_length, stride, "longest_first") for text in texts]

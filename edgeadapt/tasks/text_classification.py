"""Text classification: one set of labels for a whole text, or for a pair of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal, TypeAlias

from edgeadapt.errors import InputError
from edgeadapt.tasks._runner import BATCH_SIZE, Array, Choice, ProblemType, Runner, Text, as_rows, choices
from edgeadapt.tasks._samples import TEXTS
from edgeadapt.tasks._scores import Activation, Scored, best_first, check_top_k, classified, scored

NAME = "text-classification"
OUTPUTS = {"logits": ("batch", "labels")}
LABELS = True
CACHED = False
INPUT: Literal["text"] = "text"
SAMPLES = TEXTS

Input: TypeAlias = str | Mapping[str, str]
TopK: TypeAlias = int | Literal["best"] | None


def postprocess(
    logits: Array,
    labels: Sequence[str],
    top_k: TopK = "best",
    function_to_apply: Activation | None = None,
    problem_type: ProblemType | None = None,
) -> Scored | list[Scored]:
    """Returns what `TextClassificationPipeline.postprocess` of transformers returns for one text.

    Args:
        logits: `(labels,)`.
        labels: The head's labels.
        top_k: `"best"` for the best label alone, a number for a list of so many, None for a list of all.
        function_to_apply: What makes scores of logits; None for what the head was trained for.
        problem_type: What that is; None for the sigmoid of one label, the softmax of several.

    Example:
        >>> import numpy as np
        >>> postprocess(np.array([0.0, 0.0, 9.0], np.float32), ["ham", "spam", "news"], function_to_apply="none")
        {'label': 'news', 'score': 9.0}
    """
    records = scored(logits, labels, function_to_apply, problem_type)
    if top_k == "best":
        # The first of equal scores, as argmax takes it.
        return max(records, key=lambda record: record["score"])
    return best_first(records)[:top_k]


class Pipeline:
    """Classifies texts as `transformers.pipeline("text-classification")` does."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def __call__(
        self,
        inputs: Input | Sequence[Input],
        *,
        adapter: Choice | Sequence[Choice] = None,
        top_k: TopK = "best",
        function_to_apply: Activation | None = None,
        truncation: bool = True,
        batch_size: int = BATCH_SIZE,
    ) -> list[Scored] | list[list[Scored]] | Scored:
        """Returns the labels of each text.

        Args:
            inputs: A text, a pair `{"text": ..., "text_pair": ...}`, or a list of them.
            adapter: One adapter for all, or a list with one for each text; None is the base.
            top_k: `"best"` for the best label alone (transformers' default), a number for a list of so many for each
                text, None for all.
            function_to_apply: What makes scores of logits: `"sigmoid"`, `"softmax"`, `"none"`. None takes what the head
                was trained for: a regression's logits as they are, the sigmoid for several labels at a time, else the
                sigmoid of one label and the softmax of several.
                An adapter's head was trained for what the `config.json` of its folder said.
            truncation: Whether a text that is too long is cut or refused.
            batch_size: Texts computed at a time, in their order.

        Raises:
            InputError: An input is no text, or too long; the adapters are not one for each text.
        """
        if top_k != "best":
            check_top_k(top_k)
        rows, as_list = as_rows(inputs)
        adapters = choices(adapter, len(rows))
        tokens = self._runner.tokens(_texts(rows), truncation)
        one_row = partial(postprocess, top_k=top_k, function_to_apply=function_to_apply)
        results = classified(self._runner, tokens, adapters, batch_size, one_row)
        # transformers puts the one record of one text into a list, and that of one pair not.
        if as_list or (top_k == "best" and isinstance(inputs, str)):
            return results  # type: ignore[return-value]  # all records, or all lists
        return results[0]


def _texts(rows: Sequence[Input]) -> list[Text]:
    texts: list[Text] = []
    wrong: list[str] = []
    for index, row in enumerate(rows):
        if isinstance(row, str):
            texts.append(row)
        elif isinstance(row, Mapping) and set(row) == {"text", "text_pair"}:
            texts.append((row["text"], row["text_pair"]))
        elif isinstance(row, Mapping) and set(row) == {"text"}:
            texts.append(row["text"])
        else:
            wrong.append(f"input {index}: got {type(row).__name__} {row!r:.60}")
    if wrong:
        raise InputError.collect('Every input has to be a text, or a pair {"text": ..., "text_pair": ...}:', wrong)
    return texts

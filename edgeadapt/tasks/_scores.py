"""From logits to labels with scores, for tasks that classify a whole row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, TypeAlias, TypedDict, TypeVar

import numpy as np

from edgeadapt.errors import BundleError, ConfigError
from edgeadapt.tasks._runner import Array, Choice, ProblemType, Row, Runner

Activation: TypeAlias = Literal["sigmoid", "softmax", "none"]
ResultT = TypeVar("ResultT")


class Scored(TypedDict):
    """A label and its score."""

    label: str
    score: float


def sigmoid(logits: Array) -> Array:
    """Returns `1 / (1 + exp(-x))`, in the dtype of `logits`."""
    scores: Array = 1.0 / (1.0 + np.exp(-logits))
    return scores


def softmax(logits: Array) -> Array:
    """Returns `exp(x) / sum(exp(x))` over the last axis, in the dtype of `logits`.

    Example:
        >>> softmax(np.array([1.0, 1.0])).tolist()
        [0.5, 0.5]
    """
    shifted = np.exp(logits - np.max(logits, axis=-1, keepdims=True))
    scores: Array = shifted / shifted.sum(axis=-1, keepdims=True)
    return scores


def activate(logits: Array, function: Activation | None, problem_type: ProblemType | None = None) -> Array:
    """Returns the scores of `logits` `(labels,)`.

    A `function` of None leaves it to the head, as `TextClassificationPipeline.postprocess` does.

    Cases:
        1. A regression: its logits are its answer.
        2. Several labels at a time, or a single one: the sigmoid.
        3. One of several labels, or nobody said: the softmax.

    Raises:
        ConfigError: There is no such function.

    Example:
        >>> activate(np.array([0.0]), None).tolist(), activate(np.array([0.0, 0.0]), None).tolist()
        ([0.5], [0.5, 0.5])
    """
    if function is None:
        function = _default(problem_type, logits.shape[-1])
    if function == "sigmoid":
        return sigmoid(logits)
    if function == "softmax":
        return softmax(logits)
    if function == "none":
        return logits
    raise ConfigError(
        f"function_to_apply: got {function!r}, expected 'sigmoid', 'softmax', 'none', or None for the default."
    )


def _default(problem_type: ProblemType | None, labels: int) -> Activation:
    if problem_type == "regression":
        return "none"
    return "sigmoid" if problem_type == "multi_label_classification" or labels == 1 else "softmax"


def scored(
    logits: Array, labels: Sequence[str], function: Activation | None = None, problem_type: ProblemType | None = None
) -> list[Scored]:
    """Returns every label with its score, in the head's order.

    Args:
        logits: `(labels,)`.
        labels: The head's labels.
        function: What makes scores of logits; None for what the head was trained for.
        problem_type: What that is; None for the sigmoid of one label, the softmax of several.

    Raises:
        BundleError: The head has more or fewer outputs than labels.
        ConfigError: There is no such function.
    """
    scores = activate(logits, function, problem_type)
    if len(labels) != len(scores):
        raise BundleError(
            f"The head gives {len(scores)} scores and has {len(labels)} labels.\n"
            "Export the adapter again with its labels."
        )
    return [{"label": label, "score": score.item()} for label, score in zip(labels, scores, strict=True)]


def best_first(records: Sequence[Scored]) -> list[Scored]:
    """Returns the records by falling score; equal scores keep the head's order."""
    return sorted(records, key=lambda record: record["score"], reverse=True)


def check_top_k(top_k: int | None) -> None:
    """Refuses a count below 1.

    Raises:
        ConfigError: `top_k` is 0 or negative.
    """
    if top_k is not None and top_k < 1:
        raise ConfigError(f"top_k: got {top_k}, expected 1 or more.")


def classified(
    runner: Runner,
    rows: Iterable[Row],
    adapters: Sequence[Choice],
    batch_size: int,
    postprocess: Callable[..., ResultT],
) -> list[ResultT]:
    """Returns what a task's `postprocess` makes of every row's logits, labels and problem type."""
    outputs = runner.run(rows, adapters, batch_size)
    return [
        postprocess(output["logits"], runner.labels(name), problem_type=runner.problem_type(name))
        for output, name in zip(outputs, adapters, strict=True)
    ]

"""Image classification: one set of labels for a whole image."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

from edgeadapt.tasks._runner import BATCH_SIZE, Array, Choice, ProblemType, Runner, as_rows, choices
from edgeadapt.tasks._samples import PICTURES
from edgeadapt.tasks._scores import Activation, Scored, best_first, check_top_k, classified, scored

NAME = "image-classification"
OUTPUTS = {"logits": ("batch", "labels")}
LABELS = True
CACHED = False
INPUT: Literal["image"] = "image"
SAMPLES = PICTURES


def postprocess(
    logits: Array,
    labels: Sequence[str],
    top_k: int = 5,
    function_to_apply: Activation | None = None,
    problem_type: ProblemType | None = None,
) -> list[Scored]:
    """Returns what `ImageClassificationPipeline.postprocess` of transformers returns for one image.

    Args:
        logits: `(labels,)`.
        labels: The head's labels.
        top_k: How many labels to return, best first.
        function_to_apply: What makes scores of logits; None for what the head was trained for.
        problem_type: What that is; None for the sigmoid of one label, the softmax of several.

    Example:
        >>> import numpy as np
        >>> postprocess(np.array([1.0, 3.0, 2.0], np.float32), ["cat", "dog", "owl"], 2, "none")
        [{'label': 'dog', 'score': 3.0}, {'label': 'owl', 'score': 2.0}]
    """
    return best_first(scored(logits, labels, function_to_apply, problem_type))[:top_k]


class Pipeline:
    """Classifies images as `transformers.pipeline("image-classification")` does."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def __call__(
        self,
        inputs: Any,
        *,
        adapter: Choice | Sequence[Choice] = None,
        top_k: int = 5,
        function_to_apply: Activation | None = None,
        batch_size: int = BATCH_SIZE,
    ) -> list[Scored] | list[list[Scored]]:
        """Returns the best labels of each image.

        Args:
            inputs: A path, a PIL image, a uint8 array `(height, width, 3)`, or a list of them.
            adapter: One adapter for all, or a list with one for each image; None is the base.
            top_k: How many labels to return, best first.
            function_to_apply: What makes scores of logits: `"sigmoid"`, `"softmax"`, `"none"`. None takes what the head
                was trained for: a regression's logits as they are, the sigmoid for several labels at a time, else the
                sigmoid of one label and the softmax of several.
            batch_size: Images read and computed at a time, in their order.

        Raises:
            InputError: An input can't be read as an image; the adapters are not one for each image.
        """
        check_top_k(top_k)
        images, as_list = as_rows(inputs)
        adapters = choices(adapter, len(images))
        one_row = partial(postprocess, top_k=top_k, function_to_apply=function_to_apply)
        results = classified(self._runner, self._runner.pixels(images), adapters, batch_size, one_row)
        return results if as_list else results[0]

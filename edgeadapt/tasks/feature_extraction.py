"""Feature extraction: the last hidden states of a base without a head, of texts or of images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from edgeadapt.tasks._runner import BATCH_SIZE, Array, Choice, Row, Runner, as_rows, check_texts, choices
from edgeadapt.tasks._samples import PICTURES, TEXTS

NAME = "feature-extraction"
OUTPUTS = {"last_hidden_state": ("batch", "sequence", "hidden")}
LABELS = False
CACHED = False
INPUT: Literal["text"] = "text"
SAMPLES = TEXTS
IMAGE_SAMPLES = PICTURES
"""The samples where the base takes images; its sequence is then the patches."""


def postprocess(hidden: Array, return_tensors: bool | Literal["np"] = False) -> Any:
    """Returns what `FeatureExtractionPipeline.postprocess` of transformers returns for one row.

    Args:
        hidden: `(sequence, hidden)`.
        return_tensors: Whether to return an array `(1, sequence, hidden)` rather than lists in lists.

    Example:
        >>> import numpy as np
        >>> postprocess(np.zeros((2, 3), np.float32))
        [[[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]]
    """
    batch: Array = hidden[None]
    # A copy, so that keeping one row does not keep the whole batch in memory.
    return batch.copy() if return_tensors else batch.tolist()


class Pipeline:
    """Extracts features as `transformers.pipeline("feature-extraction")` and `"image-feature-extraction"` do."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def __call__(
        self,
        inputs: Any,
        *,
        adapter: Choice | Sequence[Choice] = None,
        return_tensors: bool | Literal["np"] = False,
        truncation: bool = True,
        batch_size: int = BATCH_SIZE,
    ) -> Any:
        """Returns the hidden states of each row, each as lists `[1][sequence][hidden]` or as one array.

        Args:
            inputs: A text or a list of texts; for a base of images, paths, PIL images or uint8 arrays.
            adapter: One adapter for all, or a list with one for each row; None is the base.
            return_tensors: True or `"np"` for float32 arrays `(1, sequence, hidden)`.
            truncation: Whether a text that is too long is cut or refused.
            batch_size: Rows computed at a time, in their order. No row's result contains padding.

        Raises:
            InputError: An input is neither text nor image, or too long; the adapters are not one for each row.
        """
        items, as_list = as_rows(inputs)
        adapters = choices(adapter, len(items))
        rows: Iterable[Row]
        if self._runner.takes_images:
            rows = self._runner.pixels(items)
        else:
            rows = self._runner.tokens(check_texts(items), truncation)
        results = [
            postprocess(output["last_hidden_state"], return_tensors)
            for output in self._runner.run(rows, adapters, batch_size)
        ]
        return results if as_list else results[0]

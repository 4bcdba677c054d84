"""The cache of a generation: keys and values of all tokens so far, in the order that the model wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import onnxruntime as ort

from edgeadapt.bundle import KEPT, PAST, PRESENT

if TYPE_CHECKING:
    from edgeadapt.runtime.decoder import Decoder, Run, Values
    from edgeadapt.runtime.filling import Array


class Cache(Protocol):
    """What a generation needs of a cache."""

    def reserve(self, length: int) -> None:
        """Makes room for rows of so many tokens."""
        ...

    def feed(self, run: Run, ids: Array, mask: Array) -> Array:
        """Runs tokens `(batch, n)`, whose last column is there, and returns the logits after it."""
        ...


def cache(model: Decoder, batch: int) -> Cache:
    """Returns an empty cache for so many rows."""
    return Shared(model, batch) if model.cache == "shared" else Grown(model, batch)


class Grown:
    """Padding has places in it, under a mask: rows end together, and a row's last tokens lie side by side."""

    def __init__(self, model: Decoder, batch: int) -> None:
        self._model = model
        self._mask = np.zeros((batch, 0), np.int64)
        self._values: dict[str, ort.OrtValue] = {
            name: _value(np.zeros((batch, heads, 0, width), np.float32))
            for name, (heads, width) in model.layers.items()
        }

    def reserve(self, length: int) -> None:
        """Does nothing: every run makes a longer cache."""

    def feed(self, run: Run, ids: Array, mask: Array) -> Array:
        """See `Cache`; a row without a token in a column has a place there that nothing sees."""
        self._mask = np.concatenate([self._mask, mask], axis=1)
        positions = np.maximum(np.cumsum(self._mask, axis=1) - 1, 0)[:, -ids.shape[1] :]
        last = np.full((len(ids), 1), ids.shape[1] - 1, np.int64)
        outputs = run({**_feeds(self._model, ids, self._mask, positions, last), **self._values})
        self._values = {name: outputs[name.replace(PAST, PRESENT)] for name in self._model.layers}
        logits: Array = outputs["logits"].numpy()[:, -1]
        return logits


class Shared:
    """Every row lies at its start, and the model writes behind it where it lies: no copy, and no padding.

    ONNX Runtime's `GroupQueryAttention` takes several tokens a row at once only into an empty cache, or for one row;
    otherwise they are run one by one. A row without a token in a column runs its last token once more, which writes
    what is there already.
    """

    def __init__(self, model: Decoder, batch: int) -> None:
        self._model = model
        self._lengths = np.zeros(batch, np.int64)
        self._last = np.zeros(batch, np.int64)
        self._capacity = 0
        self._values: dict[str, ort.OrtValue] = {}

    def reserve(self, length: int) -> None:
        """Makes room for rows of so many tokens; what is in the cache is moved where there was less."""
        if length <= self._capacity:
            return
        grown = {}
        for name, (heads, width) in self._model.layers.items():
            array = np.zeros((len(self._lengths), heads, length, width), np.float32)
            if self._capacity:
                array[:, :, : self._capacity] = self._values[name].numpy()
            grown[name] = _value(array)
        self._values, self._capacity = grown, length

    def feed(self, run: Run, ids: Array, mask: Array) -> Array:
        """See `Cache`."""
        if not self._lengths.any() or len(ids) == 1:
            counts = mask.sum(axis=1)
            packed = np.zeros((len(ids), int(counts.max())), np.int64)
            for row, count in enumerate(counts):
                packed[row, :count] = ids[row, mask[row] == 1]
            return self._step(run, packed, counts)
        for column, there in zip(ids.T, mask.T, strict=True):
            logits = self._step(run, np.where(there == 1, column, self._last)[:, None], there)
        return logits

    def _step(self, run: Run, ids: Array, counts: Array) -> Array:
        """Runs `counts` tokens of each row, `(batch, n)` with padding on the right."""
        lengths = self._lengths + counts
        longest = int(lengths.max())
        if longest > self._capacity:
            self.reserve(max(longest, 2 * self._capacity))
        mask = (np.arange(longest)[None] < lengths[:, None]).astype(np.int64)
        first = lengths - np.maximum(counts, 1)
        positions = np.minimum(first[:, None] + np.arange(ids.shape[1])[None], np.maximum(lengths - 1, 0)[:, None])
        last = np.maximum(counts, 1)[:, None] - 1
        into = {name.replace(PAST, PRESENT): value for name, value in self._values.items()}
        outputs = run({**_feeds(self._model, ids, mask, positions, last), **self._values}, into)
        self._lengths = lengths
        self._last = ids[np.arange(len(ids)), last[:, 0]]
        logits: Array = outputs["logits"].numpy()[:, -1]
        return logits


def _feeds(model: Decoder, ids: Array, mask: Array, positions: Array, last: Array) -> Values:
    given = {"input_ids": ids, "attention_mask": mask, "position_ids": positions, KEPT: last}
    return {name: _value(array) for name, array in given.items() if name in model.inputs}


def _value(array: Any) -> ort.OrtValue:
    return ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))

"""The cache of a generation: keys and values of all tokens so far, in the order that the model wants them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import onnxruntime as ort

from edgeadapt.bundle import KEPT, PAST, PRESENT
from edgeadapt.runtime.decoder import Place, virtual_tokens

if TYPE_CHECKING:
    from edgeadapt.runtime.decoder import Bound, Decoder, Initial, Run, Values
    from edgeadapt.runtime.filling import Array


class Cache(Protocol):
    """What a generation needs of a cache."""

    def reserve(self, length: int) -> None:
        """Makes room for rows of so many tokens, virtual ones included."""
        ...

    def feed(self, run: Run, ids: Array, mask: Array) -> Array:
        """Runs tokens `(batch, n)` and returns the logits after the last one of each row.

        The mask is 0 where a row has no token: on the left, or everywhere for a row whose logits mean nothing.
        """
        ...


def cache(model: Decoder, batch: int, initial: Sequence[Initial] = ()) -> Cache:
    """Returns a cache for so many rows; `initial` is what those hold before the first token, none where no row does."""
    begun = initial or [{}] * batch
    return Shared(model, begun) if model.cache == "shared" else Grown(model, begun)


class Grown:
    """Padding has places in it, under a mask. A row's tokens lie side by side: some models see how far apart they are.

    Where a row holds something, new tokens follow it at once, and its padding behind them; before the next ones, it is
    moved to the front of the row.
    """

    def __init__(self, model: Decoder, initial: Sequence[Initial]) -> None:
        self._model = model
        self._initial = initial
        lengths = np.array([virtual_tokens(each) for each in initial], np.int64)
        longest = int(lengths.max(initial=0))
        self._mask = (np.arange(longest)[None] >= longest - lengths[:, None]).astype(np.int64)
        self._values: dict[str, ort.OrtValue] = {}

    def reserve(self, length: int) -> None:
        """Does nothing: every run makes a longer cache."""

    def feed(self, run: Run, ids: Array, mask: Array) -> Array:
        """See `Cache`; a row without a token in a column has a place there that nothing sees."""
        if not self._values:
            self._values = {name: self._begun(name) for name in self._model.layers}
        last = np.full((len(ids), 1), ids.shape[1] - 1, np.int64)
        if self._mask.any():
            counts = mask.sum(axis=1)
            self._close(counts > 0)
            ids, mask = _packed(ids, mask, ids.shape[1])
            last = np.maximum(counts, 1)[:, None] - 1
        self._mask = np.concatenate([self._mask, mask], axis=1)
        positions = np.maximum(np.cumsum(self._mask, axis=1) - 1, 0)[:, -ids.shape[1] :]
        outputs = run({**_feeds(self._model, ids, self._mask, positions, last), **self._values})
        self._values = {name: outputs[name.replace(PAST, PRESENT)] for name in self._model.layers}
        logits: Array = outputs["logits"].numpy()[:, -1]
        return logits

    def _begun(self, name: str) -> ort.OrtValue:
        """Returns a layer's keys or values before the first token, `(batch, heads, longest, head_dim)`."""
        heads, width = self._model.layers[name]
        array = np.zeros((*self._mask.shape[:1], heads, self._mask.shape[1], width), self._model.dtype)
        for row, each in enumerate(self._initial):
            if each:
                array[row, :, array.shape[2] - virtual_tokens(each) :] = each[name][0]
        return _value(array)

    def _close(self, going: Array) -> None:
        """Moves the padding behind the tokens of rows that go on to their front."""
        behind = np.argmax(self._mask[:, ::-1], axis=1) * going
        if not behind.any():
            return
        places = (np.arange(self._mask.shape[1])[None] - behind[:, None]) % self._mask.shape[1]
        self._mask = np.take_along_axis(self._mask, places, axis=1)
        self._values = {
            name: _value(np.take_along_axis(value.numpy(), places[:, None, :, None], axis=2))
            for name, value in self._values.items()
        }


class Shared:
    """Every row lies at its start, and the model writes behind it where it lies: no copy, and no padding.

    ONNX Runtime's `GroupQueryAttention` takes several tokens a row at once only into an empty cache, or for one row;
    otherwise they are run one by one. A row that has no more tokens runs its last one again, which writes what is there
    already.

    Attributes:
        last: The last token of each row, `(batch,)`.
    """

    def __init__(self, model: Decoder, initial: Sequence[Initial]) -> None:
        self._model = model
        self._initial = initial
        self._lengths = np.array([virtual_tokens(each) for each in initial], np.int64)
        self.last = np.zeros(len(initial), np.int64)
        self._capacity = 0
        self._place = Place({}, {})
        self._logits: Array | None = None

    def reserve(self, length: int) -> None:
        """Makes room for rows of so many tokens; what is in the cache is moved where there was less."""
        length = max(length, int(self._lengths.max(initial=0)))
        if length <= self._capacity:
            return
        values = {}
        for name, (heads, width) in self._model.layers.items():
            array = np.zeros((len(self._lengths), heads, length, width), self._model.dtype)
            if self._capacity:
                array[:, :, : self._capacity] = self._place.inputs[name].numpy()
            else:
                for row, each in enumerate(self._initial):
                    if each:
                        array[row, :, : each[name].shape[2]] = each[name][0]
            values[name] = self._model.device.value(array)
        outputs = {name.replace(PAST, PRESENT): value for name, value in values.items()}
        if self._model.logits is not None:
            count, dtype = self._model.logits
            self._logits = np.empty((len(self._lengths), 1, count), dtype)
            outputs["logits"] = _value(self._logits)
        self._place, self._capacity = Place(values, outputs), length

    def held(self) -> Initial:
        """Returns what a cache of one row holds, `(1, heads, n, head_dim)` by name."""
        length = int(self._lengths[0])
        # Copies: what `numpy` gives is gone with the value.
        return {name: value.numpy()[:, :, :length].copy() for name, value in self._place.inputs.items()}

    def feed(self, run: Run, ids: Array, mask: Array) -> Array:
        """See `Cache`."""
        counts = mask.sum(axis=1)
        packed, there = (ids, mask) if mask.all() else _packed(ids, mask, max(int(counts.max()), 1))
        if not self._lengths.any() or len(ids) == 1:
            return self._step(run, packed, counts)
        for column, own in zip(packed.T, there.T, strict=True):
            logits = self._step(run, np.where(own == 1, column, self.last)[:, None], own)
        return logits

    def _step(self, run: Run, ids: Array, counts: Array) -> Array:
        """Runs `counts` tokens of each row, `(batch, n)` with padding on the right."""
        lengths = self._lengths + counts
        longest = int(lengths.max())
        if longest > self._capacity:
            self.reserve(max(longest, 2 * self._capacity))
        mask = np.ones((len(ids), longest), np.int64)
        if len(ids) > 1:
            mask *= np.arange(longest)[None] < lengths[:, None]
        positions = np.maximum(lengths - 1, 0)[:, None]  # of the last token
        last = np.maximum(counts, 1)[:, None] - 1
        if ids.shape[1] > 1:
            positions = np.minimum((positions - last) + np.arange(ids.shape[1])[None], positions)
        outputs = run(_feeds(self._model, ids, mask, positions, last), self._place)
        self._lengths = lengths
        self.last = ids[:, 0] if ids.shape[1] == 1 else ids[np.arange(len(ids)), last[:, 0]]
        # Copies: the next run writes where this one wrote, and what `numpy` gives is gone with its value.
        written: Array = outputs["logits"].numpy() if self._logits is None else self._logits
        logits: Array = written[:, -1].copy()
        return logits


def row_by_row(model: Decoder, rows: Sequence[Bound], ids: Array, mask: Array) -> tuple[Cache, Array]:
    """Returns a cache with the first tokens `(batch, n)`, each row run alone, and the logits after the last ones.

    Args:
        model: One whose cache is shared.
        rows: For each row its own adapter, bound for one row.
        ids: Tokens.
        mask: 0 where a row has no token.
    """
    alone = [Shared(model, bound.initial or [{}]) for bound in rows]
    logits = []
    for each, bound, own, there in zip(alone, rows, ids, mask == 1, strict=True):
        tokens = own[there][None]
        logits.append(each.feed(bound.run, tokens, np.ones_like(tokens)))
    joined = Shared(model, [each.held() for each in alone])
    joined.last = np.concatenate([each.last for each in alone])
    return joined, np.concatenate(logits)


def _packed(ids: Array, mask: Array, width: int) -> tuple[Array, Array]:
    """Returns the tokens that are there at the start of each row, `(batch, width)`, and a mask that says so."""
    packed = np.zeros((len(ids), width), np.int64)
    counts = mask.sum(axis=1)
    for row, count in enumerate(counts):
        packed[row, :count] = ids[row, mask[row] == 1]
    return packed, (np.arange(width)[None] < counts[:, None]).astype(np.int64)


def _feeds(model: Decoder, ids: Array, mask: Array, positions: Array, last: Array) -> Values:
    given = {"input_ids": ids, "attention_mask": mask, "position_ids": positions, KEPT: last}
    return {name: _value(array) for name, array in given.items() if name in model.inputs}


def _value(array: Any) -> ort.OrtValue:
    return ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))

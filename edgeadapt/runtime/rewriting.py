"""An encoder with its decoder at work: what is read is read once, then the answer is written token by token."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import onnxruntime as ort

from edgeadapt.bundle import CROSS, ENCODED, PAST, PRESENT
from edgeadapt.errors import InputError, UnsupportedError
from edgeadapt.runtime.decoder import Place
from edgeadapt.runtime.prompts import ENDED
from edgeadapt.runtime.rules import ruled
from edgeadapt.runtime.sources import sounds, sources

if TYPE_CHECKING:
    from edgeadapt.bundle import Manifest, RulesRecord
    from edgeadapt.runtime.decoder import Decoder, Run
    from edgeadapt.runtime.filling import Array
    from edgeadapt.runtime.generation import Limits
    from edgeadapt.runtime.sampling import Sampler

MASK, SEEN_MASK = "attention_mask", "encoder_attention_mask"
"""The mask of what the encoder reads, and the same as the decoder takes it."""


class Halves(NamedTuple):
    """What runs an encoder and its decoder with the same adapters."""

    encode: Run
    decode: Run


class Prepared(NamedTuple):
    """What is to be rewritten: the encoder's inputs, what every row begins with `(batch, n)`, and the rules."""

    read: Mapping[str, Array]
    begun: Array
    rules: RulesRecord


def prepared(manifest: Manifest, given: Any, mask: Array | None, begun: Any, max_new_tokens: int) -> Prepared:
    """Returns what `Session.stream` was given, checked and in order, for a bundle with an encoder.

    Raises:
        InputError: It doesn't fit the model; all reasons.
        UnsupportedError: The bundle has no encoder.
    """
    from edgeadapt.bundle import EncoderDecoderRecord

    record = manifest.generation
    if not isinstance(record, EncoderDecoderRecord):
        raise UnsupportedError(f"A bundle for {manifest.task} has no encoder.")
    start = np.asarray(record.start_ids if begun is None else begun)
    if record.speech is not None:
        read = sounds(given, mask, start.shape[-1] if start.ndim else 0, max_new_tokens, record)
        return Prepared(read, beginnings(start, len(given)), record.rules)
    read = sources(given, mask, start.shape[-1] if start.ndim else 0, max_new_tokens, record)
    return Prepared(read, beginnings(start, len(next(iter(read.values())))), record.rules)


class Rewriting:
    """Rows that have been read, and answers to them that grow, all equally long; with the adapters they were read with.

    One thread at a time.
    """

    def __init__(self, halves: Halves, model: Decoder, read: Mapping[str, Array]) -> None:
        """Takes what is to be read; the encoder runs with the first tokens of the decoder.

        Args:
            halves: What runs the models.
            model: What is known of the decoder.
            read: The encoder's inputs.
        """
        self._halves = halves
        self._model = model
        self._batch = len(next(iter(read.values())))
        self._count = 0
        self._read = read
        self._seen: Place | None = None
        self._cache = {
            name: _value(np.zeros((self._batch, heads, 0, width), model.dtype))
            for name, (heads, width) in model.layers.items()
        }

    def feed(self, ids: Array) -> Array:
        """Runs the decoder on further tokens, `(batch, n)` int64, and returns their logits, `(batch, n, vocabulary)`.

        Raises:
            InputError: The shape doesn't fit, or there are more tokens than the decoder has positions.
        """
        if ids.ndim != 2 or len(ids) != self._batch or ids.shape[1] == 0:
            raise InputError(f"Tokens to go on with: got {ids.shape}, expected ({self._batch}, n) with n of 1 or more.")
        count, positions = self._count + ids.shape[1], self._model.positions
        if positions is not None and count > positions:
            raise InputError(f"A row would have {count} tokens, and the decoder has {positions} positions.")
        if self._seen is None:
            self._seen = Place(self._encoded(), {})
        outputs = self._halves.decode({"decoder_input_ids": _value(ids), **self._cache}, self._seen)
        self._cache = {name: outputs[name.replace(PAST, PRESENT)] for name in self._cache}
        self._count = count
        logits: Array = outputs["logits"].numpy()
        return logits

    def _encoded(self) -> dict[str, ort.OrtValue]:
        """Returns what the decoder takes of the encoder, and the mask of it."""
        given = {name: _value(array) for name, array in self._read.items()}
        seen = {name.replace(ENCODED, CROSS): value for name, value in self._halves.encode(given).items()}
        return seen | ({SEEN_MASK: given[MASK]} if SEEN_MASK in self._model.inputs else {})


def stream(rewriting: Rewriting, begun: Array, sampler: Sampler, limits: Limits, rules: RulesRecord) -> Iterator[Array]:
    """Yields the next token of every row, `(batch,)` int64, until all rows have ended; `ENDED` for those that have.

    Args:
        rewriting: Rows that have been read.
        begun: What the decoder begins with, `(batch, n)` int64.
        sampler: What chooses tokens.
        limits: When rows end.
        rules: What every next token is held to.
    """
    seen = [list(row) for row in begun.tolist()]
    start = begun.shape[1]
    over = [False] * len(seen)
    ids = begun
    for count in range(1, limits.max_new_tokens + 1):
        logits = rewriting.feed(ids)[:, -1]
        held = [
            line if over[row] else ruled(line, seen[row], start, count == limits.max_new_tokens, limits.eos_ids, rules)
            for row, line in enumerate(logits)
        ]
        tokens = sampler.choose(np.stack(held), [np.array(row, np.int64) for row in seen])
        for row, token in enumerate(tokens):
            if over[row]:
                tokens[row] = ENDED
                continue
            seen[row].append(int(token))
            over[row] = limits.ended(seen[row][start:])
        yield tokens
        if all(over):
            return
        ids = np.maximum(tokens, 0)[:, None]  # a row that has ended is fed any token


def replay(rewriting: Rewriting, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Returns the logits of a parity case, `(batch, n, vocabulary)`: of some tokens at once, then one by one.

    Args:
        rewriting: Rows that have been read.
        inputs: `decoder_input_ids` `(batch, n)`.
    """
    ids = inputs["decoder_input_ids"]
    first = ids.shape[1] // 2
    logits = [rewriting.feed(ids[:, :first])]
    logits += [rewriting.feed(ids[:, place : place + 1]) for place in range(first, ids.shape[1])]
    return {"logits": np.concatenate(logits, axis=1)}


def beginnings(given: Sequence[int] | Array, batch: int) -> Array:
    """Returns what the decoder of every row begins with, `(batch, n)` int64: the same for all, or a row each.

    Raises:
        InputError: They are no tokens, or not as many rows.
    """
    begun = np.asarray(given)
    if begun.dtype.kind not in "iu" or begun.ndim not in (1, 2) or begun.size == 0 or begun.min() < 0:
        raise InputError(
            "decoder_input_ids: expected tokens, the same for all rows or equally many for each: "
            f"got {begun.dtype} {begun.shape}."
        )
    if begun.ndim == 2 and len(begun) != batch:
        raise InputError(f"decoder_input_ids: got {len(begun)} rows for {batch} inputs.")
    return np.ascontiguousarray(np.broadcast_to(begun, (batch, begun.shape[-1])), np.int64)


def _value(array: Array) -> ort.OrtValue:
    return ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))

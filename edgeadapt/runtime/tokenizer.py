"""Texts to tokens and tokens to a model's inputs, with the tokenizers library and the bundle's `tokenizer.json`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from edgeadapt.errors import BundleError, ConfigError, InputError, UnsupportedError
from edgeadapt.tasks import Text, Tokens

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

    from edgeadapt.bundle import TokenizerRecord
    from edgeadapt.tasks import Array

Shorten: TypeAlias = Literal["longest_first", "only_first", "only_second"]


class TextTokenizer:
    """A bundle's tokenizer; any number of threads can share one.

    Args:
        file: The `tokenizer.json`.
        record: What the manifest says of it.

    Raises:
        UnsupportedError: The tokenizers package is not installed.
        BundleError: The file can't be read.
    """

    def __init__(self, file: Path, record: TokenizerRecord) -> None:
        self._file = file
        self._record = record
        self._plain = _read(file)
        # How a tokenizer truncates is its state, so there is one for each way, made once and never changed.
        self._truncating: dict[tuple[int, int, Shorten], Tokenizer] = {}

    def tokens(self, texts: Sequence[Text], truncation: bool = True) -> list[Tokens]:
        """Returns the tokens of texts or pairs, with special tokens and without padding.

        Args:
            texts: The texts.
            truncation: Whether to cut at the record's `max_length`, the longer of a pair first, or to refuse.

        Raises:
            InputError: A text is longer than the model takes, and `truncation` is off.
        """
        limit = self._record.max_length
        tokenizer = self._truncated(limit, 0, "longest_first") if truncation else self._plain
        rows = [_tokens(encoding) for encoding in tokenizer.encode_batch(list(texts))]
        long = [f"input {index}: {len(row)} tokens" for index, row in enumerate(rows) if len(row) > limit]
        if long:
            raise InputError.collect(
                f"The model takes at most {limit} tokens:",
                long,
                "Shorten the texts, or pass truncation=True to cut them.",
            )
        return rows

    def windows(self, text: Text, max_length: int, stride: int, shorten: Shorten) -> list[Tokens]:
        """Returns a text or pair as windows, each with special tokens; one that fits is one window.

        Args:
            text: The text; of a pair one half is whole in every window and the other is parted.
            max_length: Tokens of a window, special ones included.
            stride: Tokens that a window shares with the one before.
            shorten: Which half is parted: `"only_first"` or `"only_second"`; `"longest_first"` for a single text.

        Raises:
            ConfigError: The windows are longer than the model takes, or `stride` leaves no room to go on.
            InputError: The half that stays whole leaves no room for the other.
        """
        if not 0 < max_length <= self._record.max_length:
            raise ConfigError(f"Windows of {max_length} tokens: the model takes 1 to {self._record.max_length}.")
        whole = _tokens(self._encode(self._plain, text))
        if len(whole) <= max_length:
            return [whole]
        parted = 1 if shorten == "only_second" else 0
        kept = sum(sequence != parted for sequence in whole.sequences)
        if kept >= max_length:
            raise InputError(
                f"The question and special tokens are {kept} tokens, and a window takes {max_length}.\n"
                "Shorten the question, or take longer windows."
            )
        if not 0 <= stride < max_length - kept:
            raise ConfigError(
                f"An overlap of {stride} tokens: a window has room for {max_length - kept} tokens of the text, "
                "and needs at least one new one.\nTake a smaller overlap or longer windows."
            )
        first = self._encode(self._truncated(max_length, stride, shorten), text)
        return [_tokens(encoding) for encoding in (first, *first.overflowing)]

    def batch(self, rows: Sequence[Tokens], names: Iterable[str]) -> dict[str, Array]:
        """Returns the named inputs of a model for several rows, int64 `(rows, longest)`, padded.

        Raises:
            BundleError: The model takes an input that no tokenizer gives.

        Example:
            >>> tokenizer.batch(tokenizer.tokens(["one", "one two"]), ["attention_mask"])  # doctest: +SKIP
            {'attention_mask': array([[1, 1, 1, 0],
                   [1, 1, 1, 1]])}
        """
        inputs: dict[str, Array] = {}
        for name in names:
            if name == "input_ids":
                inputs[name] = self._padded([row.ids for row in rows], self._record.pad_id)
            elif name == "attention_mask":
                inputs[name] = self._padded([np.ones(len(row), np.int64) for row in rows], 0)
            elif name == "token_type_ids":
                inputs[name] = self._padded([row.type_ids for row in rows], self._record.pad_type_id)
            else:
                raise BundleError(
                    f"The model takes the input {name!r}, which no tokenizer gives.\n"
                    "Run it with edgeadapt.load(...).run(...) and arrays of your own."
                )
        return inputs

    def _padded(self, rows: Sequence[Array], fill: int) -> Array:
        padded = np.full((len(rows), max(map(len, rows))), fill, np.int64)
        for index, row in enumerate(rows):
            padded[index, slice(-len(row), None) if self.padding_side == "left" else slice(len(row))] = row
        return padded

    def _truncated(self, max_length: int, stride: int, shorten: Shorten) -> Tokenizer:
        key = (max_length, stride, shorten)
        if key not in self._truncating:
            tokenizer = _read(self._file)
            tokenizer.enable_truncation(max_length, stride=stride, strategy=shorten)
            self._truncating[key] = tokenizer
        return self._truncating[key]

    @staticmethod
    def _encode(tokenizer: Tokenizer, text: Text) -> Encoding:
        return tokenizer.encode(text) if isinstance(text, str) else tokenizer.encode(*text)

    @property
    def max_length(self) -> int:
        """Tokens the model takes in one row, special ones included."""
        return self._record.max_length

    @property
    def padding_side(self) -> Literal["right", "left"]:
        """The side rows are padded on."""
        return self._record.padding_side

    @property
    def pad_id(self) -> int:
        """The token rows are padded with."""
        return self._record.pad_id

    @property
    def mask_token(self) -> str | None:
        """The token that stands for a hidden word."""
        return self._record.mask_token

    @property
    def subword_prefix(self) -> str | None:
        """What a token that continues a word starts with (`##`), or None where tokens don't tell."""
        return getattr(self._plain.model, "continuing_subword_prefix", None)

    @cached_property
    def unknown_id(self) -> int | None:
        """The token for what the vocabulary lacks, or None where it lacks nothing."""
        unknown = getattr(self._plain.model, "unk_token", None)
        if unknown is not None:
            return self.id(unknown)
        # Only the file says which token it is in a Unigram model, whose Python object doesn't.
        number = json.loads(self._file.read_text("utf-8"))["model"].get("unk_id")
        return None if number is None else int(number)

    @cached_property
    def cls_id(self) -> int | None:
        """The token that stands for the whole input: the first, where special tokens come before and after a text.

        A token before the text alone is one that only begins it (`<s>` of Llama), and none that a head reads.
        """
        row = self.tokens(["a"])[0]
        return int(row.ids[0]) if row.special[0] and row.special[-1] else None

    def id(self, token: str) -> int | None:
        """Returns the id of a token, or None where the vocabulary lacks it."""
        return self._plain.token_to_id(token)

    def token(self, token_id: int) -> str:
        """Returns the token with this id, as the vocabulary writes it (`##ing`)."""
        return str(self._plain.id_to_token(token_id))

    def join(self, tokens: Sequence[str]) -> str:
        """Returns the text that tokens spell (`convert_tokens_to_string` of transformers)."""
        decoder = self._plain.decoder
        return " ".join(tokens) if decoder is None else str(decoder.decode(list(tokens)))

    def decode(self, ids: Sequence[int], skip_special: bool) -> str:
        """Returns the text that token ids spell, with or without special tokens."""
        return str(self._plain.decode(list(ids), skip_special_tokens=skip_special))

    def first_id(self, text: str) -> int | None:
        """Returns the first token of a text, without special ones, or None where it has none."""
        ids = self._plain.encode(text, add_special_tokens=False).ids
        return ids[0] if ids else None

    def prompt(self, text: str, special: bool) -> list[int]:
        """Returns all tokens of a text, with or without the special ones that the tokenizer adds."""
        return list(self._plain.encode(text, add_special_tokens=special).ids)


def _read(file: Path) -> Tokenizer:
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise UnsupportedError(
            'A pipeline of texts needs the package tokenizers.\nInstall it: pip install "edgeadapt[pipeline]"'
        ) from error
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises nothing narrower
        raise BundleError(f"{file} can't be read as a tokenizer: {error}\nExport the bundle again.") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _tokens(encoding: Any) -> Tokens:
    return Tokens(
        ids=np.array(encoding.ids, np.int64),
        type_ids=np.array(encoding.type_ids, np.int64),
        offsets=tuple(encoding.offsets),
        special=tuple(bool(flag) for flag in encoding.special_tokens_mask),
        words=tuple(encoding.word_ids),
        sequences=tuple(encoding.sequence_ids),
    )

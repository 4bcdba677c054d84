"""What a task's pipeline works with: the tokens of a text, the vocabulary, and the runner that computes outputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, Protocol, TypeAlias

from numpy.typing import NDArray

from edgeadapt.errors import InputError

Array: TypeAlias = NDArray[Any]
Text: TypeAlias = str | tuple[str, str]
"""One row of text: a text, or a pair whose halves the tokenizer joins."""
Choice: TypeAlias = str | Mapping[str, float] | None
"""What one row runs with: an adapter's name, a blend `{name: weight}`, or None for the base."""
ProblemType: TypeAlias = Literal["regression", "single_label_classification", "multi_label_classification"]
"""What a head was trained to answer, as transformers' `config.problem_type` names it."""

BATCH_SIZE = 8
"""Rows a run unless the caller says otherwise: enough to keep two cores busy, small enough for a phone's memory."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """A tokenized text, special tokens included, without padding.

    Attributes:
        ids: `(length,)` int64.
        type_ids: `(length,)` int64: 0 for the first text of a pair, 1 for the second, as the tokenizer has it.
        offsets: Where each token starts and ends in its text, in characters; `(0, 0)` for special tokens.
        special: Whether the tokenizer added the token itself (`[CLS]`, `[SEP]`).
        words: The number of the word each token belongs to; None for special tokens.
        sequences: 0 or 1, the text of the pair each token is from; None for special tokens.
    """

    ids: Array
    type_ids: Array
    offsets: tuple[tuple[int, int], ...]
    special: tuple[bool, ...]
    words: tuple[int | None, ...]
    sequences: tuple[int | None, ...]

    def __len__(self) -> int:
        return len(self.offsets)


@dataclass(frozen=True, slots=True)
class Writing:
    """How a text is gone on with.

    Attributes:
        max_new_tokens: It ends after so many.
        temperature: 0 takes the likeliest token each time; more than 0 draws, by `logits / temperature`.
        top_k: Draws from so many of the likeliest tokens.
        top_p: Draws from the likeliest tokens that have this probability together.
        repetition_penalty: Over 1 makes tokens less likely that the text has already.
        seed: Makes draws the same every time.
    """

    max_new_tokens: int
    temperature: float
    top_k: int | None
    top_p: float | None
    repetition_penalty: float
    seed: int | None


Row: TypeAlias = Tokens | Array
"""One row of a run: a tokenized text, or pixels `(channels, height, width)`."""


class Vocabulary(Protocol):
    """What pipelines ask about tokens."""

    @property
    def subword_prefix(self) -> str | None:
        """What a token that continues a word starts with (`##`), or None where tokens don't tell."""
        ...

    @property
    def pad_id(self) -> int:
        """The token rows are padded with."""
        ...

    @property
    def mask_token(self) -> str | None:
        """The token that stands for a hidden word, as it is written in a text."""
        ...

    @property
    def unknown_id(self) -> int | None:
        """The token for what the vocabulary lacks, or None where it lacks nothing."""
        ...

    @property
    def cls_id(self) -> int | None:
        """The token that stands for the whole input (`[CLS]`, `<s>`), or None."""
        ...

    @property
    def padding_side(self) -> Literal["right", "left"]:
        """The side rows are padded on."""
        ...

    def id(self, token: str) -> int | None:
        """Returns the id of a token, or None where the vocabulary lacks it."""
        ...

    def token(self, token_id: int) -> str:
        """Returns the token with this id, as the vocabulary writes it (`##ing`)."""
        ...

    def join(self, tokens: Sequence[str]) -> str:
        """Returns the text that a run of tokens spells."""
        ...

    def decode(self, ids: Sequence[int], skip_special: bool) -> str:
        """Returns the text that token ids spell, with or without special tokens."""
        ...

    def first_id(self, text: str) -> int | None:
        """Returns the first token of a text, without special ones, or None where it has none."""
        ...

    def prompt(self, text: str, special: bool) -> list[int]:
        """Returns all tokens of a text, with or without the special ones that the tokenizer adds."""
        ...


class Runner(Protocol):
    """A bundle that is ready to run, as a task's pipeline sees it."""

    @property
    def takes_images(self) -> bool:
        """Whether rows are images."""
        ...

    @property
    def vocabulary(self) -> Vocabulary:
        """The bundle's tokens."""
        ...

    @property
    def max_length(self) -> int:
        """Tokens the model takes in one row, special ones included."""
        ...

    def tokens(self, texts: Sequence[Text], truncation: bool) -> list[Tokens]:
        """Returns the tokens of texts, cut at `max_length` or refused where they are longer."""
        ...

    def windows(
        self, text: Text, max_length: int, stride: int, shorten: Literal["longest_first", "only_first", "only_second"]
    ) -> list[Tokens]:
        """Returns a text as windows of at most `max_length` tokens, of which `stride` overlap with the one before."""
        ...

    def pixels(self, images: Iterable[Any]) -> Iterator[Array]:
        """Yields each image as float32 `(channels, height, width)`."""
        ...

    def run(self, rows: Iterable[Row], adapters: Sequence[Choice], batch_size: int) -> Iterator[dict[str, Array]]:
        """Yields the task's outputs of each row, without the batch axis, cut to the row's own length and labels."""
        ...

    def chat(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """Returns the prompt that the base's chat template makes of a conversation."""
        ...

    def check_prompts(self, prompts: Sequence[Sequence[int]], adapters: Sequence[Choice], writing: Writing) -> None:
        """Refuses, before anything is run, what can't be gone on with."""
        ...

    def stream(
        self,
        prompts: Sequence[Any],
        adapters: Sequence[Choice],
        writing: Writing,
        begun: Sequence[Sequence[int]] | None = None,
    ) -> Iterator[Array]:
        """Yields the next token of every row, `(rows,)` int64, until all have ended; -1 for those that have.

        Prompts are tokens or what `hear` returned; `begun` is what a decoder after an encoder begins with.
        """
        ...

    @property
    def positions(self) -> int:
        """How many tokens the decoder takes."""
        ...

    @property
    def first_time(self) -> int:
        """The first of the tokens that are times, behind all others."""
        ...

    def hear(self, sounds: Sequence[Any]) -> list[Array]:
        """Returns each sound as the encoder takes it, float32 `(mels, frames)`."""
        ...

    def check_speech(self, language: str | None, task: str | None) -> None:
        """Refuses a language or a task that the base doesn't know."""
        ...

    def begin_speech(
        self, heard: Sequence[Array], adapters: Sequence[Choice], language: str | None, task: str | None
    ) -> list[list[int]]:
        """Returns what the decoder begins with for each sound; where no language is given, the one that is heard."""
        ...

    def labels(self, adapter: Choice) -> tuple[str, ...]:
        """Returns the labels of an adapter's head, or of the base's."""
        ...

    def problem_type(self, adapter: Choice) -> ProblemType | None:
        """Returns what an adapter's head, or the base's, was trained to answer; None where nobody said."""
        ...


def as_rows(inputs: Any) -> tuple[list[Any], bool]:
    """Returns the rows of a call and whether they came as a list; anything but a list or tuple is one row.

    Example:
        >>> as_rows("one"), as_rows(["one", "two"])
        ((['one'], False), (['one', 'two'], True))
    """
    if isinstance(inputs, (list, tuple)):
        return list(inputs), True
    return [inputs], False


def choices(adapter: Choice | Sequence[Choice], count: int) -> list[Choice]:
    """Returns the adapter of each of `count` rows: one for all, or a list with one for each.

    Raises:
        InputError: The list is longer or shorter than the rows.

    Example:
        >>> choices("spam", 2), choices(["spam", None], 2)
        (['spam', 'spam'], ['spam', None])
    """
    if isinstance(adapter, (list, tuple)):
        if len(adapter) != count:
            raise InputError(
                f"Got {len(adapter)} adapters for {count} inputs.\n"
                "Give one adapter for all inputs, or a list with one for each."
            )
        return list(adapter)
    return [adapter] * count  # type: ignore[list-item]  # a str is a Sequence too, to a type checker


def in_windows(
    runner: Runner, windows: Sequence[Sequence[Tokens]], adapters: Sequence[Choice], batch_size: int
) -> Iterator[list[tuple[Tokens, dict[str, Array]]]]:
    """Yields the windows of each input with the task's outputs of each; all of an input run with its adapter."""
    flat = [window for each in windows for window in each]
    names = [name for each, name in zip(windows, adapters, strict=True) for _ in each]
    outputs = runner.run(flat, names, batch_size)
    for each in windows:
        yield list(zip(each, islice(outputs, len(each)), strict=True))


def check_texts(texts: Sequence[Any]) -> list[str]:
    """Returns the texts if that is what they are.

    Raises:
        InputError: One of them is no str.
    """
    wrong = [
        f"input {index}: got {type(text).__name__}" for index, text in enumerate(texts) if not isinstance(text, str)
    ]
    if wrong:
        raise InputError.collect("Every input has to be a text (str):", wrong)
    return list(texts)

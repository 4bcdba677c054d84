"""The front door for texts and images: a bundle as the callable that `transformers.pipeline` gives for its task."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from edgeadapt import tasks
from edgeadapt.errors import BundleError, ConfigError, UnsupportedError
from edgeadapt.runtime.chat import ChatTemplate
from edgeadapt.runtime.images import open_image, pixel_values
from edgeadapt.runtime.sharing import looks_at_padding
from edgeadapt.runtime.speech import heard, known
from edgeadapt.runtime.tokenizer import TextTokenizer
from edgeadapt.tasks import Choice, Row, Text, Tokens, Writing

if TYPE_CHECKING:
    from edgeadapt.bundle import Manifest, ProblemType, SpeechRecord
    from edgeadapt.runtime.provider import ProviderName
    from edgeadapt.runtime.rewriting import Rewriting
    from edgeadapt.runtime.tokenizer import Shorten
    from edgeadapt.tasks import Array


NO_LIMIT = 1 << 15
"""How many tokens are written at most where a decoder knows no limit."""


class RunnableBundle(Protocol):
    """What a pipeline uses of a `Session`."""

    @property
    def path(self) -> Path:
        """The bundle's folder."""
        ...

    @property
    def manifest(self) -> Manifest:
        """Its `edgeadapt.json`."""
        ...

    def run(self, inputs: Mapping[str, Array], adapter: Choice | Sequence[Choice] = None) -> Mapping[str, Any]:
        """Returns the outputs, each an array with a batch axis or a list with an array for each row."""
        ...

    def stream(
        self,
        input_ids: Any,
        *,
        adapter: Choice | Sequence[Choice] = None,
        max_new_tokens: int = 20,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        repetition_penalty: float = 1.0,
        seed: int | None = None,
        decoder_input_ids: Any = None,
    ) -> Iterator[Array]:
        """Yields the next token of every row, `(batch,)` int64, -1 for rows that have ended; refuses at once."""
        ...

    def read(self, inputs: Mapping[str, Array], adapter: Choice | Sequence[Choice] = None) -> Rewriting:
        """Returns what an encoder has read, to be answered token by token."""
        ...

    def labels(self, adapter: Choice = None) -> tuple[str, ...]:
        """Returns the labels of an adapter's head, or of the base's."""
        ...

    def problem_type(self, adapter: Choice = None) -> ProblemType | None:
        """Returns what an adapter's head, or the base's, was trained to answer."""
        ...


def pipeline(bundle: str | os.PathLike[str] | RunnableBundle, provider: ProviderName = "cpu") -> Callable[..., Any]:
    """Returns a callable from texts or images to what `transformers.pipeline` returns for the bundle's task.

    The callable is the `Pipeline` of the task's file in `edgeadapt/tasks/`; `help()` of it lists the options. All take
    `adapter=`: one for all rows, a list with one for each, or None for the base.

    Args:
        bundle: The bundle's folder, or a `Session` that has it open.
        provider: Where a folder is run: `"cpu"`, `"cuda"` or `"auto"`. A session has chosen already.

    Raises:
        BundleError: The bundle can't be read, or holds no tokenizer or image settings for its task.
        UnsupportedError: The task has no pipeline, or the package that reads texts or images is not installed.

    Example:
        >>> classify = pipeline("bundle")  # doctest: +SKIP
        >>> classify(["win a phone", "see you at six"], adapter="spam")  # doctest: +SKIP
        [{'label': 'spam', 'score': 0.998}, {'label': 'ham', 'score': 0.994}]
    """
    if isinstance(bundle, (str, os.PathLike)):
        from edgeadapt.runtime import load

        session: RunnableBundle = load(Path(bundle), provider=provider)
    else:
        session = bundle
    task = tasks.get(session.manifest.task)
    return task.Pipeline(BundleRunner(session, task.OUTPUTS))


class BundleRunner:
    """A bundle's session, tokenizer and image settings as the task pipelines use them (`edgeadapt.tasks.Runner`).

    Args:
        session: The session.
        outputs: The outputs of the task with their axes.

    Raises:
        BundleError: The bundle says neither how texts nor how images are prepared.
    """

    def __init__(self, session: RunnableBundle, outputs: Mapping[str, tuple[str, ...]]) -> None:
        self._session = session
        self._outputs = outputs
        if self.takes_images:
            if session.manifest.image is None:
                raise BundleError(_unprepared("image settings"))
        elif session.manifest.tokenizer is None:
            raise BundleError(_unprepared("tokenizer"))
        else:
            self.vocabulary  # noqa: B018  # a file that can't be read should show here and not in the first run

    @property
    def takes_images(self) -> bool:
        """Whether rows are images."""
        return any(record.name == "pixel_values" for record in self._session.manifest.inputs)

    @cached_property
    def vocabulary(self) -> TextTokenizer:
        """The bundle's tokenizer."""
        record = self._session.manifest.tokenizer
        if record is None:
            raise BundleError(_unprepared("tokenizer"))
        return TextTokenizer(self._session.path / record.file, record)

    @cached_property
    def _template(self) -> ChatTemplate:
        from edgeadapt.bundle import GenerationRecord

        record = self._session.manifest.generation
        if not isinstance(record, GenerationRecord) or record.chat is None:
            raise UnsupportedError(
                "The bundle has no chat template: the base it was exported from had none.\n"
                "Give it texts, or put a chat_template.jinja into the base's folder and export it again."
            )
        return ChatTemplate(self._session.path / record.chat.file, record.chat)

    @property
    def max_length(self) -> int:
        """Tokens the model takes in one row, special ones included."""
        return self.vocabulary.max_length

    def tokens(self, texts: Sequence[Text], truncation: bool) -> list[Tokens]:
        """Returns the tokens of texts, cut at `max_length` or refused where they are longer."""
        return self.vocabulary.tokens(texts, truncation)

    def windows(self, text: Text, max_length: int, stride: int, shorten: Shorten) -> list[Tokens]:
        """Returns a text as windows of at most `max_length` tokens, of which `stride` overlap with the one before."""
        return self.vocabulary.windows(text, max_length, stride, shorten)

    def pixels(self, images: Iterable[Any]) -> Iterator[Array]:
        """Yields each image as float32 `(3, height, width)`, read when its batch is due."""
        record = self._session.manifest.image
        if record is None:
            raise BundleError(_unprepared("image settings"))
        for image in images:
            yield pixel_values(open_image(image), record)

    def labels(self, adapter: Choice) -> tuple[str, ...]:
        """Returns the labels of an adapter's head, or of the base's."""
        return self._session.labels(adapter)

    def problem_type(self, adapter: Choice) -> ProblemType | None:
        """Returns what an adapter's head, or the base's, was trained to answer."""
        return self._session.problem_type(adapter)

    def chat(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """Returns the prompt that the base's chat template makes of a conversation.

        Raises:
            UnsupportedError: The bundle has no template, or jinja2 is not installed.
            InputError: The template refuses the conversation.
        """
        return self._template.render(messages)

    def check_prompts(self, prompts: Sequence[Sequence[int]], adapters: Sequence[Choice], writing: Writing) -> None:
        """Refuses, before anything is run, prompts, adapters and numbers that `Session.stream` refuses.

        One adapter after the other, which need not share a batch. A prompt of another is cut to a token meanwhile, so
        that rows are numbered as they are given.
        """
        for adapter in adapters:
            self._session.labels(adapter)
        checked: list[Choice] = []
        for adapter in adapters:
            if adapter not in checked:
                checked.append(adapter)
                own = [
                    prompt if each == adapter else prompt[:1] for prompt, each in zip(prompts, adapters, strict=True)
                ]
                self._session.stream(own, adapter=adapter, **asdict(writing))

    def stream(
        self,
        prompts: Sequence[Any],
        adapters: Sequence[Choice],
        writing: Writing,
        begun: Sequence[Sequence[int]] | None = None,
    ) -> Iterator[Array]:
        """Yields the next token of every row, `(rows,)` int64, until all have ended; -1 for those that have."""
        if begun is None:
            return self._session.stream(prompts, adapter=list(adapters), **asdict(writing))
        features = np.stack(prompts)
        return self._session.stream(
            features, adapter=list(adapters), decoder_input_ids=np.array(begun), **asdict(writing)
        )

    @property
    def positions(self) -> int:
        """How many tokens the decoder takes."""
        generation = self._session.manifest.generation
        return NO_LIMIT if generation is None or generation.positions is None else generation.positions

    @property
    def first_time(self) -> int:
        """The first of the tokens that are times, behind all others."""
        return self._speech[1].no_timestamps + 1

    def hear(self, sounds: Sequence[Any]) -> list[Array]:
        """Returns each sound as the encoder takes it, float32 `(mels, frames)`.

        Raises:
            InputError: Some of them can't be heard; all reasons.
        """
        return heard(sounds, self._speech[1])

    def check_speech(self, language: str | None, task: str | None) -> None:
        """Refuses a language or a task that the base doesn't know."""
        for value, what in ((language, "language"), (task, "task")):
            if value is not None:
                record = self._speech[1]
                known(value, record.languages if what == "language" else record.tasks, what)

    def begin_speech(
        self, heard: Sequence[Array], adapters: Sequence[Choice], language: str | None, task: str | None
    ) -> list[list[int]]:
        """Returns what the decoder begins with for each sound; where no language is given, the one that is heard."""
        start, record = self._speech
        languages: list[list[int]] = [[] for _ in heard]
        if language is not None:
            languages = [[known(language, record.languages, "language")] for _ in heard]
        elif record.languages:
            reading = self._session.read({"input_features": np.stack(heard)}, list(adapters))
            ids = np.array(list(record.languages.values()))
            scores = reading.feed(np.tile(np.array(start, np.int64), (len(heard), 1)))[:, -1]
            # Of equal scores the lowest token, as transformers takes it.
            ids.sort()
            languages = [[int(token)] for token in ids[scores[:, ids].argmax(axis=1)]]
        asked = [known(task or "transcribe", record.tasks, "task")] if record.tasks else []
        return [[*start, *own, *asked, record.no_timestamps] for own in languages]

    @property
    def _speech(self) -> tuple[tuple[int, ...], SpeechRecord]:
        """The decoder's first tokens, and how the base hears."""
        from edgeadapt.bundle import EncoderDecoderRecord

        generation = self._session.manifest.generation
        if not isinstance(generation, EncoderDecoderRecord) or generation.speech is None:
            raise BundleError(f"The bundle, for {self._session.manifest.task}, doesn't say how it hears.")
        return generation.start_ids, generation.speech

    def run(self, rows: Iterable[Row], adapters: Sequence[Choice], batch_size: int) -> Iterator[dict[str, Array]]:
        """Yields the task's outputs of each row, without the batch axis, cut to the row's own length and labels.

        Rows are computed in their order, `batch_size` at a time, as results are taken: memory holds one batch. Rows of
        different lengths share a batch only where padding can't be seen by the others: on the right, under a mask, and
        with no adapter that looks behind it.

        Raises:
            ConfigError: `batch_size` is no positive number.
        """
        if batch_size < 1:
            raise ConfigError(f"batch_size: got {batch_size}, expected 1 or more.")
        pairs = zip(rows, adapters, strict=True)
        for _, group in groupby(pairs, key=lambda pair: self._batch_key(pair[0])):
            while chunk := list(islice(group, batch_size)):
                yield from self._run_batch([row for row, _ in chunk], [choice for _, choice in chunk])

    def _batch_key(self, row: Row) -> int:
        """Returns a number that is the same for rows that can share a batch."""
        if not isinstance(row, Tokens):
            return 0
        manifest = self._session.manifest
        masked = any(record.name == "attention_mask" for record in manifest.inputs)
        hidden = masked and self.vocabulary.padding_side == "right" and not looks_at_padding(manifest)
        return 0 if hidden else len(row)

    def _run_batch(self, rows: Sequence[Row], adapters: Sequence[Choice]) -> Iterator[dict[str, Array]]:
        names = [record.name for record in self._session.manifest.inputs]
        texts = [row for row in rows if isinstance(row, Tokens)]
        pixels = [row for row in rows if not isinstance(row, Tokens)]
        inputs = self.vocabulary.batch(texts, names) if texts else {"pixel_values": np.stack(pixels)}
        outputs = self._session.run(inputs, adapters)
        for index, row in enumerate(rows):
            length = len(row) if isinstance(row, Tokens) else None
            yield {name: _cut(outputs[name][index], axes[1:], length) for name, axes in self._outputs.items()}


def _cut(output: Array, axes: Sequence[str], length: int | None) -> Array:
    """Returns a row's output with its sequence axis cut to `length`, so that no padding is left."""
    return output[tuple(slice(length) if axis == "sequence" else slice(None) for axis in axes)]


def _unprepared(what: Literal["tokenizer", "image settings"]) -> str:
    return (
        f"The bundle has no {what}: the folder of the base it was exported from had none.\n"
        "Run it with edgeadapt.load(...).run(...) and arrays of your own, or export it again."
    )

"""Text generation: how a text goes on, or what a conversation is answered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypedDict

from edgeadapt.errors import ConfigError, InputError
from edgeadapt.tasks._continuation import Continuation
from edgeadapt.tasks._runner import BATCH_SIZE, Choice, Runner, Writing, choices
from edgeadapt.tasks._samples import TEXTS

NAME = "text-generation"
OUTPUTS = {"logits": ("batch", "kept", "vocabulary")}
LABELS = False
CACHED = True
INPUT: Literal["text"] = "text"
SAMPLES = TEXTS

Chat: TypeAlias = Sequence[Mapping[str, Any]]
"""A conversation: messages with a `role` and a `content`."""
Prompt: TypeAlias = str | Chat


class Generated(TypedDict):
    """How one prompt went on."""

    generated_text: str | list[Mapping[str, Any]]


def postprocess(prompt: Prompt, text: str, return_full_text: bool = True) -> Generated:
    """Returns what `TextGenerationPipeline.postprocess` of transformers makes of one new text.

    Args:
        prompt: The text or the conversation that was given.
        text: What came after it.
        return_full_text: Whether the prompt stands before it: the text, or the messages, whose last one is the answer.
            An assistant's message at the end is gone on with.

    Example:
        >>> postprocess([{"role": "user", "content": "Hi"}], "Hello!")["generated_text"][-1]
        {'role': 'assistant', 'content': 'Hello!'}
    """
    if not return_full_text:
        return {"generated_text": text}
    if isinstance(prompt, str):
        return {"generated_text": prompt + text}
    last = prompt[-1]
    if last["role"] == "assistant":
        return {"generated_text": [*prompt[:-1], {"role": "assistant", "content": last["content"] + text}]}
    return {"generated_text": [*prompt, {"role": "assistant", "content": text}]}


class Pipeline:
    """Goes on with texts as `transformers.pipeline("text-generation")` does.

    It takes the likeliest token each time unless it is given a temperature, whatever a base's `generation_config.json`
    says. Spaces that the model writes before punctuation stay, as those before the first new word do.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def __call__(
        self,
        inputs: Prompt | Sequence[Prompt],
        *,
        adapter: Choice | Sequence[Choice] = None,
        max_new_tokens: int = 256,
        stop_strings: str | Sequence[str] = (),
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        repetition_penalty: float = 1.0,
        seed: int | None = None,
        return_full_text: bool = True,
        batch_size: int = BATCH_SIZE,
    ) -> list[Generated] | list[list[Generated]]:
        """Returns how each text or conversation goes on: a list with one record, or for a list of them a list of such.

        Args:
            inputs: A text, a conversation (a list of `{"role": ..., "content": ...}`), or a list of them. A
                conversation that ends with the assistant's words is gone on from there.
            adapter: One adapter for all, or a list with one for each input; None is the base.
            max_new_tokens: A text ends after so many, if the model doesn't end it before.
            stop_strings: A text ends with the token that completes one of these; it stays in the text.
            temperature: 0 takes the likeliest token each time; more than 0 draws, by `logits / temperature`.
            top_k: Draws from so many of the likeliest tokens.
            top_p: Draws from the likeliest tokens that have this probability together.
            repetition_penalty: Over 1 makes tokens less likely that a text has already.
            seed: Makes draws the same every time, for each input as if it were alone.
            return_full_text: Whether the prompt stands before the new text, and the messages before the answer.
            batch_size: Inputs computed at a time, in their order.

        Raises:
            InputError: An input is no text and no conversation, is empty, or too long with what is to follow; the
                adapters are not one for each input.
            ConfigError: A number has no meaning.
            AdapterError: An adapter is unknown.
            UnsupportedError: The bundle has no chat template, or adapters of one batch can't share a run.
        """
        rows, as_list = _rows(inputs)
        adapters = choices(adapter, len(rows))
        writing = Writing(max_new_tokens, temperature, top_k, top_p, repetition_penalty, seed)
        stops = _stops(stop_strings)
        if type(batch_size) is not int or batch_size < 1:
            raise ConfigError(f"batch_size: got {batch_size!r}, expected 1 or more.")
        prompts = self._prompts(rows, adapters, writing)
        results: list[list[Generated]] = []
        for start in range(0, len(rows), batch_size):
            part = slice(start, start + batch_size)
            texts = self._texts(prompts[part], adapters[part], writing, stops)
            results += [[postprocess(row, text, return_full_text)] for row, text in zip(rows[part], texts, strict=True)]
        return results if as_list else results[0]

    def stream(
        self,
        inputs: Prompt,
        *,
        adapter: Choice = None,
        max_new_tokens: int = 256,
        stop_strings: str | Sequence[str] = (),
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        repetition_penalty: float = 1.0,
        seed: int | None = None,
    ) -> Iterator[str]:
        """Yields what comes after one text or conversation, piece by piece, in whole characters.

        The pieces together are what a call with `return_full_text=False` returns. What is wrong is raised here, before
        the first piece is asked for. Arguments and errors are those of a call.

        Example:
            >>> for piece in write.stream("Once upon a time", adapter="tales"):  # doctest: +SKIP
            ...     print(piece, end="", flush=True)
        """
        rows, as_list = _rows(inputs)
        if as_list:
            raise InputError("One text or conversation can be streamed at a time: got a list.")
        writing = Writing(max_new_tokens, temperature, top_k, top_p, repetition_penalty, seed)
        stops = _stops(stop_strings)
        (prompt,) = self._prompts(rows, [adapter], writing)
        return self._pieces(prompt, adapter, writing, stops)

    def _prompts(self, rows: Sequence[Prompt], adapters: Sequence[Choice], writing: Writing) -> list[list[int]]:
        """Returns the tokens of each row, all of them such that they can be gone on with."""
        vocabulary = self._runner.vocabulary
        prompts = [
            vocabulary.prompt(row, special=True)
            if isinstance(row, str)
            # The template has written the special tokens.
            else vocabulary.prompt(self._runner.chat(row), special=False)
            for row in rows
        ]
        if prompts:
            self._runner.check_prompts(prompts, adapters, writing)
        return prompts

    def _texts(
        self, prompts: Sequence[list[int]], adapters: Sequence[Choice], writing: Writing, stops: Sequence[str]
    ) -> list[str]:
        rows = [Continuation(self._runner.vocabulary, prompt, stops) for prompt in prompts]
        for tokens in self._runner.stream(prompts, adapters, writing):
            for row, token in zip(rows, tokens.tolist(), strict=True):
                if token >= 0 and not row.over:
                    row.add(token)
            if all(row.over for row in rows):
                break
        return [row.text() for row in rows]

    def _pieces(self, prompt: list[int], adapter: Choice, writing: Writing, stops: Sequence[str]) -> Iterator[str]:
        row = Continuation(self._runner.vocabulary, prompt, stops)
        for tokens in self._runner.stream([prompt], [adapter], writing):
            row.add(int(tokens[0]))
            if piece := row.piece():
                yield piece
            if row.over:
                break
        if rest := row.rest():
            yield rest


def _rows(inputs: Any) -> tuple[list[Prompt], bool]:
    """Returns the texts and conversations of a call, and whether they came as a list."""
    as_list = isinstance(inputs, (list, tuple)) and not _is_chat(inputs)
    rows = list(inputs) if as_list else [inputs]
    problems = [f"input {index}: {problem}" for index, row in enumerate(rows) if (problem := _problem(row))]
    if problems:
        raise InputError.collect(
            "Every input has to be a text (str) or a conversation:",
            problems,
            'A conversation is a list of messages: [{"role": "user", "content": "Hello!"}].',
        )
    return rows, as_list


def _is_chat(row: object) -> bool:
    return isinstance(row, (list, tuple)) and len(row) > 0 and isinstance(row[0], Mapping)


def _problem(row: Any) -> str:
    """Returns what keeps a row from being a text or a conversation, or nothing."""
    if isinstance(row, str):
        return ""
    if not isinstance(row, (list, tuple)):
        return f"got {type(row).__name__}"
    if not row:
        return "the conversation is empty"
    for index, message in enumerate(row):
        if not isinstance(message, Mapping):
            return f"message {index} is {type(message).__name__}, expected a dict with role and content"
        missing = [key for key in ("role", "content") if key not in message]
        if missing:
            return f"message {index} has no {' and no '.join(missing)}"
    return ""


def _stops(stop_strings: str | Sequence[str]) -> tuple[str, ...]:
    stops = (stop_strings,) if isinstance(stop_strings, str) else tuple(stop_strings)
    if not all(isinstance(stop, str) and stop for stop in stops):
        raise ConfigError(f"stop_strings: got {stop_strings!r}, expected texts that are not empty.")
    return stops

"""Text to text: what an encoder-decoder writes of a text, such as its summary or its translation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, TypedDict

from edgeadapt.errors import ConfigError, InputError
from edgeadapt.tasks._runner import BATCH_SIZE, Choice, Runner, Writing, as_rows, check_texts, choices
from edgeadapt.tasks._samples import TEXTS

NAME = "text2text-generation"
OUTPUTS = {"logits": ("batch", "sequence", "vocabulary")}
LABELS = False
CACHED = True
INPUT: Literal["text"] = "text"
SAMPLES = TEXTS


class Generated(TypedDict):
    """What was written of one text."""

    generated_text: str


def postprocess(text: str) -> Generated:
    """Returns what `Text2TextGenerationPipeline.postprocess` of transformers makes of one new text.

    Example:
        >>> postprocess("Bonjour !")
        {'generated_text': 'Bonjour !'}
    """
    return {"generated_text": text}


class Pipeline:
    """Rewrites texts as `transformers.pipeline("text2text-generation")` does.

    It takes the likeliest token each time unless it is given a temperature, whatever a base's `generation_config.json`
    says of beams and of drawing; what that says of forced, suppressed and repeated tokens and of the least length
    holds. A text is read as it is: a prefix that a base was trained with (T5's `summarize: `) is for the caller to put.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def __call__(
        self,
        inputs: str | Sequence[str],
        *,
        adapter: Choice | Sequence[Choice] = None,
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        repetition_penalty: float = 1.0,
        seed: int | None = None,
        truncation: bool = False,
        batch_size: int = BATCH_SIZE,
    ) -> list[Generated]:
        """Returns what is written of each text: a list with one record for each, and with one for a text alone.

        Args:
            inputs: A text or a list of texts.
            adapter: One adapter for all, or a list with one for each input; None is the base.
            max_new_tokens: A text ends after so many, if the model doesn't end it before.
            temperature: 0 takes the likeliest token each time; more than 0 draws, by `logits / temperature`.
            top_k: Draws from so many of the likeliest tokens.
            top_p: Draws from the likeliest tokens that have this probability together.
            repetition_penalty: Over 1 makes tokens less likely that have been written already; 1 is the base's own.
            seed: Makes draws the same every time, for each input as if it were alone.
            truncation: Whether texts that are too long are cut, or refused.
            batch_size: Inputs computed at a time, in their order.

        Raises:
            InputError: An input is no text or too long, more is to be written than the decoder has positions for, or
                the adapters are not one for each input.
            ConfigError: A number has no meaning.
            AdapterError: An adapter is unknown.
            UnsupportedError: Adapters of one batch can't share a run.
        """
        rows, _ = as_rows(inputs)
        adapters = choices(adapter, len(rows))
        writing = Writing(max_new_tokens, temperature, top_k, top_p, repetition_penalty, seed)
        if type(batch_size) is not int or batch_size < 1:
            raise ConfigError(f"batch_size: got {batch_size!r}, expected 1 or more.")
        prompts = self._prompts(rows, adapters, writing, truncation)
        results: list[Generated] = []
        for start in range(0, len(rows), batch_size):
            part = slice(start, start + batch_size)
            written: list[list[int]] = [[] for _ in prompts[part]]
            for tokens in self._runner.stream(prompts[part], adapters[part], writing):
                for row, token in zip(written, tokens.tolist(), strict=True):
                    row += [token] if token >= 0 else []
            results += [postprocess(self._runner.vocabulary.decode(row, skip_special=True)) for row in written]
        return results

    def stream(
        self,
        inputs: str,
        *,
        adapter: Choice = None,
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        repetition_penalty: float = 1.0,
        seed: int | None = None,
        truncation: bool = False,
    ) -> Iterator[str]:
        """Yields what is written of one text, piece by piece, in whole characters.

        The pieces together are what a call returns. What is wrong is raised here, before the first piece is asked for.
        Arguments and errors are those of a call.

        Example:
            >>> for piece in translate.stream("Good morning!", adapter="french"):  # doctest: +SKIP
            ...     print(piece, end="", flush=True)
        """
        rows, as_list = as_rows(inputs)
        if as_list:
            raise InputError("One text can be streamed at a time: got a list.")
        writing = Writing(max_new_tokens, temperature, top_k, top_p, repetition_penalty, seed)
        (prompt,) = self._prompts(rows, [adapter], writing, truncation)
        return self._pieces(prompt, adapter, writing)

    def _prompts(
        self, rows: Sequence[Any], adapters: Sequence[Choice], writing: Writing, truncation: bool
    ) -> list[list[int]]:
        """Returns the tokens of each text, all of them such that they can be rewritten."""
        texts = check_texts(rows)
        prompts = [tokens.ids.tolist() for tokens in self._runner.tokens(texts, truncation)] if texts else []
        if prompts:
            self._runner.check_prompts(prompts, adapters, writing)
        return prompts

    def _pieces(self, prompt: list[int], adapter: Choice, writing: Writing) -> Iterator[str]:
        written: list[int] = []
        told = 0
        for tokens in self._runner.stream([prompt], [adapter], writing):
            written.append(int(tokens[0]))
            text = self._runner.vocabulary.decode(written, skip_special=True)
            # A character may be spread over several tokens.
            if len(text) > told and not text.endswith("\N{REPLACEMENT CHARACTER}"):
                yield text[told:]
                told = len(text)
        if rest := self._runner.vocabulary.decode(written, skip_special=True)[told:]:
            yield rest

"""Speech recognition: what is said in a sound of at most half a minute."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypedDict

from edgeadapt.errors import ConfigError
from edgeadapt.tasks._runner import BATCH_SIZE, Choice, Runner, Writing, as_rows, choices
from edgeadapt.tasks._samples import SOUNDS

NAME = "automatic-speech-recognition"
OUTPUTS = {"logits": ("batch", "sequence", "vocabulary")}
LABELS = False
CACHED = True
INPUT: Literal["audio"] = "audio"
SAMPLES = SOUNDS


class Heard(TypedDict):
    """What is said in one sound."""

    text: str


def postprocess(text: str) -> Heard:
    """Returns what `AutomaticSpeechRecognitionPipeline.postprocess` of transformers makes of one text.

    Example:
        >>> postprocess(" Good morning.")
        {'text': ' Good morning.'}
    """
    return {"text": text}


class Pipeline:
    """Writes down sounds as `transformers.pipeline("automatic-speech-recognition")` does, without timestamps.

    It takes the likeliest token each time; a time that a base writes nevertheless is left out. A sound is the path of a
    WAV file, or an array of floats at the base's sampling rate (16 kHz), of at most 30 s; longer ones are refused.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def __call__(
        self,
        inputs: Any | Sequence[Any],
        *,
        adapter: Choice | Sequence[Choice] = None,
        language: str | None = None,
        task: str | None = None,
        max_new_tokens: int | None = None,
        batch_size: int = BATCH_SIZE,
    ) -> Heard | list[Heard]:
        """Returns what is said in a sound, or for a list of them a list.

        Args:
            inputs: A path or an array `(samples,)`, or a list of them.
            adapter: One adapter for all, or a list with one for each input; None is the base.
            language: The language's code, `"en"`; None lets the base hear which one it is, with the adapter.
            task: `"transcribe"` (None) or `"translate"`, into English.
            max_new_tokens: A text ends after so many; None takes as many as the decoder has positions for.
            batch_size: Inputs computed at a time, in their order.

        Raises:
            InputError: An input is no sound, too long, or of another sampling rate; the adapters are not one for each.
            ConfigError: A number has no meaning.
            AdapterError: An adapter is unknown.
            UnsupportedError: The base doesn't know the language or the task.
        """
        rows, as_list = as_rows(inputs)
        adapters = choices(adapter, len(rows))
        if type(batch_size) is not int or batch_size < 1:
            raise ConfigError(f"batch_size: got {batch_size!r}, expected 1 or more.")
        self._runner.check_speech(language, task)
        heard, times = self._runner.hear(rows), self._runner.first_time
        results: list[Heard] = []
        for start in range(0, len(rows), batch_size):
            part = slice(start, start + batch_size)
            begun = self._runner.begin_speech(heard[part], adapters[part], language, task)
            most = self._runner.positions - len(begun[0]) if max_new_tokens is None else max_new_tokens
            written: list[list[int]] = [[] for _ in begun]
            writing = Writing(most, 0.0, None, None, 1.0, None)
            for tokens in self._runner.stream(heard[part], adapters[part], writing, begun):
                for row, token in zip(written, tokens.tolist(), strict=True):
                    row += [token] if 0 <= token < times else []
            results += [postprocess(self._runner.vocabulary.decode(row, skip_special=True)) for row in written]
        return results if as_list else results[0]

"""Multiple choice: which of several texts answers a question, or continues a text.

The model scores one pair of question and choice a row, whatever else is in the batch, so questions may have different
numbers of choices. transformers has no such pipeline; the reference is its `AutoModelForMultipleChoice`, which takes
`(questions, choices, sequence)`, runs it as that many rows and gives their scores as `(questions, choices)`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Literal, TypeAlias, TypedDict

import numpy as np

from edgeadapt.errors import InputError
from edgeadapt.tasks._runner import BATCH_SIZE, Array, Choice, Runner, as_rows
from edgeadapt.tasks._runner import choices as one_for_each
from edgeadapt.tasks._samples import RAILWAY
from edgeadapt.tasks._scores import check_top_k, softmax

NAME = "multiple-choice"
OUTPUTS = {"logits": ("batch", "score")}
LABELS = False
CACHED = False
INPUT: Literal["choices"] = "choices"

CHOICES = 4
"""How many rows of `SAMPLES` in turn are one question's."""

_QUESTIONS: Mapping[str, tuple[str, str, str, str]] = {
    "Where do I live?": ("In Berlin.", "In a small house near the station, with two cats.", "Yes.", "It rains."),
    "The parcel arrived two days late and the box was open, so": (
        "I sent it back.",
        "I asked for my money and got a reply within an hour, which I had not expected at all.",
        "the Moon is 384,400 km away.",
        "nobody's cat",
    ),
    f"{RAILWAY} What had the trains not brought?": ("Rain.", "A brewery and a school.", "The price of land.", "1871"),
}
SAMPLES = tuple((question, choice) for question, four in _QUESTIONS.items() for choice in four)
"""Questions of 4 to about 100 words, each with four choices, a row each."""

Question: TypeAlias = Mapping[str, Any]
"""A question with its choices: `{"question": ..., "choices": [..., ...]}`."""
TopK: TypeAlias = int | Literal["best"] | None


class Chosen(TypedDict):
    """A choice, its place among the question's, and its score."""

    choice: str
    index: int
    score: float


def postprocess(logits: Array, choices: Sequence[str], top_k: TopK = "best") -> Chosen | list[Chosen]:
    """Returns a question's choices by falling score: the softmax of the logits of `AutoModelForMultipleChoice`.

    Args:
        logits: `(choices,)`, what the model gives for the row of each choice.
        choices: The texts.
        top_k: `"best"` for the best choice alone, a number for a list of so many, None for a list of all.

    Example:
        >>> postprocess(np.array([0.0, 0.0], np.float32), ["yes", "no"])
        {'choice': 'yes', 'index': 0, 'score': 0.5}
    """
    records: list[Chosen] = [
        {"choice": choice, "index": index, "score": score.item()}
        for index, (choice, score) in enumerate(zip(choices, softmax(logits), strict=True))
    ]
    # Equal scores keep their order, so that the first is the one that argmax takes.
    records.sort(key=lambda record: -record["score"])
    return records[0] if top_k == "best" else records[:top_k]


class Pipeline:
    """Answers questions by the best of their choices."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def __call__(
        self,
        inputs: Question | Sequence[Question] | None = None,
        *,
        question: str | Sequence[str] | None = None,
        choices: Sequence[str] | Sequence[Sequence[str]] | None = None,
        adapter: Choice | Sequence[Choice] = None,
        top_k: TopK = "best",
        truncation: bool = True,
        batch_size: int = BATCH_SIZE,
    ) -> Chosen | list[Chosen] | list[Chosen | list[Chosen]]:
        """Returns the best choice of each question, `{"choice", "index", "score"}`.

        Args:
            inputs: `{"question": ..., "choices": [..., ...]}`, or a list of them.
            question: A question, or a list of them, instead.
            choices: Its choices; for a list of questions a list with those of each, or the choices of all.
            adapter: One adapter for all, or a list with one for each question; None is the base.
            top_k: `"best"` for the best choice alone, a number for a list of so many for each question, None for all.
            truncation: Whether a question that is too long with its choice is cut or refused.
            batch_size: Choices computed at a time, in their order.

        Raises:
            InputError: A question or choice is missing or empty, a question has less than two choices or is too long;
                the adapters are not one for each question.
        """
        if top_k != "best":
            check_top_k(top_k)
        asked, as_list = _questions(inputs, question, choices)
        adapters = one_for_each(adapter, len(asked))
        rows = self._runner.tokens([(text, choice) for text, own in asked for choice in own], truncation)
        names = [name for name, (_, own) in zip(adapters, asked, strict=True) for _ in own]
        outputs = self._runner.run(rows, names, batch_size)
        results = [postprocess(_logits(islice(outputs, len(own))), own, top_k) for _, own in asked]
        return results if as_list else results[0]


def _logits(outputs: Iterable[Mapping[str, Array]]) -> Array:
    """Returns the scores of one question's rows, each `(1,)`, as `(choices,)`."""
    return np.concatenate([output["logits"] for output in outputs])


def _questions(
    inputs: Question | Sequence[Question] | None, question: Any, choices: Any
) -> tuple[list[tuple[str, list[str]]], bool]:
    """Returns questions with their choices, and whether they came as a list."""
    if (inputs is None) == (question is None and choices is None):
        raise InputError('Give {"question": ..., "choices": [...]} or a list of them, or question= and choices=.')
    if inputs is not None:
        rows, as_list = as_rows(inputs)
        pairs: list[tuple[Any, Any]] = [
            (row["question"], row["choices"])
            if isinstance(row, Mapping) and set(row) == {"question", "choices"}
            else (row, None)
            for row in rows
        ]
    else:
        texts, as_list = as_rows(question)
        pairs = list(zip(texts, _for_each(choices, len(texts), as_list), strict=True))
    problems = [f"input {number}: {problem}" for number, pair in enumerate(pairs) for problem in _problems(*pair)]
    if problems:
        raise InputError.collect(
            "Every input has to be a question with two choices or more, texts that aren't empty:", problems
        )
    return [(text, list(own)) for text, own in pairs], as_list


def _for_each(choices: Any, count: int, as_list: bool) -> list[Any]:
    """Returns the choices of each of `count` questions."""
    own = as_list and isinstance(choices, (list, tuple)) and any(isinstance(each, (list, tuple)) for each in choices)
    if not own:
        return [choices] * count
    if len(choices) != count:
        raise InputError(
            f"Got {count} questions and {len(choices)} lists of choices.\n"
            "Give the choices of all questions, or a list with those of each."
        )
    return list(choices)


def _problems(question: Any, choices: Any) -> list[str]:
    """Returns what is wrong with a question and its choices."""
    if choices is None:
        return [f'got {question!r:.60}, expected {{"question": ..., "choices": [..., ...]}}']
    problems = [] if isinstance(question, str) and question else [f"question is {question!r:.60}"]
    if not isinstance(choices, (list, tuple)):
        return [*problems, f"choices are {choices!r:.60}, expected a list of texts"]
    if len(choices) < 2:
        problems.append(f"got {len(choices)} choice{'' if len(choices) == 1 else 's'}, expected 2 or more")
    return problems + [
        f"choice {index} is {choice!r:.60}"
        for index, choice in enumerate(choices)
        if not isinstance(choice, str) or not choice
    ]

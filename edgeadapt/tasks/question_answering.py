"""Question answering: the part of a text that answers a question about it.

transformers 5 has dropped this pipeline; the reference is `transformers.QuestionAnsweringPipeline` of 4.57.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from edgeadapt.errors import ConfigError, InputError
from edgeadapt.tasks._runner import BATCH_SIZE, Choice, Runner, Tokens, as_rows, choices, in_windows
from edgeadapt.tasks._samples import RAILWAY
from edgeadapt.tasks._spans import Answer, Logits, best_spans, candidates, in_words

NAME = "question-answering"
OUTPUTS = {"start_logits": ("batch", "sequence"), "end_logits": ("batch", "sequence")}
LABELS = False
CACHED = False
INPUT: Literal["text_pair"] = "text_pair"

SAMPLES = (
    ("Where do I live?", "My name is Wolfgang and I live in Berlin."),
    (
        "Who stayed in orbit?",
        "In 1969 Neil Armstrong and Buzz Aldrin landed on the Moon while Michael Collins stayed in orbit.",
    ),
    ("How many days does a refund take?", "Refunds are paid within 14 days of the day on which we receive the parcel."),
    ("When did the railway reach the valley?", RAILWAY),
    ("What, according to the woman who kept the inn, had the trains not brought?", RAILWAY),
)
"""Questions with their contexts of 9 to about 100 words."""

Pair: TypeAlias = Mapping[str, str]
"""A question with its context: `{"question": ..., "context": ...}`."""
Answers: TypeAlias = Answer | list[Answer]


def postprocess(
    windows: Sequence[tuple[Tokens, Logits]],
    context: str,
    cls_id: int | None,
    top_k: int = 1,
    handle_impossible_answer: bool = False,
    max_answer_len: int = 15,
    align_to_words: bool = True,
    question_first: bool = True,
) -> Answers:
    """Returns what `QuestionAnsweringPipeline.postprocess` of transformers returns for one question.

    Args:
        windows: The tokens of each window with its start and end logits, `(sequence,)` each.
        context: The text that holds the answer.
        cls_id: The token that stands for "no answer", if there is one.
        top_k: How many answers to return at most; one comes without a list.
        handle_impossible_answer: Whether "no answer" is one of them, as an empty answer from 0 to 0.
        max_answer_len: Tokens of the longest answer.
        align_to_words: Whether answers begin and end with whole words.
        question_first: Whether the question is the first of the pair, as with all tokenizers that pad on the right.
    """
    no_answer = 1000000.0  # larger than any score, as in the reference
    answers: list[Answer] = []
    # Aligning gives some candidates the same words, so take more than are asked for.
    wanted = top_k * 2 + 10 if align_to_words else top_k
    for tokens, logits in windows:
        spans, null_score = best_spans(logits, candidates(tokens, cls_id, question_first), wanted, max_answer_len)
        if handle_impossible_answer:
            no_answer = min(no_answer, null_score)
        for first, last, score in spans:
            start, end = tokens.offsets[first][0], tokens.offsets[last][1]
            if align_to_words:
                start, end = in_words(tokens, first, last, context=int(question_first))
            _add(answers, {"score": score, "start": start, "end": end, "answer": context[start:end]})
    if handle_impossible_answer:
        answers.append({"score": no_answer, "start": 0, "end": 0, "answer": ""})
    best = sorted(answers, key=lambda answer: answer["score"], reverse=True)[:top_k]
    return best[0] if len(best) == 1 else best


def _add(answers: list[Answer], new: Answer) -> None:
    """Adds an answer; the same words found again add to its score (`QuestionAnsweringPipeline.get_answer`)."""
    for answer in answers:
        if answer["answer"].lower() == new["answer"].lower():
            answer["score"] += new["score"]
            return
    answers.append(new)


class Pipeline:
    """Answers questions as `transformers.pipeline("question-answering")` does."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def __call__(
        self,
        inputs: Pair | Sequence[Pair] | None = None,
        *,
        question: str | Sequence[str] | None = None,
        context: str | Sequence[str] | None = None,
        adapter: Choice | Sequence[Choice] = None,
        top_k: int = 1,
        handle_impossible_answer: bool = False,
        max_answer_len: int = 15,
        max_seq_len: int | None = None,
        doc_stride: int | None = None,
        align_to_words: bool = True,
        batch_size: int = BATCH_SIZE,
    ) -> Answers | list[Answers]:
        """Returns the answers to each question; as in transformers, a list of one gives what its question gives.

        Args:
            inputs: `{"question": ..., "context": ...}` or a list of them, or None and the two arguments that follow.
            question: A question, or a list of them.
            context: The text that answers it: one for all questions, or a list with one for each.
            adapter: One adapter for all, or a list with one for each question; None is the base.
            top_k: How many answers to return for each question; there may be fewer.
            handle_impossible_answer: Whether "no answer" is one of them.
            max_answer_len: Tokens of the longest answer.
            max_seq_len: Tokens of a window; None for what the model takes, and 384 at most.
            doc_stride: Tokens by which windows overlap; None for half a window, and 128 at most.
            align_to_words: Whether answers begin and end with whole words.
            batch_size: Windows computed at a time, in their order.

        Raises:
            InputError: A question or context is missing or empty; the adapters are not one for each question.
            ConfigError: An option is out of range.
        """
        if min(top_k, max_answer_len) < 1:
            raise ConfigError(f"top_k and max_answer_len: got {top_k} and {max_answer_len}, expected 1 or more.")
        pairs = _pairs(inputs, question, context)
        adapters = choices(adapter, len(pairs))
        windows = self._windows(pairs, max_seq_len, doc_stride)
        found = in_windows(self._runner, windows, adapters, batch_size)
        results = [
            postprocess(
                [(tokens, (output["start_logits"], output["end_logits"])) for tokens, output in each],
                text,
                self._runner.vocabulary.cls_id,
                top_k,
                handle_impossible_answer,
                max_answer_len,
                align_to_words,
                self._question_first,
            )
            for (_, text), each in zip(pairs, found, strict=True)
        ]
        return results[0] if len(results) == 1 else results

    @property
    def _question_first(self) -> bool:
        return self._runner.vocabulary.padding_side == "right"

    def _windows(
        self, pairs: Sequence[tuple[str, str]], max_seq_len: int | None, doc_stride: int | None
    ) -> list[list[Tokens]]:
        """Returns the windows of each pair (`QuestionAnsweringPipeline.preprocess`)."""
        length = min(self._runner.max_length, 384) if max_seq_len is None else max_seq_len
        stride = min(length // 2, 128) if doc_stride is None else doc_stride
        if self._question_first:
            return [self._runner.windows(pair, length, stride, "only_second") for pair in pairs]
        return [self._runner.windows((text, asked), length, stride, "only_first") for asked, text in pairs]


def _pairs(
    inputs: Pair | Sequence[Pair] | None, question: str | Sequence[str] | None, context: str | Sequence[str] | None
) -> list[tuple[str, str]]:
    """Returns questions with their contexts (`QuestionAnsweringArgumentHandler`)."""
    if (inputs is None) == (question is None and context is None):
        raise InputError('Give {"question": ..., "context": ...} or a list of them, or question= and context=.')
    if inputs is not None:
        rows, _ = as_rows(inputs)
        pairs = [
            (row.get("question"), row.get("context")) if isinstance(row, Mapping) else (None, None) for row in rows
        ]
    else:
        questions, many = as_rows(question)
        contexts = list(context) if many and isinstance(context, (list, tuple)) else [context] * len(questions)
        if len(questions) != len(contexts):
            raise InputError(
                f"Got {len(questions)} questions and {len(contexts)} contexts.\n"
                "Give one context for all questions, or a list with one for each."
            )
        pairs = list(zip(questions, contexts, strict=True))
    wrong = [
        f"input {index}: {name} is {text!r:.60}"
        for index, pair in enumerate(pairs)
        for name, text in zip(("question", "context"), pair, strict=True)
        if not isinstance(text, str) or not text
    ]
    if wrong:
        raise InputError.collect("Every question and context has to be a text that isn't empty:", wrong)
    return [(str(asked), str(text)) for asked, text in pairs]

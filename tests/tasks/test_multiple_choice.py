from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import edgeadapt
from edgeadapt.errors import ConfigError, InputError
from edgeadapt.tasks import multiple_choice
from tests.tasks.reference import TorchSession, byte_level, model, word_pieces

TASK = "multiple-choice"
QUESTIONS: list[dict[str, Any]] = [
    {"question": "Where is our parcel?", "choices": ["It's in New York City, and rather late.", "The film was long."]},
    {"question": "The runners ran to the trains, so", "choices": ["they", "he won a prize", "what?", "why, and who"]},
    {"question": "The film was rather long. " * 9, "choices": ["No.", "and they changed the price twice: 3.50.", "a"]},
]


class Rows(TorchSession):
    """Rows of pairs, as a bundle takes them, each a question of one choice to PyTorch's model."""

    def _outputs(self, choice: Any, inputs: Any) -> dict[str, Any]:
        return super()._outputs(choice, {name: array[:, None] for name, array in inputs.items()})


def scores(live: Any, tokenizer: Any, question: str, choices: list[str]) -> list[float]:
    """Returns what `AutoModelForMultipleChoice` gives for a question, all choices in one `(1, choices, sequence)`."""
    tokens = tokenizer([question] * len(choices), choices, padding=True, truncation=True, return_tensors="pt")
    names = ["input_ids", "attention_mask"]
    if getattr(live.config, "type_vocab_size", 0) > 1:
        names.append("token_type_ids")
    with torch.no_grad():
        logits = live(**{name: tokens[name][None] for name in names}).logits
    assert logits.shape == (1, len(choices))
    result: list[float] = torch.softmax(logits[0], dim=-1).tolist()
    return result


def assert_ranked(got: Any, choices: list[str], expected: list[float]) -> None:
    assert [record["score"] for record in got] == pytest.approx(sorted(expected, reverse=True), rel=2e-4, abs=2e-5)
    assert sorted(record["index"] for record in got) == list(range(len(choices)))
    for record in got:
        assert list(record) == ["choice", "index", "score"] and type(record["score"]) is float
        assert record["choice"] == choices[record["index"]]
        assert record["score"] == pytest.approx(expected[record["index"]], rel=2e-4, abs=2e-5)


@pytest.fixture(scope="module", params=["bert", "roberta", "distilbert", "electra"])
def bundle(request: Any, tmp_path_factory: Any) -> tuple[Any, Any, Any]:
    folder = tmp_path_factory.mktemp("bundle")
    tokenizer = byte_level(folder) if request.param == "roberta" else word_pieces(folder)
    live = model(TASK, request.param, vocab_size=len(tokenizer))
    return edgeadapt.pipeline(Rows(folder, TASK, tokenizer, {None: live})), live, tokenizer


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_scores_are_those_of_transformers_model(bundle: tuple[Any, Any, Any], batch_size: int) -> None:
    ours, live, tokenizer = bundle
    results = ours(QUESTIONS, top_k=None, batch_size=batch_size)
    assert len(results) == len(QUESTIONS)
    moved = []
    for row, got in zip(QUESTIONS, results, strict=True):
        expected = scores(live, tokenizer, **row)
        assert_ranked(got, row["choices"], expected)
        moved.append(max(expected) - min(expected))
    assert max(moved) > 0.05


def test_one_question_is_answered_by_its_best_choice(bundle: tuple[Any, Any, Any]) -> None:
    ours, live, tokenizer = bundle
    for row in QUESTIONS:
        best = int(np.argmax(scores(live, tokenizer, **row)))
        assert ours(row)["index"] == ours(**row)["index"] == best
        assert [len(ours(row, top_k=count)) for count in (1, 2, 9)] == [1, 2, len(row["choices"])]
        assert ours([row], top_k=1)[0][0] == ours([row])[0] == ours(row)


def test_questions_share_choices_or_have_their_own(bundle: tuple[Any, Any, Any]) -> None:
    ours = bundle[0]
    texts = [row["question"] for row in QUESTIONS]
    own = [row["choices"] for row in QUESTIONS]
    assert ours(question=texts, choices=own) == ours(QUESTIONS)
    shared = ours([{"question": text, "choices": own[1]} for text in texts])
    assert ours(question=texts, choices=own[1]) == shared
    assert ours(question=texts, choices=tuple(own[1])) == shared


def test_every_question_is_answered_by_its_own_adapter(tmp_path: Path) -> None:
    tokenizer = word_pieces(tmp_path)
    models = {None: model(TASK), "law": model(TASK, seed=1)}
    ours = edgeadapt.pipeline(Rows(tmp_path, TASK, tokenizer, models))
    adapters = ["law", None, "law"]
    results = ours(QUESTIONS, adapter=adapters, top_k=None)
    for row, name, got in zip(QUESTIONS, adapters, results, strict=True):
        assert_ranked(got, row["choices"], scores(models[name], tokenizer, **row))


def test_of_equal_scores_the_first_comes_first() -> None:
    logits = np.array([1.0, 2.0, 2.0, 1.0], np.float32)
    got = multiple_choice.postprocess(logits, list("abcd"), top_k=None)
    assert isinstance(got, list)
    assert [record["choice"] for record in got] == list("bcad")


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ([], {}, InputError, "Give {"),
        ([QUESTIONS[0]], {"choices": ["a", "b"]}, InputError, "Give {"),
        ([], {"question": "who?"}, InputError, "input 0: got 'who"),
        ([], {"question": "who?", "choices": []}, InputError, "input 0: got 0 choices, expected 2 or more"),
        ([], {"question": "who?", "choices": ["me"]}, InputError, "input 0: got 1 choice, expected 2 or more"),
        ([], {"question": "who?", "choices": "me"}, InputError, "choices are 'me', expected a list"),
        ([], {"question": "", "choices": ["a", "b"]}, InputError, "input 0: question is ''"),
        ([], {"question": "who?", "choices": ["a", ""]}, InputError, "input 0: choice 1 is ''"),
        ([], {"question": "who?", "choices": ["a", None]}, InputError, "input 0: choice 1 is None"),
        ([], {"question": "who?", "choices": [["a", "b"]]}, InputError, r"choice 0 is \['a', 'b'\]"),
        ([], {"question": ["a", "b"], "choices": [["c", "d"]]}, InputError, "Got 2 questions and 1 lists of choices"),
        ([[QUESTIONS[0], "who?"]], {}, InputError, "input 1: got 'who"),
        ([{"question": "a", "context": "b"}], {}, InputError, "input 0: got {'question': 'a', 'context': 'b'}"),
        ([QUESTIONS], {"adapter": ["a"]}, InputError, "1 adapters for 3 inputs"),
        ([QUESTIONS], {"top_k": 0}, ConfigError, "top_k: got 0"),
        ([{"question": "where " * 300, "choices": ["a", "b"]}], {"truncation": False}, InputError, "at most 128"),
    ],
)
def test_wrong_calls_are_refused(
    bundle: tuple[Any, Any, Any], arguments: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        bundle[0](*arguments, **options)


def test_all_that_is_wrong_is_said_at_once(bundle: tuple[Any, Any, Any]) -> None:
    with pytest.raises(InputError) as caught:
        bundle[0]([{"question": "", "choices": ["a"]}, QUESTIONS[0], {"question": 3, "choices": ["a", ""]}])
    assert [line.strip() for line in str(caught.value).splitlines()[1:]] == [
        "input 0: question is ''",
        "input 0: got 1 choice, expected 2 or more",
        "input 2: question is 3",
        "input 2: choice 1 is ''",
    ]


def test_samples_are_questions_of_as_many_choices() -> None:
    texts = [question for question, _ in multiple_choice.SAMPLES]
    groups = [texts[start : start + multiple_choice.CHOICES] for start in range(0, len(texts), multiple_choice.CHOICES)]
    assert all(len(group) == multiple_choice.CHOICES and len(set(group)) == 1 for group in groups)
    assert len({group[0] for group in groups}) == len(groups)

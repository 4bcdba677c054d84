from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import edgeadapt
from edgeadapt.errors import BundleError, ConfigError, InputError
from tests.tasks.reference import HEADS, TEXTS, TorchSession, assert_same, model, pipeline, word_pieces

TASK = "text-classification"
PAIR = {"text": "Where is our parcel?", "text_pair": "It ran late"}


@pytest.fixture(scope="module", params=[1, 2, 7])
def pipelines(request: Any, tmp_path_factory: Any) -> tuple[Any, Any]:
    folder = tmp_path_factory.mktemp("bundle")
    live, tokenizer = model(TASK, num_labels=request.param), word_pieces(folder)
    return edgeadapt.pipeline(TorchSession(folder, TASK, tokenizer, {None: live})), pipeline(TASK, live, tokenizer)


@pytest.mark.parametrize("inputs", [TEXTS[0], TEXTS[:1], TEXTS, PAIR, [PAIR], [PAIR, {"text": "hello"}]])
@pytest.mark.parametrize("options", [{}, {"top_k": None}, {"top_k": 1}, {"top_k": 3}])
def test_results_are_those_of_transformers(pipelines: tuple[Any, Any], inputs: Any, options: dict[str, Any]) -> None:
    ours, theirs = pipelines
    assert_same(ours(inputs, **options), theirs(inputs, **options))


@pytest.mark.parametrize("function", ["sigmoid", "softmax", "none"])
@pytest.mark.parametrize("top_k", [None, 2])
def test_functions_are_those_of_transformers(pipelines: tuple[Any, Any], function: Any, top_k: int | None) -> None:
    ours, theirs = pipelines
    assert_same(
        ours(TEXTS, function_to_apply=function, top_k=top_k), theirs(TEXTS, function_to_apply=function, top_k=top_k)
    )
    assert_same(ours(TEXTS[0], function_to_apply=function), theirs(TEXTS[0], function_to_apply=function))


def test_long_texts_are_cut_as_transformers_cuts_when_told(pipelines: tuple[Any, Any]) -> None:
    ours, theirs = pipelines
    long = " ".join(TEXTS * 20)
    assert_same(ours([long, TEXTS[0]]), theirs([long, TEXTS[0]], truncation=True))
    with pytest.raises(InputError, match=r"at most 128 tokens:\n  input 1: \d{3,} tokens"):
        ours([TEXTS[0], long], truncation=False)


@pytest.mark.parametrize(
    ("inputs", "options", "error", "message"),
    [
        ([TEXTS[0], 3], {}, InputError, "input 1: got int 3"),
        ([{"text": "a", "pair": "b"}], {}, InputError, "input 0: got dict"),
        (TEXTS, {"top_k": 0}, ConfigError, "top_k: got 0"),
        (TEXTS, {"function_to_apply": "relu"}, ConfigError, "got 'relu', expected 'sigmoid'"),
        (TEXTS, {"batch_size": 0}, ConfigError, "batch_size: got 0"),
        (TEXTS, {"adapter": ["a"]}, InputError, "1 adapters for 4 inputs"),
    ],
)
def test_wrong_calls_are_refused(
    pipelines: tuple[Any, Any], inputs: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        pipelines[0](inputs, **options)


def test_no_texts_give_no_results(pipelines: tuple[Any, Any]) -> None:
    assert pipelines[0]([]) == []


def test_options_are_explicit(pipelines: tuple[Any, Any]) -> None:
    with pytest.raises(TypeError, match="max_lenght"):
        pipelines[0](TEXTS, max_lenght=3)


def test_every_row_is_scored_by_its_own_adapter(tmp_path: Path) -> None:
    models = {
        None: model(TASK, seed=0, num_labels=2),
        "intents": model(TASK, seed=1, id2label={0: "buy", 1: "cancel", 2: "complain", 3: "ask"}),
        "urgent": model(TASK, seed=2, id2label={0: "urgent"}),
    }
    tokenizer = word_pieces(tmp_path)
    ours = edgeadapt.pipeline(TorchSession(tmp_path, TASK, tokenizer, models))
    choices = ["intents", None, "urgent", "intents"]
    expected = [
        pipeline(TASK, models[name], tokenizer)(text, top_k=None) for name, text in zip(choices, TEXTS, strict=True)
    ]
    assert_same(ours(TEXTS, adapter=choices, top_k=None), expected)
    assert_same(ours(TEXTS[0], adapter="urgent"), pipeline(TASK, models["urgent"], tokenizer)(TEXTS[0]))


@pytest.mark.parametrize(("count", "problem_type"), HEADS)
def test_scores_are_those_the_head_was_trained_for(tmp_path: Path, count: int, problem_type: str | None) -> None:
    live, tokenizer = model(TASK, num_labels=count, problem_type=problem_type), word_pieces(tmp_path)
    ours = edgeadapt.pipeline(TorchSession(tmp_path, TASK, tokenizer, {None: live}))
    theirs = pipeline(TASK, live, tokenizer)
    assert_same(ours(TEXTS), theirs(TEXTS))
    assert_same(ours(TEXTS, top_k=None), theirs(TEXTS, top_k=None))
    assert_same(ours(TEXTS, function_to_apply="softmax"), theirs(TEXTS, function_to_apply="softmax"))


def test_a_head_with_too_few_labels_is_refused(tmp_path: Path) -> None:
    session = TorchSession(tmp_path, TASK, word_pieces(tmp_path), {None: model(TASK, num_labels=3)})
    session.labels = lambda adapter=None: ("only", "two")  # type: ignore[method-assign]
    with pytest.raises(BundleError, match="gives 3 scores and has 2 labels"):
        edgeadapt.pipeline(session)("hello")

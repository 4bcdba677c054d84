from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

import edgeadapt
from edgeadapt.errors import BundleError, ConfigError
from edgeadapt.tasks import token_classification
from tests.tasks.reference import TEXTS, TorchSession, assert_same, byte_level, model, pipeline, word_pieces

TASK = "token-classification"
LABELS = {0: "O", 1: "B-PER", 2: "I-PER", 3: "B-LOC", 4: "I-LOC", 5: "MISC"}
STRATEGIES = token_classification.STRATEGIES
GUESSED = "ignore:.*(fallback heuristic|mark where words begin).*:UserWarning"


@pytest.fixture(scope="module", params=["bert", "roberta"])
def pipelines(request: Any, tmp_path_factory: Any) -> tuple[Any, Any]:
    folder = tmp_path_factory.mktemp("bundle")
    tokenizer = word_pieces(folder) if request.param == "bert" else byte_level(folder)
    live = model(TASK, request.param, vocab_size=len(tokenizer), id2label=LABELS)
    return edgeadapt.pipeline(TorchSession(folder, TASK, tokenizer, {None: live})), pipeline(TASK, live, tokenizer)


@pytest.mark.filterwarnings(GUESSED)
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("inputs", [TEXTS[2], TEXTS[:1], TEXTS, [*TEXTS, "snow 雪 ☃ melts"]])
def test_results_are_those_of_transformers(pipelines: tuple[Any, Any], strategy: Any, inputs: Any) -> None:
    ours, theirs = pipelines
    expected = theirs(inputs, aggregation_strategy=strategy)
    assert_same(ours(inputs, aggregation_strategy=strategy), _with_floats(expected))
    assert expected


def _with_floats(result: Any) -> Any:
    """Makes Python floats of the numpy ones that transformers returns: ours go into JSON."""
    if isinstance(result, list):
        return [_with_floats(each) for each in result]
    return {key: float(value) if key == "score" else value for key, value in result.items()}


@pytest.mark.filterwarnings(GUESSED)
@pytest.mark.parametrize("ignore", [["PER", "O"], ["B-PER", "I-PER"], []])
@pytest.mark.parametrize("strategy", ["none", "simple", "max"])
def test_ignored_labels_are_left_out(pipelines: tuple[Any, Any], ignore: list[str], strategy: Any) -> None:
    ours, theirs = pipelines
    options: dict[str, Any] = {"ignore_labels": ignore, "aggregation_strategy": strategy}
    assert_same(ours(TEXTS, **options), theirs(TEXTS, **options))


@pytest.mark.filterwarnings(GUESSED)
@pytest.mark.parametrize("strategy", STRATEGIES[1:])
@pytest.mark.parametrize("stride", [0, 10, 60])
def test_windows_of_a_long_text_are_put_together_as_transformers_does(
    pipelines: tuple[Any, Any], strategy: Any, stride: int
) -> None:
    ours, theirs = pipelines
    options: dict[str, Any] = {"stride": stride, "aggregation_strategy": strategy}
    inputs = [" ".join(TEXTS * 6), TEXTS[0]]
    expected = theirs(inputs, **options)
    assert_same(ours(inputs, **options), expected)
    assert_same(ours(inputs, **options, batch_size=1), expected)


def test_a_long_text_is_cut_without_stride(pipelines: tuple[Any, Any]) -> None:
    ours, theirs = pipelines
    long = " ".join(TEXTS * 20)
    assert_same(ours(long), theirs(long))


def test_start_and_end_cut_the_word_out_of_the_text(pipelines: tuple[Any, Any]) -> None:
    for entity in pipelines[0](TEXTS[0], ignore_labels=[]):
        assert TEXTS[0][entity["start"] : entity["end"]].lower().strip() in entity["word"].lower()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"aggregation_strategy": "mean"}, "got 'mean', expected one of none, simple"),
        ({"stride": 4}, "needs an aggregation_strategy"),
        ({"stride": 200, "aggregation_strategy": "simple"}, "An overlap of 200 tokens: a window has room for 126"),
    ],
)
def test_wrong_options_are_refused(pipelines: tuple[Any, Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        pipelines[0](" ".join(TEXTS * 20), **options)


def test_words_that_are_guessed_are_said_so(tmp_path: Path) -> None:
    tokenizer = byte_level(tmp_path)
    live = model(TASK, "roberta", vocab_size=len(tokenizer))
    ours = edgeadapt.pipeline(TorchSession(tmp_path, TASK, tokenizer, {None: live}))
    with pytest.warns(UserWarning, match="doesn't mark where words begin"):
        ours("hello", aggregation_strategy="first")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours("hello", aggregation_strategy="simple")


@pytest.mark.filterwarnings(GUESSED)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_text_is_labelled_by_its_own_adapter(tmp_path: Path, strategy: Any) -> None:
    models = {
        None: model(TASK, id2label=LABELS),
        "parts": model(TASK, seed=1, id2label={0: "NOUN", 1: "VERB", 2: "ADJ"}),
    }
    tokenizer = word_pieces(tmp_path)
    ours = edgeadapt.pipeline(TorchSession(tmp_path, TASK, tokenizer, models))
    choices = ["parts", None, None, "parts"]
    expected = [
        pipeline(TASK, models[name], tokenizer)(text, aggregation_strategy=strategy)
        for name, text in zip(choices, TEXTS, strict=True)
    ]
    assert_same(ours(TEXTS, adapter=choices, aggregation_strategy=strategy), expected)


def test_a_head_with_too_few_labels_is_refused(tmp_path: Path) -> None:
    session = TorchSession(tmp_path, TASK, word_pieces(tmp_path), {None: model(TASK, id2label=LABELS)})
    session.labels = lambda adapter=None: ("O",)  # type: ignore[method-assign]
    with pytest.raises(BundleError, match="gives 6 scores for a token and has 1 labels"):
        edgeadapt.pipeline(session)("hello")

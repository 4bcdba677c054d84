from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import transformers

import edgeadapt
from edgeadapt.errors import ConfigError, InputError
from edgeadapt.tasks import question_answering
from tests.tasks.reference import TorchSession, assert_same, byte_level, model, pipeline, word_pieces

TASK = "question-answering"
PAIRS = [
    {"question": question, "context": context}
    for question, context in [
        ("Where is our parcel?", "Our parcel is in New York City, and it's rather late."),
        ("Who?", "The runners ran to the trains."),
        (
            "What was long?",
            "The film was rather long, and they changed the price of the tomorrow-trains twice: 3.50. " * 3,
        ),
    ]
]
LONG = {"question": "What was long?", "context": PAIRS[2]["context"] * 3}

# The reference hands PyTorch's tensors to numpy, which newer versions of numpy warn of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
needs_reference = pytest.mark.skipif(
    not hasattr(transformers, "QuestionAnsweringPipeline"), reason="transformers 5 has no question-answering pipeline"
)


@pytest.fixture(scope="module", params=["bert", "roberta"])
def bundle(request: Any, tmp_path_factory: Any) -> tuple[Any, Any, Any]:
    folder = tmp_path_factory.mktemp("bundle")
    tokenizer = word_pieces(folder) if request.param == "bert" else byte_level(folder)
    # Of models as random as the others', one softmax would leave a single answer with any score.
    live = model(TASK, request.param, vocab_size=len(tokenizer), initializer_range=0.1)
    return edgeadapt.pipeline(TorchSession(folder, TASK, tokenizer, {None: live})), live, tokenizer


@pytest.fixture(scope="module")
def pipelines(bundle: tuple[Any, Any, Any]) -> tuple[Any, Any]:
    ours, live, tokenizer = bundle
    return ours, pipeline(TASK, live, tokenizer)


@needs_reference
@pytest.mark.parametrize("row", range(len(PAIRS)))
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"top_k": 3},
        {"top_k": 40, "max_answer_len": 4},
        {"handle_impossible_answer": True},
        {"handle_impossible_answer": True, "top_k": 5},
        {"align_to_words": False, "top_k": 4},
        {"max_answer_len": 1},
    ],
)
def test_results_are_those_of_transformers(pipelines: tuple[Any, Any], row: int, options: dict[str, Any]) -> None:
    ours, theirs = pipelines
    assert_same(ours(**PAIRS[row], **options), theirs(**PAIRS[row], **options))


@needs_reference
@pytest.mark.parametrize("align", [True, False])
@pytest.mark.parametrize("options", [{}, {"max_seq_len": 40, "doc_stride": 10}, {"max_seq_len": 32, "doc_stride": 0}])
@pytest.mark.parametrize("impossible", [True, False])
def test_windows_of_a_long_context_are_those_of_transformers(
    pipelines: tuple[Any, Any], options: dict[str, Any], align: bool, impossible: bool
) -> None:
    ours, theirs = pipelines
    options = {**options, "top_k": 4, "align_to_words": align, "handle_impossible_answer": impossible}
    expected = theirs(**LONG, **options)
    assert_same(ours(**LONG, **options), expected)
    assert_same(ours(**LONG, **options, batch_size=1), expected)


@needs_reference
@pytest.mark.filterwarnings("ignore:Passing a list of SQuAD examples:FutureWarning")
def test_lists_are_nested_as_transformers_does(pipelines: tuple[Any, Any]) -> None:
    ours, theirs = pipelines
    questions, contexts = [pair["question"] for pair in PAIRS], [pair["context"] for pair in PAIRS]
    for top_k in (1, 2):
        assert_same(ours(PAIRS, top_k=top_k), theirs(PAIRS, top_k=top_k))
        assert_same(ours(PAIRS[:1], top_k=top_k), theirs(PAIRS[:1], top_k=top_k))
        assert_same(ours(PAIRS[0], top_k=top_k), theirs(PAIRS[0], top_k=top_k))
    assert_same(ours(question=questions, context=contexts), theirs(question=questions, context=contexts))
    assert_same(ours(question=questions, context=contexts[0]), theirs(question=questions, context=contexts[0]))
    assert_same(ours(question=questions[:1], context=contexts[0]), theirs(question=questions[:1], context=contexts[0]))


@needs_reference
def test_every_question_is_answered_by_its_own_adapter(tmp_path: Path) -> None:
    tokenizer = word_pieces(tmp_path)
    models = {None: model(TASK), "faq": model(TASK, seed=1)}
    ours = edgeadapt.pipeline(TorchSession(tmp_path, TASK, tokenizer, models))
    choices = ["faq", None, "faq"]
    pairs = [PAIRS[0], LONG, LONG]
    expected = [pipeline(TASK, models[name], tokenizer)(**pair) for name, pair in zip(choices, pairs, strict=True)]
    assert_same(ours(pairs, adapter=choices), expected)


@needs_reference
def test_with_the_context_first_results_are_those_of_transformers(tmp_path: Path) -> None:
    tokenizer, live = word_pieces(tmp_path), model(TASK, initializer_range=0.1)
    tokenizer.padding_side = "left"
    ours = edgeadapt.pipeline(TorchSession(tmp_path, TASK, tokenizer, {None: live}))
    theirs = pipeline(TASK, live, tokenizer)
    for pair in (*PAIRS, LONG):
        assert_same(ours(**pair, top_k=3), theirs(**pair, top_k=3))


def test_an_answer_is_a_part_of_its_context(bundle: tuple[Any, Any, Any]) -> None:
    ours = bundle[0]
    for pair in (*PAIRS, LONG):
        for answer in ours(pair, top_k=3):
            assert answer["answer"] == pair["context"][answer["start"] : answer["end"]]
            assert 0 <= answer["score"] <= 1


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ([], {}, InputError, "Give {"),
        ([], {"question": "who?"}, InputError, "input 0: context is None"),
        ([{"question": "", "context": "a"}], {}, InputError, "input 0: question is ''"),
        ([["who?"]], {}, InputError, "input 0: question is None"),
        ([], {"question": ["a", "b"], "context": ["c"]}, InputError, "Got 2 questions and 1 contexts"),
        ([PAIRS], {"adapter": ["a"]}, InputError, "1 adapters for 3 inputs"),
        ([PAIRS], {"top_k": 0}, ConfigError, "got 0 and 15"),
        ([PAIRS], {"max_seq_len": 500}, ConfigError, "the model takes 1 to 128"),
        ([LONG], {"max_seq_len": 30, "doc_stride": 29}, ConfigError, "An overlap of 29 tokens"),
        ([{**LONG, "question": "where " * 200}], {}, InputError, "Shorten the question"),
    ],
)
def test_wrong_calls_are_refused(
    bundle: tuple[Any, Any, Any], arguments: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        bundle[0](*arguments, **options)


def test_the_reference_is_named() -> None:
    assert "4.57" in (question_answering.__doc__ or "")

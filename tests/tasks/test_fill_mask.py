from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import edgeadapt
from edgeadapt.errors import ConfigError, InputError, UnsupportedError
from edgeadapt.tasks import fill_mask
from tests.tasks.reference import TorchSession, assert_same, byte_level, model, pipeline, word_pieces

TASK = "fill-mask"


@pytest.fixture(scope="module", params=["bert", "roberta"])
def pipelines(request: Any, tmp_path_factory: Any) -> tuple[Any, Any, list[str]]:
    folder = tmp_path_factory.mktemp("bundle")
    tokenizer = word_pieces(folder) if request.param == "bert" else byte_level(folder)
    live = model(TASK, request.param, vocab_size=len(tokenizer))
    texts = [fill_mask.with_mask(sample, tokenizer.mask_token)[:100] for sample in fill_mask.SAMPLES]
    return (
        edgeadapt.pipeline(TorchSession(folder, TASK, tokenizer, {None: live})),
        pipeline(TASK, live, tokenizer),
        texts,
    )


@pytest.mark.parametrize("options", [{}, {"top_k": 1}, {"top_k": 12}])
@pytest.mark.parametrize("rows", [slice(0, 1), slice(3, 4), slice(None)], ids=["one", "two masks", "all"])
def test_results_are_those_of_transformers(
    pipelines: tuple[Any, Any, list[str]], options: dict[str, Any], rows: slice
) -> None:
    ours, theirs, texts = pipelines
    assert_same(ours(texts[rows], **options), theirs(texts[rows], **options))
    assert_same(ours(texts[rows][0], **options), theirs(texts[rows][0], **options))


@pytest.mark.parametrize("targets", ["a", ["a", "e", "a"], ["e"]])
@pytest.mark.parametrize("top_k", [1, 5])
def test_targets_are_those_of_transformers(pipelines: tuple[Any, Any, list[str]], targets: Any, top_k: int) -> None:
    ours, theirs, texts = pipelines
    for text in (texts[0], texts[3], texts):
        assert_same(ours(text, targets=targets, top_k=top_k), theirs(text, targets=targets, top_k=top_k))


def test_a_target_of_several_tokens_stands_for_its_first_with_a_warning(pipelines: tuple[Any, Any, list[str]]) -> None:
    ours, theirs, texts = pipelines
    with pytest.warns(UserWarning, match="'quixotry' is no token of the vocabulary and stands for"):
        got = ours(texts[0], targets=["quixotry", "e"])
    assert_same(got, theirs(texts[0], targets=["quixotry", "e"]))


def test_no_target_left_is_an_error(pipelines: tuple[Any, Any, list[str]]) -> None:
    ours, _, texts = pipelines
    with pytest.raises(ConfigError, match="targets: got"), pytest.warns(UserWarning, match="is ignored"):
        ours(texts[0], targets=[""])


def test_a_text_without_mask_is_refused(pipelines: tuple[Any, Any, list[str]]) -> None:
    ours, _, texts = pipelines
    with pytest.raises(InputError, match="input 1"):
        ours([texts[0], "nothing hidden"])


def test_a_tokenizer_without_mask_is_refused(tmp_path: Path) -> None:
    tokenizer = word_pieces(tmp_path)
    tokenizer.mask_token = None
    session = TorchSession(tmp_path, TASK, tokenizer, {None: model(TASK)})
    with pytest.raises(UnsupportedError, match="no mask token"):
        edgeadapt.pipeline(session)("hello")


def test_every_text_is_filled_by_its_own_adapter(tmp_path: Path) -> None:
    tokenizer = word_pieces(tmp_path)
    models = {None: model(TASK), "legal": model(TASK, seed=1)}
    ours = edgeadapt.pipeline(TorchSession(tmp_path, TASK, tokenizer, models))
    texts = ["hello [MASK]", "our [MASK] is late!"]
    expected = [
        pipeline(TASK, models[name], tokenizer)(text) for name, text in zip(["legal", None], texts, strict=True)
    ]
    assert_same(ours(texts, adapter=["legal", None]), expected)

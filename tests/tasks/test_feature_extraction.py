from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import edgeadapt
from edgeadapt.errors import InputError
from edgeadapt.exporter.preprocess import load_preprocessing
from edgeadapt.tasks import feature_extraction
from tests import tiny
from tests.tasks.reference import TEXTS, TorchSession, assert_same, byte_level, model, pipeline, word_pieces

TASK = "feature-extraction"


@pytest.fixture(scope="module", params=["bert", "roberta"])
def pipelines(request: Any, tmp_path_factory: Any) -> tuple[Any, Any]:
    folder = tmp_path_factory.mktemp("bundle")
    tokenizer = word_pieces(folder) if request.param == "bert" else byte_level(folder)
    live = model(TASK, request.param, vocab_size=len(tokenizer))
    return edgeadapt.pipeline(TorchSession(folder, TASK, tokenizer, {None: live})), pipeline(TASK, live, tokenizer)


@pytest.mark.parametrize("inputs", [TEXTS[0], TEXTS[:1], TEXTS])
def test_lists_are_those_of_transformers_without_padding(pipelines: tuple[Any, Any], inputs: Any) -> None:
    ours, theirs = pipelines
    assert_same(ours(inputs), theirs(inputs))


@pytest.mark.parametrize("return_tensors", [True, "np"])
def test_arrays_are_those_of_transformers(pipelines: tuple[Any, Any], return_tensors: Any) -> None:
    ours, theirs = pipelines
    expected = theirs(TEXTS, return_tensors=True)
    for got, tensor in zip(ours(TEXTS, return_tensors=return_tensors), expected, strict=True):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, tensor.numpy(), atol=2e-5)


def test_a_row_does_not_hold_its_whole_batch(pipelines: tuple[Any, Any]) -> None:
    rows = pipelines[0](TEXTS, return_tensors=True)
    assert all(row.base is None for row in rows)


def test_long_texts_are_cut(pipelines: tuple[Any, Any]) -> None:
    ours, theirs = pipelines
    long = " ".join(TEXTS * 20)
    assert_same(ours(long), theirs(long, truncation=True))
    with pytest.raises(InputError, match="at most 128 tokens"):
        ours(long, truncation=False)


def test_images_give_the_features_of_their_patches(tmp_path: Path) -> None:
    tiny.image_processor(tmp_path)
    processor, live = load_preprocessing(tmp_path), model(TASK, "vit")
    ours = edgeadapt.pipeline(TorchSession(tmp_path, TASK, processor, {None: live}))
    theirs = pipeline("image-feature-extraction", live, processor)
    images = [Image.fromarray(picture) for picture in feature_extraction.IMAGE_SAMPLES[:2]]
    assert_same(ours(images), theirs(images))
    assert_same(ours(images[0]), theirs(images[0]))

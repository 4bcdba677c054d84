from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import edgeadapt
from edgeadapt.errors import ConfigError, InputError
from edgeadapt.exporter.preprocess import load_preprocessing
from edgeadapt.tasks import image_classification
from tests import tiny
from tests.tasks.reference import HEADS, TorchSession, assert_same, model, pipeline, transformers

TASK = "image-classification"
IMAGES = [Image.fromarray(picture) for picture in image_classification.SAMPLES]


@pytest.fixture(scope="module", params=[1, 3, 7])
def pipelines(request: Any, tmp_path_factory: Any) -> tuple[Any, Any]:
    folder = tiny.image_processor(tmp_path_factory.mktemp("bundle"))
    processor, live = (
        load_preprocessing(folder),
        model(TASK, "vit", num_labels=request.param),
    )
    return edgeadapt.pipeline(TorchSession(folder, TASK, processor, {None: live})), pipeline(TASK, live, processor)


@pytest.mark.parametrize("inputs", [IMAGES[0], IMAGES[:1], IMAGES])
@pytest.mark.parametrize("options", [{}, {"top_k": 2}, {"top_k": 100}, {"function_to_apply": "none"}])
def test_results_are_those_of_transformers(pipelines: tuple[Any, Any], inputs: Any, options: dict[str, Any]) -> None:
    ours, theirs = pipelines
    assert_same(ours(inputs, **options), theirs(inputs, **options))


@pytest.mark.parametrize("function", ["sigmoid", "softmax"])
def test_functions_are_those_of_transformers(pipelines: tuple[Any, Any], function: Any) -> None:
    ours, theirs = pipelines
    assert_same(ours(IMAGES[1], function_to_apply=function), theirs(IMAGES[1], function_to_apply=function))


def test_paths_arrays_and_images_are_the_same(pipelines: tuple[Any, Any], tmp_path: Path) -> None:
    ours, theirs = pipelines
    file = tmp_path / "picture.png"
    IMAGES[1].save(file)
    expected = theirs(str(file))
    for image in (file, str(file), IMAGES[1], image_classification.SAMPLES[1]):
        assert_same(ours(image), expected)


def test_images_are_read_batch_by_batch(tmp_path: Path) -> None:
    processor = load_preprocessing(tiny.image_processor(tmp_path))
    session = TorchSession(tmp_path, TASK, processor, {None: model(TASK, "vit")})
    with pytest.raises(InputError, match=r"missing\.png can't be read: No such file"):
        edgeadapt.pipeline(session)([IMAGES[0], IMAGES[1], "missing.png"], batch_size=2)
    assert session.batches == [2]


def test_every_image_is_scored_by_its_own_adapter(tmp_path: Path) -> None:
    processor = load_preprocessing(tiny.image_processor(tmp_path))
    models = {None: model(TASK, "vit"), "birds": model(TASK, "vit", seed=1, id2label={0: "owl", 1: "crow", 2: "gull"})}
    ours = edgeadapt.pipeline(TorchSession(tmp_path, TASK, processor, models))
    choices = ["birds", None, "birds"]
    expected = [pipeline(TASK, models[name], processor)(image) for name, image in zip(choices, IMAGES)]  # noqa: B905
    assert_same(ours(IMAGES[:3], adapter=choices), expected)


@pytest.mark.parametrize(("count", "problem_type"), HEADS)
def test_scores_are_those_the_head_was_trained_for(tmp_path: Path, count: int, problem_type: str | None) -> None:
    if problem_type == "regression" and transformers.__version__.startswith("4."):
        pytest.skip("transformers 4 takes a regression of images for a classification")
    processor = load_preprocessing(tiny.image_processor(tmp_path))
    live = model(TASK, "vit", num_labels=count, problem_type=problem_type)
    ours = edgeadapt.pipeline(TorchSession(tmp_path, TASK, processor, {None: live}))
    theirs = pipeline(TASK, live, processor)
    assert_same(ours(IMAGES), theirs(IMAGES))
    assert_same(ours(IMAGES[1], function_to_apply="softmax"), theirs(IMAGES[1], function_to_apply="softmax"))


def test_top_k_has_to_be_a_count(pipelines: tuple[Any, Any]) -> None:
    with pytest.raises(ConfigError, match="top_k: got 0"):
        pipelines[0](IMAGES, top_k=0)

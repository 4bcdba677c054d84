from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeadapt import tasks
from edgeadapt.errors import UnsupportedError
from edgeadapt.tasks import (
    Task,
    automatic_speech_recognition,
    feature_extraction,
    fill_mask,
    image_classification,
    multiple_choice,
    question_answering,
    text2text_generation,
    text_classification,
    text_generation,
    token_classification,
)

ALL: list[Task] = [
    automatic_speech_recognition,
    feature_extraction,
    fill_mask,
    image_classification,
    multiple_choice,
    question_answering,
    text2text_generation,
    text_classification,
    text_generation,
    token_classification,
]
"""Also the type checker's proof that the modules are tasks."""


def test_the_files_of_the_folder_are_the_tasks() -> None:
    files = {path.stem for path in Path(tasks.__file__).parent.glob("*.py") if not path.stem.startswith("_")}
    assert tasks.names() == sorted(file.replace("_", "-") for file in files) == sorted(task.NAME for task in ALL)


@pytest.mark.parametrize("name", tasks.names())
def test_a_task_is_found_by_its_name(name: str) -> None:
    task = tasks.get(name)
    assert name == task.NAME
    assert all(axes[0] == "batch" for axes in task.OUTPUTS.values())
    assert any("labels" in axes for axes in task.OUTPUTS.values()) == task.LABELS
    assert callable(task.postprocess) and callable(task.Pipeline)


def test_an_unknown_task_is_refused_by_name() -> None:
    with pytest.raises(
        UnsupportedError, match=r"no task 'text-clasification' \(did you mean 'text-classification'\?\)"
    ):
        tasks.get("text-clasification")


def test_files_shared_by_tasks_are_no_tasks() -> None:
    with pytest.raises(UnsupportedError):
        tasks.get("_scores")


@pytest.mark.parametrize("name", ["text-classification", "token-classification", "fill-mask", "feature-extraction"])
def test_sample_texts_are_of_several_lengths(name: str) -> None:
    lengths = sorted(len(text.split()) for text in tasks.get(name).SAMPLES)
    assert lengths[0] <= 3 and 90 <= lengths[-1] <= 128 and len(set(lengths)) >= 5


def test_sample_questions_have_contexts_of_several_lengths() -> None:
    lengths = sorted(len(context.split()) for _, context in question_answering.SAMPLES)
    assert lengths[0] <= 12 and lengths[-1] >= 90


def test_sample_masks_become_the_tokenizers() -> None:
    for sample in fill_mask.SAMPLES:
        assert fill_mask.PLACEHOLDER in sample
        assert fill_mask.PLACEHOLDER not in fill_mask.with_mask(sample, "<mask>")


def test_sample_pictures_are_rgb_and_all_different() -> None:
    pictures = image_classification.SAMPLES
    assert all(picture.dtype == np.uint8 and picture.shape[-1] == 3 for picture in pictures)
    assert len({picture.shape for picture in pictures}) == len(pictures)
    assert all(picture.std() > 20 for picture in pictures)

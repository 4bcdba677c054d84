"""The whole way: base and PEFT adapters, exported, run as a pipeline, against `transformers.pipeline` with PEFT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import pytest

import edgeadapt
from edgeadapt.errors import AdapterError
from edgeadapt.exporter.preprocess import load_preprocessing
from tests import tiny
from tests.tasks.reference import TEXTS, assert_same, pipeline, transformers

LABELS = {"spam": ("ham", "spam"), "intents": tuple(f"LABEL_{index}" for index in range(5))}


def reference(base: Path, adapter: Path, labels: tuple[str, ...]) -> Any:
    """Returns transformers' own pipeline for one adapter."""
    options = {"id2label": dict(enumerate(labels)), "label2id": {label: index for index, label in enumerate(labels)}}
    with tiny.quiet():
        model = transformers.AutoModelForSequenceClassification.from_pretrained(base, **options)
        # Merged, since transformers 4 refuses models wrapped by PEFT.
        whole: Any = peft.PeftModel.from_pretrained(model, str(adapter))
        return pipeline("text-classification", whole.merge_and_unload().eval(), load_preprocessing(base))


@pytest.mark.parametrize("opened", [False, True], ids=["folder", "session"])
@pytest.mark.parametrize("name", LABELS)
def test_an_adapter_answers_as_transformers_does(
    tiny_bundle: Path, tiny_base: Path, tiny_adapters: dict[str, Path], name: str, opened: bool
) -> None:
    ours = edgeadapt.pipeline(edgeadapt.load(tiny_bundle) if opened else tiny_bundle)
    theirs = reference(tiny_base, tiny_adapters[name], LABELS[name])
    assert_same(ours(TEXTS, adapter=name), theirs(TEXTS))
    assert_same(ours(TEXTS[0], adapter=name, top_k=None), theirs(TEXTS[0], top_k=None))


def test_rows_of_one_batch_have_their_own_adapters_and_labels(
    tiny_bundle: Path, tiny_base: Path, tiny_adapters: dict[str, Path]
) -> None:
    theirs = {name: reference(tiny_base, tiny_adapters[name], labels) for name, labels in LABELS.items()}
    choices = ["spam", "intents", "intents", "spam"]
    expected = [theirs[name](text, top_k=None) for name, text in zip(choices, TEXTS, strict=True)]
    assert_same(edgeadapt.pipeline(str(tiny_bundle))(TEXTS, adapter=choices, top_k=None), expected)


def test_a_base_without_head_asks_for_an_adapter(tiny_bundle: Path) -> None:
    with pytest.raises(AdapterError, match="choose an adapter"):
        edgeadapt.pipeline(tiny_bundle)(TEXTS)

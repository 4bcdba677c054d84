"""The whole way: base and PEFT adapters, exported, run as a pipeline, against `transformers.pipeline` with PEFT."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import peft
import pytest

import edgeadapt
from edgeadapt.errors import AdapterError, CheckpointError
from edgeadapt.exporter.adding import add
from edgeadapt.exporter.pipeline import AdapterSource, export
from edgeadapt.exporter.preprocess import load_preprocessing
from tests import tiny
from tests.tasks.reference import TEXTS, assert_same, pipeline, transformers

LABELS = {"spam": ("ham", "spam"), "intents": tuple(f"LABEL_{index}" for index in range(5))}
SEVERAL = "multi_label_classification"
RESIZED = {"ignore_mismatched_sizes": True}
"""For an adapter whose head has another number of labels than the base's."""


def reference(base: Path, adapter: Path, labels: tuple[str, ...], **config: Any) -> Any:
    """Returns transformers' own pipeline for one adapter; `config` goes over the base's configuration."""
    options = {
        **config,
        "id2label": dict(enumerate(labels)),
        "label2id": {label: index for index, label in enumerate(labels)},
    }
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


@pytest.fixture(scope="module")
def headed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base whose head answers several labels at a time, with an adapter that keeps it and two with their own."""
    folder = tmp_path_factory.mktemp("headed")
    base = tiny.base(folder / "base", task="text-classification", num_labels=3, problem_type=SEVERAL)
    tiny.lora_adapter(base, folder / "keeps", rank=3, targets=r".*query", task_type=None)
    tiny.lora_adapter(base, folder / "price", num_labels=1, seed=1)
    _write_config(folder / "price", {"problem_type": "regression"})
    tiny.lora_adapter(base, folder / "silent", num_labels=2, seed=2)
    export(base, {name: folder / name for name in ("keeps", "price")}, folder / "bundle", task="text-classification")
    add(folder / "bundle", folder / "silent", "silent")
    return folder


def _write_config(folder: Path, config: dict[str, Any]) -> None:
    (folder / "config.json").write_text(json.dumps(config))


def test_scores_are_those_each_head_was_trained_for(headed: Path) -> None:
    three = ("LABEL_0", "LABEL_1", "LABEL_2")
    theirs = {
        None: pipeline(
            "text-classification",
            transformers.AutoModelForSequenceClassification.from_pretrained(headed / "base"),
            load_preprocessing(headed / "base"),
        ),
        "keeps": reference(headed / "base", headed / "keeps", three),
        "price": reference(headed / "base", headed / "price", three[:1], problem_type="regression", **RESIZED),
        "silent": reference(headed / "base", headed / "silent", three[:2], problem_type=None, **RESIZED),
    }
    ours = edgeadapt.pipeline(headed / "bundle")
    for name, live in theirs.items():
        assert_same(ours(TEXTS, adapter=name, top_k=None), live(TEXTS, top_k=None))
    mixed = [live(text, top_k=None) for live, text in zip(theirs.values(), TEXTS, strict=True)]
    assert_same(ours(TEXTS, adapter=list(theirs), top_k=None), mixed)


def test_what_is_said_beside_a_folder_is_what_its_head_answers(tiny_base: Path, tmp_path: Path) -> None:
    """PEFT saves no config.json: of a head with several answers at a time, nothing in the folder tells."""
    topics = tiny.lora_adapter(tiny_base, tmp_path / "topics", num_labels=3, seed=1)
    price = tiny.lora_adapter(tiny_base, tmp_path / "price", num_labels=1, seed=2)
    labels = ("film", "phone", "weather")
    source = AdapterSource(topics, labels, SEVERAL)
    bundle = export(tiny_base, {"topics": source, "silent": topics}, tmp_path / "bundle").path
    add(bundle, price, "price", problem_type="regression")
    add(bundle, bundle / "adapters" / "silent", "told", labels=labels, problem_type=SEVERAL)
    ours = edgeadapt.pipeline(bundle)

    several = reference(tiny_base, topics, labels, problem_type=SEVERAL)(TEXTS, top_k=None)
    for name in ("topics", "told"):
        assert_same(ours(TEXTS, adapter=name, top_k=None), several)
    single = reference(tiny_base, price, ("LABEL_0",), problem_type="regression")
    assert_same(ours(TEXTS, adapter="price", top_k=None), single(TEXTS, top_k=None))
    # Sigmoids do not add up to 1, softmaxes do: a problem type that got lost would show.
    answers = {name: ours(TEXTS, adapter=name, top_k=None) for name in ("topics", "silent")}
    sums = {name: [sum(each["score"] for each in row) for row in rows] for name, rows in answers.items()}
    assert sums["silent"] == pytest.approx([1] * len(TEXTS))
    assert all(abs(total - 1) > 0.01 for total in sums["topics"])


def test_a_lora_on_the_bases_head_answers_as_that_head(tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base", task="text-classification", num_labels=3, problem_type=SEVERAL)
    tuned = tiny.lora_adapter(base, tmp_path / "tuned", targets=r".*classifier", task_type=None)
    ours = edgeadapt.pipeline(export(base, {"tuned": tuned}, tmp_path / "bundle", task="text-classification").path)
    theirs = reference(base, tuned, ("LABEL_0", "LABEL_1", "LABEL_2"))
    assert_same(ours(TEXTS, adapter="tuned", top_k=None), theirs(TEXTS, top_k=None))


def test_a_problem_type_that_there_is_not_is_refused(headed: Path, tmp_path: Path) -> None:
    adapter = tiny.lora_adapter(headed / "base", tmp_path / "odd", num_labels=2)
    _write_config(adapter, {"problem_type": "multi-label"})
    with pytest.raises(CheckpointError, match="problem_type: got 'multi-label', expected null or one of regression"):
        add(headed / "bundle", adapter, "odd")

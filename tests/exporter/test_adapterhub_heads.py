"""AdapterHub's heads of multiple choice against the live library, and every head that transformers' models lack."""

from __future__ import annotations

import importlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import edgeadapt
from edgeadapt.errors import BindingError, UnsupportedError
from edgeadapt.exporter.adding import add
from edgeadapt.exporter.pipeline import export
from tests import hub, tiny
from tests.exporter.test_adapterhub import check, config

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("adapters") is None, reason="AdapterHub's library is not there (it needs transformers 4)"
)

POOLED = {"layers": 1, "use_pooler": True}
OWN: dict[str, tuple[dict[str, Any], ...]] = {
    "bert": (POOLED, {}),
    "roberta": (POOLED, {}),
    "xlm-roberta": ({},),
    "albert": (POOLED, {}),
    "distilbert": ({"activation_function": "relu"},),
    "electra": ({"activation_function": "gelu"},),
    "deberta-v2": ({"activation_function": "gelu"},),
}
"""Heads that are transformers' own, by family; `{}` is the library's default, two layers with a tanh between."""

TASK = "multiple-choice"


def choice_head(base: Path, folder: Path, seed: int = 0, **options: Any) -> Path:
    head = {"kind": "multiple_choice", **options}
    return hub.adapter(base, folder, config("SeqBnConfig", reduction_factor=4), seed, head)


@pytest.mark.parametrize("family", OWN)
def test_a_head_of_multiple_choice_is_transformers_own(family: str, tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base", family)
    made = {
        f"head{number}": choice_head(base, tmp_path / f"head{number}", number, num_choices=number + 3, **options)
        for number, options in enumerate(OWN[family])
    }

    check(base, made, tmp_path / "bundle", TASK)


def test_the_bundle_answers_as_adapters_does(tmp_path: Path) -> None:
    """With the number of choices that the head was trained with, as the library's own model takes them."""
    import transformers

    adapters: Any = importlib.import_module("adapters")
    base = tiny.base(tmp_path / "base")
    made = choice_head(base, tmp_path / "made", num_choices=3)
    export(base, {"made": made}, tmp_path / "bundle", task=TASK)
    question, choices = "where is our parcel?", ["at the village.", "it was long", "you never won a prize, so send it"]
    live = adapters.AutoAdapterModel.from_pretrained(base)
    live.set_active_adapters(live.load_adapter(str(made), use_safetensors=True))
    tokens = transformers.AutoTokenizer.from_pretrained(base)(
        [question] * 3, choices, padding=True, return_tensors="pt"
    )
    with torch.no_grad():
        logits = live.eval()(**{name: each[None] for name, each in tokens.items()}).logits
    assert logits.shape == (1, 3)

    got = edgeadapt.pipeline(tmp_path / "bundle")(question=question, choices=choices, adapter="made", top_k=None)

    scores = [record["score"] for record in sorted(got, key=lambda record: record["index"])]
    np.testing.assert_allclose(scores, torch.softmax(logits[0], -1).numpy(), atol=1e-5)


def test_two_layers_over_alberts_first_token_are_its_pooler_and_classifier(tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base", "albert")
    made = hub.adapter(base, tmp_path / "made", config("SeqBnConfig", reduction_factor=4), head={"num_labels": 3})

    check(base, {"made": made}, tmp_path / "bundle", "text-classification")


def test_the_head_tells_the_task(tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base")
    made = choice_head(base, tmp_path / "made", **POOLED)

    result = export(base, {"made": made}, tmp_path / "bundle")

    assert json.loads((result.path / "edgeadapt.json").read_text())["task"] == TASK


@pytest.mark.parametrize(
    ("kind", "task", "own"),
    [
        ("multiple_choice", "text-classification", TASK),
        ("tagging", "text-classification", "token-classification"),
        ("classification", TASK, "text-classification"),
    ],
)
def test_a_head_of_another_task_is_refused(kind: str, task: str, own: str, tmp_path: Path) -> None:
    """All of them are a `classifier` of one output, and would fit."""
    base = tiny.base(tmp_path / "base", task=task, num_labels=1)
    head = {"kind": kind, "layers": 1, **({} if kind == "multiple_choice" else {"num_labels": 1})}
    head |= {} if kind == "tagging" else {"use_pooler": True}
    made = hub.adapter(base, tmp_path / "made", config("SeqBnConfig", reduction_factor=4), head=head)
    message = f"has a head for {own}, and this is {task}: classifier would be misread"

    with pytest.raises(BindingError, match=message):
        export(base, {"made": made}, tmp_path / "bundle", task=task)
    assert not (tmp_path / "bundle").exists()

    export(base, {}, tmp_path / "bundle", task=task)
    with pytest.raises(BindingError, match=message):
        add(tmp_path / "bundle", made, "made")
    assert sorted(each.name for each in (tmp_path / "bundle" / "adapters").iterdir()) == ["none"]


LACKING: dict[str, tuple[str, dict[str, Any], str]] = {
    "another activation": ("distilbert", {"kind": "multiple_choice"}, "multiple_choice of 2 layers, activation tanh"),
    "three layers": ("bert", {"kind": "multiple_choice", "layers": 3}, "multiple_choice of 3 layers"),
    "one layer, no pooler": ("bert", {"kind": "multiple_choice", "layers": 1}, "use_pooler false"),
    "two layers on a pooler": ("bert", {"kind": "multiple_choice", "use_pooler": True}, "use_pooler true"),
    "dependency parsing": ("bert", {"kind": "dependency_parsing", "num_labels": 3}, "dependency_parsing"),
    "masked language model": ("bert", {"kind": "masked_lm"}, "masked_lm of 2 layers, activation gelu"),
    "causal language model": ("gpt2", {"kind": "causal_lm", "layers": 1}, "causal_lm of 1 layers"),
    "images of two layers": ("vit", {"kind": "image_classification", "layers": 2}, "image_classification of 2 layers"),
    "pooled images": (
        "vit",
        {"kind": "image_classification", "layers": 1, "use_pooler": True},
        "image_classification of 1 layers",
    ),
}


@pytest.mark.parametrize("name", LACKING)
def test_a_head_that_transformers_model_lacks_is_refused_by_name(name: str, tmp_path: Path) -> None:
    family, head, message = LACKING[name]
    base = tiny.base(tmp_path / "base", family)
    made = hub.adapter(base, tmp_path / "made", config("SeqBnConfig", reduction_factor=4), head=head)
    task = {"vit": "image-classification", "gpt2": "text-classification"}.get(family, TASK)

    with pytest.raises(UnsupportedError, match=message):
        export(base, {"made": made}, tmp_path / "bundle", task=task)
    assert not (tmp_path / "bundle").exists()

"""Every architecture and task: two adapters on all linear layers, alone, mixed and folded, against live PEFT."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from safetensors.numpy import load_file, save_file

from edgeadapt.exporter.merging import merge
from edgeadapt.exporter.pipeline import Exported, export
from edgeadapt.graph import rotary, sites
from tests import tiny

MAX_ERROR = 1e-5
LEAST_EFFECT = 0.05
TRANSFORMERS_5 = int(transformers.__version__.split(".")[0]) >= 5


@dataclass(frozen=True)
class Recipe:
    """A family and a task, with the modules that its adapters train whole."""

    family: str
    task: str = "text-classification"
    head: tuple[str, ...] = ("classifier",)
    targets: str = "all-linear"
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.family}-{self.task}"


RECIPES = [
    Recipe("bert", head=("pooler", "classifier"), options={"bias": "lora_only"}),
    Recipe("roberta"),
    Recipe("xlm-roberta", options={"bias": "all"}),
    Recipe("camembert", options={"use_rslora": True}),
    Recipe("distilbert", head=("pre_classifier", "classifier")),
    Recipe("albert", options={"bias": "all"}),
    Recipe("electra"),
    Recipe("mpnet", options={"bias": "all"}),
    Recipe("deberta-v2", head=("pooler", "classifier")),
    Recipe("modernbert", head=("head", "classifier")),
    Recipe("vit", "image-classification"),
    Recipe("deit", "image-classification"),
    Recipe("beit", "image-classification"),
    Recipe("dinov2", "image-classification"),
    Recipe("swin", "image-classification"),
    Recipe("roberta", "token-classification"),
    Recipe("modernbert", "token-classification", head=("head", "classifier")),
    Recipe("bert", "question-answering", head=("qa_outputs",), targets=r".*(query|dense)"),
    Recipe("albert", "question-answering", head=("qa_outputs",), targets=r".*(query|ffn)"),
    Recipe("roberta", "multiple-choice"),
    Recipe("distilbert", "multiple-choice", head=("pre_classifier", "classifier")),
    Recipe("albert", "multiple-choice", options={"bias": "all"}),
    Recipe("electra", "multiple-choice", head=("sequence_summary", "classifier")),
    Recipe("mpnet", "multiple-choice"),
    Recipe("deberta-v2", "multiple-choice", head=("pooler", "classifier")),
    Recipe("modernbert", "multiple-choice", head=("head", "classifier")),
    Recipe("bert", "fill-mask", head=(), targets=r".*(query|decoder)"),  # the decoder's weight is the embedding's
    Recipe("xlm-roberta", "fill-mask", head=(), targets=r".*(query|word_embeddings)"),
    Recipe("mpnet", "feature-extraction", head=()),
    Recipe("electra", "feature-extraction", head=()),
]


def exported(recipe: Recipe, folder: Path) -> Exported:
    """Exports a tiny base of the family with two adapters of other ranks and, where there are labels, label counts."""
    headed = recipe.task in ("question-answering", "fill-mask")
    tiny.base(folder / "base", recipe.family, recipe.task if headed else "feature-extraction")
    counts = (3, 2) if recipe.task.endswith("-classification") else (None, None)
    options = {"modules_to_save": list(recipe.head) or None, **recipe.options}
    adapters = {
        name: tiny.lora_adapter(
            folder / "base", folder / name, recipe.task, rank, recipe.targets, count, seed=rank, **options
        )
        for name, rank, count in zip(("wide", "narrow"), (4, 2), counts, strict=True)
    }
    return export(folder / "base", adapters, folder / "bundle", task=recipe.task)


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_a_family_says_what_peft_says(recipe: Recipe, tmp_path: Path) -> None:
    result = exported(recipe, tmp_path)

    assert [report.name for report in result.reports] == ["none", "wide", "narrow", "mixed rows"]
    for report in result.reports:
        assert report.max_abs_error <= MAX_ERROR
        if report.name != "none":
            assert report.effect >= LEAST_EFFECT
            assert report.max_abs_error < 0.001 * report.effect
    for name in ("wide", "narrow"):
        (folded,) = merge(result.path, [name], tmp_path / f"{name}.onnx", mode="fold")
        assert folded.max_abs_error <= MAX_ERROR


def test_a_model_that_onnxruntime_rejects_at_opset_23_is_written_at_18_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ONNX Runtime does with rotary positions, as the exporter leaves them."""
    monkeypatch.setattr(rotary, "widen", lambda model: None)
    result = exported(Recipe("modernbert", head=("head", "classifier")), tmp_path)

    manifest = json.loads((result.path / "edgeadapt.json").read_text())
    assert manifest["model"]["opset"] == 18
    assert any("RotaryEmbedding" in note for note in result.notes)


def test_one_shared_layer_is_one_site_with_many_calls(tmp_path: Path) -> None:
    tiny.base(tmp_path / "base", "albert", num_hidden_layers=5)
    tiny.lora_adapter(tmp_path / "base", tmp_path / "one", "feature-extraction", targets=["query"])
    result = export(tmp_path / "base", {"one": tmp_path / "one"}, tmp_path / "bundle")

    wiring = sites.read(result.path).sites["encoder.albert_layer_groups.0.albert_layers.0.attention.query"]
    assert len(wiring.calls) == 5
    assert result.reports[1].max_abs_error <= MAX_ERROR < LEAST_EFFECT <= result.reports[1].effect


OLD_NAMES = {
    "vit": ("vit.layers.{}.attention.{}_proj", "vit.encoder.layer.{}.attention.attention.{}"),
    "deit": ("deit.layers.{}.attention.{}_proj", "deit.encoder.layer.{}.attention.attention.{}"),
    "beit": ("beit.layers.{}.attention.{}_proj", "beit.encoder.layer.{}.attention.attention.{}"),
    "dinov2": ("dinov2.encoder.layer.{}.attention.{}_proj", "dinov2.encoder.layer.{}.attention.attention.{}"),
    "swin": ("swin.encoder.layers.{}.blocks.0.attention.{}_proj", "swin.encoder.layers.{}.blocks.0.attention.self.{}"),
}


@pytest.mark.skipif(not TRANSFORMERS_5, reason="transformers 4 has the old names itself")
@pytest.mark.parametrize("family", sorted(OLD_NAMES))
def test_an_image_adapter_trained_before_transformers_5_finds_its_sites(family: str, tmp_path: Path) -> None:
    tiny.base(tmp_path / "base", family)
    new = tiny.lora_adapter(
        tmp_path / "base",
        tmp_path / "new",
        "image-classification",
        targets=["q_proj", "v_proj"],
        num_labels=3,
        modules_to_save=["classifier"],
        alpha_pattern={"layers?.1.*q_proj": 3},
    )
    old = _renamed(new, tmp_path / "old", *OLD_NAMES[family])

    result = export(tmp_path / "base", {"new": new, "old": old}, tmp_path / "bundle", task="image-classification")

    by_name = {report.name: report for report in result.reports}
    assert by_name["old"].max_abs_error <= MAX_ERROR < LEAST_EFFECT <= by_name["old"].effect
    case = {name: np.load(result.path / "adapters" / name / "parity.npz") for name in ("new", "old")}
    np.testing.assert_array_equal(case["old"]["output/logits"], case["new"]["output/logits"])


def _renamed(source: Path, target: Path, new: str, old: str) -> Path:
    """Writes an adapter under the module names of transformers 4."""
    target.mkdir()
    tensors = load_file(source / "adapter_model.safetensors")
    words = {"q": "query", "v": "value"}
    pairs = {new.format(layer, key): old.format(layer, word) for layer in range(2) for key, word in words.items()}
    renamed = {}
    for name, tensor in tensors.items():
        for today, before in pairs.items():
            name = name.replace(today, before)
        renamed[name] = tensor
    assert set(renamed) != set(tensors)
    save_file(renamed, target / "adapter_model.safetensors")
    config = json.loads((source / "adapter_config.json").read_text())
    config["target_modules"] = ["query", "value"]
    config["alpha_pattern"] = {"layers?.1.*query": 3}
    (target / "adapter_config.json").write_text(json.dumps(config))
    return target

"""Every PEFT type that has no reader of its own: PEFT merges it, and its change is a LoRA; against live PEFT."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest

from edgeadapt import bundle
from edgeadapt.errors import EdgeAdaptError, UnsupportedError
from edgeadapt.exporter.adding import add
from edgeadapt.exporter.merging import merge
from edgeadapt.exporter.pipeline import AdapterSource, export
from tests import tiny

MAX_ERROR = 1e-5
LEAST_EFFECT = 0.05
TARGETS = {"bert": ["query", "value"], "llama": ["q_proj", "v_proj"]}


def options(kind: str, **given: Any) -> Callable[[list[str]], Any]:
    """Returns what makes PEFT's configuration of this name for target modules, or None where this PEFT has none."""

    def make(targets: list[str]) -> Any:
        found = getattr(peft, f"{kind}Config", None)
        return None if found is None else found(target_modules=targets, **given)

    return make


TYPES: dict[str, Callable[[list[str]], Any]] = {
    "c3a": options("C3A", block_size=16),
    "delora": options("Delora", r=3),
    "fourierft": options("FourierFT", n_frequency=60, scaling=200.0),
    "gralora": options("Gralora", r=4, alpha=1, gralora_k=2),
    "hra": options("HRA", r=4),
    "miss": options("Miss", r=4),
    "randlora": options("RandLora", r=4, randlora_alpha=4),
    "road": options("Road", variant="road_1", group_size=16),
    "shira": options("Shira", r=3),
    "vblora": options("VBLoRA", r=2, num_vectors=20, vector_length=16),
    "waveft": options("WaveFT", n_frequency=60, scaling=5.0),
}


@pytest.mark.parametrize(
    ("name", "family"), [*((name, "bert") for name in TYPES), ("hra", "llama"), ("shira", "llama")]
)
def test_what_peft_merges_says_what_peft_says(name: str, family: str, tmp_path: Path) -> None:
    config = TYPES[name](TARGETS[family])
    if config is None:
        pytest.skip("this PEFT has no such type")
    base = tiny.base(tmp_path / "base", family)
    adapters = {
        "one": tiny.peft_adapter(base, tmp_path / "one", config, "feature-extraction", seed=1),
        "lora": tiny.lora_adapter(base, tmp_path / "lora", "feature-extraction", targets=TARGETS[family]),
    }

    result = export(base, adapters, tmp_path / "bundle", task="feature-extraction")

    for report in result.reports:
        assert report.max_abs_error <= MAX_ERROR, report
        if report.name != "none":
            assert report.effect >= LEAST_EFFECT, report
            assert report.max_abs_error < 0.001 * report.effect
    (folded,) = merge(result.path, ["one"], tmp_path / "one.onnx", mode="fold")
    assert folded.max_abs_error <= MAX_ERROR
    assert bundle.read_adapter(result.path / "adapters" / "one").method == name


def test_a_head_and_biases_come_along(tiny_base: Path, tmp_path: Path) -> None:
    config = peft.HRAConfig(r=4, target_modules=["query"], bias="all", task_type="SEQ_CLS")
    adapter = tiny.peft_adapter(tiny_base, tmp_path / "one", config, "text-classification", 3)

    result = export(tiny_base, {"one": adapter}, tmp_path / "bundle", task="text-classification")

    report = next(report for report in result.reports if report.name == "one")
    assert report.max_abs_error <= MAX_ERROR
    assert report.effect >= LEAST_EFFECT
    record = bundle.read_adapter(result.path / "adapters" / "one")
    assert record.labels == ("LABEL_0", "LABEL_1", "LABEL_2")
    assert {"modules_to_save"} == set(record.sites["classifier"])


def test_a_lora_that_stands_in_is_measured_and_said(tmp_path: Path) -> None:
    """Rank 12 of 16 is near enough; the error is what PyTorch says, and is stored beside the parity."""
    base = tiny.base(tmp_path / "base")
    adapter = tiny.lora_adapter(base, tmp_path / "one", "feature-extraction", rank=16, targets=["query", "value"])

    result = export(base, {"one": AdapterSource(adapter, as_lora=12)}, tmp_path / "bundle", task="feature-extraction")

    facts = bundle.read_adapter(result.path / "adapters" / "one").source["as_lora"]
    assert (facts["rank"], facts["method"]) == (12, "lora")
    assert 0.5 < facts["kept"] < 1
    assert 0.001 < facts["max_abs_error"] < 0.5 * facts["effect"]
    (note,) = [note for note in result.notes if note.startswith("one: ")]
    assert f"{facts['kept']:.2%} of its change" in note
    report = next(report for report in result.reports if report.name == "one")
    assert report.max_abs_error <= MAX_ERROR  # against PyTorch with the LoRAs that stand in


def test_a_lora_of_enough_rank_stands_in_without_a_loss(tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base")
    config = peft.IA3Config(target_modules=["key"], feedforward_modules=[])
    adapter = tiny.peft_adapter(base, tmp_path / "one", config, "feature-extraction")

    result = export(
        base, {"one": AdapterSource(adapter, as_lora=tiny.HIDDEN)}, tmp_path / "bundle", task="feature-extraction"
    )

    record = bundle.read_adapter(result.path / "adapters" / "one")
    assert record.source["as_lora"]["max_abs_error"] < 1e-5
    assert record.method == "lora"
    assert record.source["as_lora"]["method"] == "ia3"


def test_a_rank_that_is_too_small_is_refused_with_one_that_is_not(tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base")
    adapter = tiny.lora_adapter(base, tmp_path / "one", "feature-extraction", rank=16, targets=["query", "value"])

    with pytest.raises(UnsupportedError, match=r"LoRAs of rank 1 keep(.|\n)*Rank \d+ would keep 99%"):
        export(base, {"one": AdapterSource(adapter, as_lora=1)}, tmp_path / "bundle", task="feature-extraction")
    assert not (tmp_path / "bundle").exists()


def test_what_is_no_change_of_weights_is_refused(tiny_base: Path, tmp_path: Path) -> None:
    adapter = tiny.lora_adapter(tiny_base, tmp_path / "one", num_labels=3)
    config = json.loads((adapter / "adapter_config.json").read_text())
    for kind, words in (("ADAPTION_PROMPT", "PEFT can't merge it"), ("NOT_YET", "has no type 'NOT_YET'")):
        (adapter / "adapter_config.json").write_text(json.dumps({**config, "peft_type": kind}))
        with pytest.raises(EdgeAdaptError, match=words):
            export(tiny_base, {"one": adapter}, tmp_path / "bundle", task="text-classification")


def test_add_says_that_such_a_type_needs_an_export(tiny_base: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    config = peft.HRAConfig(r=4, target_modules=["query"], task_type="SEQ_CLS")
    adapter = tiny.peft_adapter(tiny_base, tmp_path / "one", config, "text-classification", 3)

    with pytest.raises(UnsupportedError, match=r"'HRA' is not supported(.|\n)*export it with the base"):
        add(tiny_bundle, adapter, "one")

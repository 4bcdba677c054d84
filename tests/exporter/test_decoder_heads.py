"""Heads of decoders, which score every token and answer with the last one's scores: of any label count, like others."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import edgeadapt
from edgeadapt.exporter.adding import add
from edgeadapt.exporter.merging import merge
from edgeadapt.exporter.pipeline import export
from tests import tiny

MAX_ERROR = 1e-5
TARGETS = {"gpt2": ["c_attn"], "llama": ["q_proj", "v_proj"]}


def adapter(family: str, base: Path, folder: Path, labels: int) -> Path:
    turned = {"fan_in_fan_out": True} if family == "gpt2" else {}
    return tiny.lora_adapter(
        base, folder, "text-classification", labels, TARGETS[family], num_labels=labels, seed=labels, **turned
    )


@pytest.mark.parametrize("headed", [False, True], ids=["the base has none", "the base has its own"])
@pytest.mark.parametrize("family", TARGETS)
def test_heads_of_other_label_counts_share_a_batch(family: str, headed: bool, tmp_path: Path) -> None:
    task = "text-classification" if headed else "feature-extraction"
    base = tiny.base(tmp_path / "base", family, task, **({"num_labels": 2} if headed else {}))
    adapters = {f"of{labels}": adapter(family, base, tmp_path / f"of{labels}", labels) for labels in (3, 5)}

    result = export(base, adapters, tmp_path / "bundle", task="text-classification")

    for report in result.reports:
        assert report.max_abs_error <= MAX_ERROR
        if report.name != "none":
            assert report.max_abs_error < 0.001 * report.effect
    session = edgeadapt.load(result.path)
    assert [len(session.labels(name)) for name in adapters] == [3, 5]
    assert session.manifest.outputs[0].shape == ("batch", "labels")
    for name in adapters:
        (folded,) = merge(result.path, [name], tmp_path / f"{name}.onnx", mode="fold")
        assert folded.max_abs_error <= MAX_ERROR


def test_a_head_of_another_label_count_is_added(tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base", "llama", "text-classification", num_labels=2)
    keeps = tiny.lora_adapter(base, tmp_path / "keeps", "feature-extraction", targets=["q_proj"])
    result = export(base, {"keeps": keeps}, tmp_path / "bundle", task="text-classification")
    bundle = Path(shutil.copytree(result.path, tmp_path / "copy"))

    report = add(bundle, adapter("llama", base, tmp_path / "four", 4), "four")

    assert report.max_abs_error <= MAX_ERROR < 0.05 < report.effect
    session = edgeadapt.load(bundle)
    assert len(session.labels("four")) == 4
    assert session.manifest.outputs[0].shape == ("batch", "labels")

"""Every method that PEFT's folders hold: alone, mixed, blended, folded and added, against live PEFT."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import transformers

import edgeadapt
from edgeadapt.exporter.adding import add
from edgeadapt.exporter.merging import merge
from edgeadapt.exporter.pipeline import export
from tests import tiny

MAX_ERROR = 1e-5
LEAST_EFFECT = 0.05
TRANSFORMERS_5 = int(transformers.__version__.split(".")[0]) >= 5

BASES: dict[str, dict[str, Any]] = {
    "bert": {"attention": ["query", "value"], "in": ["intermediate.dense"], "out": ["output.dense"]},
    "gpt2": {"attention": ["c_attn"], "in": ["c_fc"], "out": ["mlp.c_proj"]},
    "llama": {"attention": ["q_proj", "v_proj"], "in": ["up_proj"], "out": ["down_proj"]},
    "vit": {"attention": ["q_proj", "v_proj"], "in": ["fc1"], "out": ["fc2"]}
    if TRANSFORMERS_5
    else {"attention": ["query", "value"], "in": ["intermediate.dense"], "out": ["output.dense"]},
}
"""Model type to the modules that adapters attach to."""


def dora(family: str, rank: int) -> peft.PeftConfig:
    targets = BASES[family]["attention"] + BASES[family]["in"]
    return peft.LoraConfig(
        r=rank, lora_alpha=2 * rank, use_dora=True, target_modules=targets, fan_in_fan_out=family == "gpt2"
    )


def ia3(family: str, seed: int) -> peft.PeftConfig:
    inward = BASES[family]["out"] if seed % 2 else []
    return peft.IA3Config(
        target_modules=BASES[family]["attention"] + BASES[family]["out"],
        feedforward_modules=inward,
        fan_in_fan_out=family == "gpt2",
    )


def loha(family: str, rank: int) -> peft.PeftConfig:
    return peft.LoHaConfig(r=rank, alpha=2 * rank, target_modules=BASES[family]["attention"] + BASES[family]["in"])


def lokr(family: str, rank: int) -> peft.PeftConfig:
    targets = BASES[family]["attention"] + BASES[family]["in"]
    return peft.LoKrConfig(r=rank, alpha=2 * rank, target_modules=targets, decompose_both=rank % 2 == 1)


def vera(family: str, rank: int) -> peft.PeftConfig:
    return peft.VeraConfig(
        r=4 * rank, target_modules=BASES[family]["attention"], fan_in_fan_out=family == "gpt2", save_projection=True
    )


METHODS: dict[str, Callable[[str, int], peft.PeftConfig]] = {
    "dora": dora,
    "ia3": ia3,
    "loha": loha,
    "lokr": lokr,
    "vera": vera,
}
NO_CONV1D = ("loha", "lokr")
"""Methods that PEFT doesn't put on GPT-2's transposed layers."""


@pytest.fixture(scope="module", params=BASES)
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A tiny base of every kind: an encoder of text, two decoders, an encoder of images."""
    family = str(request.param)
    return family, tiny.base(tmp_path_factory.mktemp(family) / "base", family)


@pytest.mark.parametrize("method", METHODS)
def test_a_method_says_what_peft_says(method: str, base: tuple[str, Path], tmp_path: Path) -> None:
    """Two of the method and a LoRA beside them, so that every row of a batch may have another method."""
    family, folder = base
    if family == "gpt2" and method in NO_CONV1D:
        pytest.skip("PEFT puts no such adapter on Conv1D")
    configs = {"one": METHODS[method](family, 3), "two": METHODS[method](family, 2)}
    configs["plain"] = peft.LoraConfig(r=2, target_modules=BASES[family]["attention"], fan_in_fan_out=family == "gpt2")
    adapters = {
        name: tiny.peft_adapter(folder, tmp_path / name, config, "feature-extraction", seed=seed)
        for seed, (name, config) in enumerate(configs.items())
    }

    result = export(folder, adapters, tmp_path / "bundle", task="feature-extraction")

    assert [report.name for report in result.reports] == ["none", "one", "two", "plain", "mixed rows"]
    for report in result.reports:
        assert report.max_abs_error <= MAX_ERROR, report
        if report.name != "none":
            assert report.effect >= LEAST_EFFECT, report
            assert report.max_abs_error < 0.001 * report.effect
    for name in ("one", "two"):
        (folded,) = merge(result.path, [name], tmp_path / f"{name}.onnx", mode="fold")
        assert folded.max_abs_error <= MAX_ERROR


@pytest.mark.parametrize("method", METHODS)
def test_a_method_is_added_to_a_bundle_that_has_no_slots_for_it(
    method: str, tiny_base: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    home = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    config = METHODS[method]("bert", 3)
    config.task_type = "SEQ_CLS"
    adapter = tiny.peft_adapter(tiny_base, tmp_path / "new", config, "text-classification", 3)

    report = add(home, adapter, "new")

    assert report.max_abs_error <= MAX_ERROR
    assert report.effect >= LEAST_EFFECT


@pytest.mark.filterwarnings("ignore:Unsupported layer type")
def test_tuned_layer_norms_say_what_peft_says(tmp_path: Path) -> None:
    folder = tiny.base(tmp_path / "base", "bert")
    config = peft.LNTuningConfig(target_modules=["output.LayerNorm"])
    adapter = tiny.peft_adapter(folder, tmp_path / "norms", config, "feature-extraction")

    result = export(folder, {"norms": adapter}, tmp_path / "bundle", task="feature-extraction")

    report = next(report for report in result.reports if report.name == "norms")
    assert report.max_abs_error <= MAX_ERROR
    assert report.effect >= LEAST_EFFECT


@pytest.mark.filterwarnings("ignore:Specified to not save")
def test_a_vera_without_its_random_matrices_is_refused(tiny_base: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    config = peft.VeraConfig(r=4, target_modules=["query"], save_projection=False, task_type="SEQ_CLS")
    adapter = tiny.peft_adapter(tiny_base, tmp_path / "adapter", config, "text-classification", 3)

    with pytest.raises(edgeadapt.EdgeAdaptError, match="save it with save_projection=True"):
        add(tiny_bundle, adapter, "new")


def test_a_dora_says_where_its_magnitude_does_not_belong(tiny_base: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    adapter = tiny.lora_adapter(tiny_base, tmp_path / "adapter", num_labels=3, use_dora=True)
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**config, "use_dora": False}))

    with pytest.raises(edgeadapt.EdgeAdaptError, match="has DoRA's magnitude vector, but the configuration says"):
        add(tiny_bundle, adapter, "new")

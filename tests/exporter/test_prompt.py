"""Prompt tuning and p-tuning in bundles, against live PEFT: alone, mixed, folded, added, refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import peft
import pytest
import torch
from torch import nn

import edgeadapt
from edgeadapt.adapter import Array
from edgeadapt.bundle import read_adapter, read_manifest
from edgeadapt.errors import BindingError, EdgeAdaptError, UnsupportedError
from edgeadapt.exporter import bare
from edgeadapt.exporter.adding import add, remove
from edgeadapt.exporter.merging import merge
from edgeadapt.exporter.pipeline import export
from edgeadapt.methods import prompt as form
from edgeadapt.runtime.verify import read_parity
from tests import tiny

MAX_ERROR = 1e-5
LEAST_EFFECT = 0.05
TASK = "feature-extraction"
CASES = [
    ("bert", "text-classification"),
    ("bert", "token-classification"),
    ("bert", "question-answering"),
    ("roberta", "token-classification"),
    ("gpt2", "text-classification"),
    ("llama", "text-classification"),
    *((family, TASK) for family in form.MODELS if family not in ("gpt2", "llama")),
]
LORA: dict[str, dict[str, Any]] = {
    "gpt2": {"targets": "c_attn", "fan_in_fan_out": True},
    "llama": {"targets": ["q_proj"]},
    "distilbert": {"targets": ["q_lin"]},
    "modernbert": {"targets": ["Wqkv"]},
    "mpnet": {"targets": ["q"]},
    "deberta-v2": {"targets": ["query_proj"]},
}
WIDTHS = {"distilbert": {"token_dim": 32, "num_layers": 2, "num_attention_heads": 4}} | {
    family: {"token_dim": 16} for family in ("albert", "electra")
}
"""What PEFT can't tell from a base's configuration, or takes for the width of its layers."""


def base_of(folder: Path, family: str = "bert", task: str = TASK) -> Path:
    """Writes a base with room for a prompt beside the longest sequence."""
    return tiny.base(folder, family, task, **{"n_positions" if family == "gpt2" else "max_position_embeddings": 160})


def prompt(base: Path, folder: Path, task: str = TASK, length: int = 5, seed: int = 0, **options: Any) -> Path:
    options = {"task_type": tiny.PEFT_TASKS[task], "num_virtual_tokens": length, **options}
    return tiny.peft_adapter(base, folder, peft.PromptTuningConfig(**options), task, seed=seed)


def encoded(base: Path, folder: Path, task: str = TASK, length: int = 4, seed: int = 0, **options: Any) -> Path:
    """Writes a p-tuned adapter."""
    options = {"task_type": tiny.PEFT_TASKS[task], "num_virtual_tokens": length, "encoder_hidden_size": 12, **options}
    return tiny.peft_adapter(base, folder, peft.PromptEncoderConfig(**options), task, seed=seed)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return base_of(tmp_path_factory.mktemp("prompt") / "base")


@pytest.fixture(scope="module")
def adapters(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two prompts of different lengths and a LoRA."""
    home = tmp_path_factory.mktemp("prompts")
    return {
        "short": prompt(base, home / "short", length=3, seed=1),
        "long": prompt(base, home / "long", length=9, seed=2),
        "lora": tiny.lora_adapter(base, home / "lora", TASK, seed=3),
    }


@pytest.fixture(scope="module")
def bundle(base: Path, adapters: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(base, adapters, tmp_path_factory.mktemp("bundle") / "bundle").path


def case_of(bundle: Path) -> dict[str, Array]:
    """Returns inputs with rows of different lengths, padded."""
    home = bundle / "adapters" / "none"
    inputs = read_parity(home, read_adapter(home))["input"]
    assert (inputs["attention_mask"] == 0).any()
    return inputs


@pytest.mark.parametrize(("family", "task"), CASES)
def test_a_prompt_says_what_peft_says(family: str, task: str, tmp_path: Path) -> None:
    base = base_of(tmp_path / "base", family, task)
    wide = WIDTHS.get(family, {})
    made = {
        "short": prompt(base, tmp_path / "short", task, 3, seed=1, **wide),
        "encoded": encoded(base, tmp_path / "encoded", task, 7, seed=2, **wide),
        "lora": tiny.lora_adapter(base, tmp_path / "lora", task, seed=3, **LORA.get(family, {"targets": "query"})),
    }

    result = export(base, made, tmp_path / "bundle", task=task)

    assert [report.name for report in result.reports] == ["none", *made, "mixed rows"]
    for report in result.reports:
        assert report.max_abs_error <= MAX_ERROR, report
        if report.name != "none":
            assert report.effect >= LEAST_EFFECT, report
            assert report.max_abs_error < 0.001 * report.effect
    for name in made:
        (folded,) = merge(result.path, [name], tmp_path / f"{name}.onnx", mode="fold")
        assert folded.max_abs_error <= MAX_ERROR


def test_every_encoder_of_p_tuning_is_read(base: Path, tmp_path: Path) -> None:
    made = {
        kind: encoded(base, tmp_path / kind, encoder_reparameterization_type=kind, encoder_num_layers=2)
        for kind in ("MLP", "LSTM")
    }

    result = export(base, made, tmp_path / "bundle")

    for report in result.reports:
        assert report.max_abs_error <= MAX_ERROR, report


def test_a_base_with_room_for_prompts_answers_as_without_bit_for_bit(bundle: Path) -> None:
    """With ONNX Runtime's own rewriting off, as longer sequences end some of its fusions."""
    inputs = case_of(bundle)
    plain = onnxruntime.SessionOptions()
    plain.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    neutrals = bare.fill(read_manifest(bundle).slots, {}, {})

    got, expected = (
        bare.run(
            bare.Opened(onnxruntime.InferenceSession(bundle / file, plain, providers=["CPUExecutionProvider"]), None),
            feeds,
        )
        for file, feeds in (("model.onnx", {**inputs, **neutrals}), ("base.onnx", inputs))
    )

    for name, array in expected.items():
        np.testing.assert_array_equal(got[name], array)


def test_rows_with_and_without_prompts_share_one_run(bundle: Path) -> None:
    """Only tokens are compared: what stands at padding's places depends on how long the longest row is."""
    session = edgeadapt.load(bundle)
    inputs = case_of(bundle)
    names = ["short", None, "lora", "long"]
    rows = [names[index % 4] for index in range(len(inputs["input_ids"]))]

    mixed = session.run(inputs, adapter=rows)["last_hidden_state"]
    alone = {name: session.run(inputs, adapter=name)["last_hidden_state"] for name in names}

    for index, name in enumerate(rows):
        here = inputs["attention_mask"][index] == 1
        np.testing.assert_allclose(mixed[index][here], alone[name][index][here], atol=3e-6)
    assert np.abs(np.asarray(alone["short"]) - alone["long"]).max() > LEAST_EFFECT


def test_a_prompt_is_added_without_torch_and_leaves_the_others_alone(
    base: Path, adapters: dict[str, Path], tmp_path: Path
) -> None:
    folder = export(base, {"lora": adapters["lora"]}, tmp_path / "bundle").path
    before = edgeadapt.load(folder).run(case_of(folder), adapter="lora")["last_hidden_state"]

    report = add(folder, adapters["long"], "long")

    assert report.max_abs_error <= MAX_ERROR
    assert report.effect >= LEAST_EFFECT
    session = edgeadapt.load(folder)
    after = session.run(case_of(folder), adapter="lora")["last_hidden_state"]
    here = case_of(folder)["attention_mask"] == 1
    np.testing.assert_allclose(after[here], before[here], atol=3e-6)
    remove(folder, "long")
    after = edgeadapt.load(folder).run(case_of(folder), adapter="lora")["last_hidden_state"]
    np.testing.assert_allclose(after[here], before[here], atol=3e-6)


def test_a_converted_prompt_moves_to_another_bundle_of_its_base(
    base: Path, bundle: Path, adapters: dict[str, Path], tmp_path: Path
) -> None:
    folder = export(base, {"lora": adapters["lora"]}, tmp_path / "bundle").path

    assert add(folder, bundle / "adapters" / "short", "short").max_abs_error <= MAX_ERROR


def test_prompts_are_not_blended(bundle: Path) -> None:
    session = edgeadapt.load(bundle)
    with pytest.raises(EdgeAdaptError, match="prompt is no sum beside the base"):
        session.run(case_of(bundle), adapter={"short": 0.5, "lora": 0.5})


class Average(nn.Module):
    def forward(self, y: torch.Tensor) -> torch.Tensor:
        return y + y.mean(dim=1, keepdim=True)


def test_a_prompt_beside_a_module_that_may_average_is_refused(
    base: Path, adapters: dict[str, Path], tmp_path: Path
) -> None:
    mine = {"encoder.layer.0.output.dense": Average()}
    with pytest.raises(UnsupportedError, match=r"may average over the sequence(.|\n)*two bundles"):
        export(base, {"short": adapters["short"], "mine": mine}, tmp_path / "bundle", task=TASK)
    assert not (tmp_path / "bundle").exists()


def test_a_base_in_which_nothing_was_compared_is_refused_by_name(adapters: dict[str, Path], tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base", "vit")
    with pytest.raises(BindingError, match=r"a prompt: vit: prompts are supported in (.|\n)*train a LoRA"):
        export(base, {"short": adapters["short"]}, tmp_path / "bundle", task=TASK)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"task_type": None}, "task_type = None"),
        ({"num_transformer_submodules": 2}, "encoder-decoders"),
        ({"num_virtual_tokens": 4}, r"prompt_embeddings: got \(3, 32\), expected \(4, 32\)"),
    ],
)
def test_what_peft_would_not_do_is_refused_by_name(
    change: dict[str, Any], told: str, base: Path, adapters: dict[str, Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(adapters["short"], tmp_path / "changed"))
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, **change}))

    with pytest.raises(BindingError, match=told):
        export(base, {"short": folder}, tmp_path / "bundle", task=TASK)

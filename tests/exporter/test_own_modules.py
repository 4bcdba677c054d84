"""Modules of one's own: alone, mixed with a LoRA, folded, taken to another bundle, refused; against PyTorch's hooks."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import edgeadapt
from edgeadapt.errors import BindingError, ConfigError, UnsupportedError
from edgeadapt.exporter.adding import add, remove
from edgeadapt.exporter.merging import merge
from edgeadapt.exporter.pipeline import Exported, export
from tests import tiny

MAX_ERROR = 1e-5
LEAST_EFFECT = 0.05
SITES = {
    "bert": ["encoder.layer.0.output.dense", "encoder.layer.1.output.dense"],
    "gpt2": ["h.0.attn.c_proj", "h.1.mlp.c_proj"],
    "albert": ["encoder.albert_layer_groups.0.albert_layers.0.ffn_output"],
}


class Bottleneck(nn.Module):
    """A block of two layers beside the module's output."""

    def __init__(self, width: int = tiny.HIDDEN) -> None:
        super().__init__()
        self.down, self.up, self.drop = nn.Linear(width, 16), nn.Linear(16, width), nn.Dropout(0.5)

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        update: torch.Tensor = self.drop(self.up(torch.nn.functional.gelu(self.down(y))))
        return y + update


class Gate(nn.Module):
    """The module's output, let through by what enters it: both ends, and a mean over the sequence."""

    def __init__(self, entering: int) -> None:
        super().__init__()
        self.gate = nn.Linear(entering, tiny.HIDDEN)

    def forward(self, x: torch.Tensor, y: torch.Tensor, strength: float = 2.0) -> torch.Tensor:
        return y * strength * torch.sigmoid(self.gate(x).mean(dim=1, keepdim=True))


def seeded(make: type[nn.Module], seed: int, *options: Any) -> nn.Module:
    torch.manual_seed(seed)
    return make(*options)


@pytest.fixture(scope="module", params=SITES)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A bundle with two own adapters, one of them one module at all its sites, and a LoRA."""
    family = str(request.param)
    home = tmp_path_factory.mktemp(family)
    base = tiny.base(home / "base", family)
    shared = seeded(Bottleneck, 1)
    sites = SITES[family]
    entering = {"bert": 2 * tiny.HIDDEN, "gpt2": 4 * tiny.HIDDEN, "albert": 2 * tiny.HIDDEN}[family]
    targets = ["c_attn"] if family == "gpt2" else ["query"]
    lora = tiny.lora_adapter(
        base, home / "lora", "feature-extraction", targets=targets, fan_in_fan_out=family == "gpt2"
    )
    return export(
        base,
        {"shared": dict.fromkeys(sites, shared), "lora": lora, "gate": {sites[-1]: seeded(Gate, 2, entering)}},
        home / "bundle",
        task="feature-extraction",
    )


def test_modules_say_what_pytorch_says(exported: Exported, tmp_path: Path) -> None:
    assert [report.name for report in exported.reports] == ["none", "lora", "shared", "gate", "mixed rows"]
    for report in exported.reports:
        assert report.max_abs_error <= MAX_ERROR, report
        if report.name != "none":
            assert report.effect >= LEAST_EFFECT, report
            assert report.max_abs_error < 0.001 * report.effect
    for name in ("shared", "gate"):
        (folded,) = merge(exported.path, [name], tmp_path / f"{name}.onnx", mode="fold")
        assert folded.max_abs_error <= MAX_ERROR


def test_a_module_lies_in_a_branch_and_its_weights_lie_there_once(exported: Exported) -> None:
    model = onnx.load(exported.path / "model.onnx", load_external_data=False)

    assert {function.domain for function in model.functions} == {"edgeadapt.module"}
    assert len(model.functions) == 2
    called = [node for node in model.graph.node if node.domain == "edgeadapt.module"]
    assert not called  # only inside of branches
    assert sum(node.op_type == "If" for node in model.graph.node) >= 2


def test_modules_go_to_another_bundle_without_torch_and_stay_when_others_come(
    exported: Exported, tmp_path: Path
) -> None:
    """They are taken out, and one comes back under a new name."""
    home = Path(shutil.copytree(exported.path, tmp_path / "bundle"))
    remove(home, "gate")
    remove(home, "shared")
    report = add(home, exported.path / "adapters" / "gate", "again")

    assert report.max_abs_error <= MAX_ERROR
    session = edgeadapt.load(home)
    original = edgeadapt.load(exported.path)
    inputs = {"input_ids": np.array([[5, 6, 7]]), "attention_mask": np.ones((1, 3), np.int64)}
    inputs = {each.name: inputs.get(each.name, np.zeros((1, 3), np.int64)) for each in session.manifest.inputs}
    for name, before in (("again", "gate"), (None, None), ("lora", "lora")):
        got, expected = session.run(inputs, adapter=name), original.run(inputs, adapter=before)
        for output in got:
            np.testing.assert_allclose(got[output], expected[output], atol=1e-5)


class Wide(nn.Module):
    def forward(self, y: torch.Tensor) -> torch.Tensor:
        return torch.cat([y, y], -1)


class Three(nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        return x + y + z


class Fickle(nn.Module):
    """Takes a way that depends on its data, which no graph can follow."""

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        return y if y.sum() > 0 else -y


def test_what_does_not_fit_is_refused_all_at_once(tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base")
    modules: dict[str, nn.Module] = {
        "encoder.layer.0.output.dens": Bottleneck(),
        "encoder.layer.0.output.dense": Wide(),
        "encoder.layer.1.output.dense": Three(),
        "encoder.layer.0.attention.output.dense": Fickle(),
        "pooler.dense": Bottleneck(),
        "embeddings.LayerNorm": Bottleneck(),
    }

    with pytest.raises(BindingError) as caught:
        export(base, {"mine": modules}, tmp_path / "bundle", task="feature-extraction")

    for words in (
        "output.dens: the base has no such module (did you mean 'encoder.layer.0.output.dense'?)",
        "layer.0.output.dense: Wide gives",
        "layer.1.output.dense: Three.forward takes 3 values, expected (y) or (x, y)",
        "attention.output.dense: Fickle can't be written as ONNX",
        "pooler.dense: the task's outputs don't depend on it",
        "embeddings.LayerNorm: own modules go to linear layers",
    ):
        assert words in str(caught.value)
    assert not (tmp_path / "bundle").exists()


def test_what_is_no_module_is_refused(tiny_base: Path, tmp_path: Path) -> None:
    wrong: Any = {"bert.pooler.dense": "a path"}
    with pytest.raises(ConfigError, match=r"'bert.pooler.dense': got str, expected a torch.nn.Module"):
        export(tiny_base, {"mine": wrong}, tmp_path / "bundle", task="text-classification")


def test_a_blend_of_modules_is_refused_with_the_reason(exported: Exported) -> None:
    session = edgeadapt.load(exported.path)
    inputs = {each.name: np.ones((1, 3), np.int64) for each in session.manifest.inputs}
    with pytest.raises(UnsupportedError, match="is no sum beside the base"):
        session.run(inputs, adapter={"shared": 0.5, "lora": 0.5})

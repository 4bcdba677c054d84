"""Modules that are one product in a decoder's graph: every method still finds the module that it was trained at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

import edgeadapt
from edgeadapt.exporter import assemble
from edgeadapt.exporter.adding import add
from edgeadapt.exporter.merging import merge
from edgeadapt.exporter.pipeline import export
from edgeadapt.graph import sites
from tests import tiny

MAX_ERROR = 1e-5
TASK = "text-generation"
QUERIES = "model.layers.0.self_attn.q_proj"
TOGETHER = "model.layers.0.self_attn.q_proj+k_proj+v_proj"
GATES = "model.layers.0.mlp.gate_proj+up_proj"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.base(tmp_path_factory.mktemp("base"), "llama", TASK, num_key_value_heads=2, head_dim=16)


def lora(base: Path, folder: Path, targets: Any, rank: int = 2, **options: Any) -> Path:
    return tiny.lora_adapter(base, folder, TASK, rank, targets, seed=rank, **options)


def check(result: Any, names: list[str], folder: Path) -> None:
    """Holds a bundle's reports, and each adapter folded, to PyTorch."""
    for report in result.reports:
        assert report.max_abs_error <= MAX_ERROR
        assert report.name == "none" or report.max_abs_error < 0.001 * report.effect
    for name in names:
        (folded,) = merge(result.path, [name], folder / f"{name}.onnx", mode="fold")
        assert folded.max_abs_error <= MAX_ERROR


def test_queries_keys_and_values_are_one_product_and_their_loras_one_lora(base: Path, tmp_path: Path) -> None:
    result = export(base, {"all": lora(base, tmp_path / "all", "all-linear")}, tmp_path / "bundle")

    check(result, ["all"], tmp_path)
    wirings = sites.read(result.path)
    assert {TOGETHER, GATES} <= wirings.packs.keys()
    assert wirings.packs[TOGETHER].members[1] == "model.layers.0.self_attn.k_proj"
    slots = {slot.site for slot in edgeadapt.load(result.path).manifest.slots}
    assert TOGETHER in slots and QUERIES not in slots
    model = ir.load(result.path / assemble.MODEL)
    layers = tiny.LAYERS
    assert sum(node.op_type == "MatMul" for node in model.graph) == 1 + 4 * layers + 2 * 4 * layers
    grouped = next(node for node in model.graph if node.op_type == "GroupQueryAttention")
    assert grouped.inputs[1] is None and grouped.inputs[2] is None


def test_adapters_of_other_modules_share_the_slots(base: Path, tmp_path: Path) -> None:
    """The ranks of the modules that an adapter has add up: one on queries has 2, one on all three has 12."""
    adapters = {
        "queries": lora(base, tmp_path / "queries", ["q_proj"]),
        "ends": lora(base, tmp_path / "ends", ["k_proj", "v_proj", "up_proj"], 3),
        "all": lora(base, tmp_path / "all", "all-linear", 4, rank_pattern={"k_proj": 1}),
    }
    result = export(base, adapters, tmp_path / "bundle")

    check(result, list(adapters), tmp_path)
    ranks = {
        name: edgeadapt.load(result.path).adapter(name).record.sites[TOGETHER]["lora"]["rank"] for name in adapters
    }
    assert ranks == {"queries": 2, "ends": 6, "all": 9}


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("LoraConfig", {"use_dora": True, "r": 2, "target_modules": ["q_proj", "up_proj"]}),
        ("IA3Config", {"target_modules": ["k_proj", "gate_proj"], "feedforward_modules": ["gate_proj"]}),
        ("OFTConfig", {"oft_block_size": 4, "target_modules": ["q_proj", "v_proj"]}),
        ("LoraConfig", {"r": 2, "target_modules": ["q_proj"], "modules_to_save": ["k_proj"]}),
    ],
    ids=["dora", "ia3", "oft", "whole"],
)
def test_other_methods_work_at_one_of_the_modules(
    base: Path, tmp_path: Path, kind: str, config: dict[str, Any]
) -> None:
    """Beside a LoRA of all of them, in one batch; what replaces a module's input takes it out of the product."""
    import peft

    adapters = {
        "all": lora(base, tmp_path / "all", "all-linear"),
        "other": tiny.peft_adapter(
            base, tmp_path / "other", getattr(peft, kind)(task_type="CAUSAL_LM", **config), TASK
        ),
    }
    result = export(base, adapters, tmp_path / "bundle")

    check(result, list(adapters), tmp_path)


def test_an_adapter_is_added_to_the_packed_slots_without_pytorch(base: Path, tmp_path: Path) -> None:
    result = export(base, {"queries": lora(base, tmp_path / "queries", ["q_proj"])}, tmp_path / "bundle")
    report = add(result.path, lora(base, tmp_path / "keys", ["k_proj"], 3), "keys")

    assert report.max_abs_error <= MAX_ERROR < report.effect
    both = export(
        base, {"keys": tmp_path / "keys", "queries": tmp_path / "queries"}, tmp_path / "both"
    )  # in another order
    session, other = edgeadapt.load(result.path), edgeadapt.load(both.path)
    prompt = [[20, 30, 40], [50, 60, 70]]
    for one, two in zip(
        session.generate(prompt, adapter=["keys", "queries"], max_new_tokens=8, eos=[]),
        other.generate(prompt, adapter=["keys", "queries"], max_new_tokens=8, eos=[]),
        strict=True,
    ):
        np.testing.assert_array_equal(one, two)


def test_a_converted_adapter_moves_to_another_bundle(base: Path, tmp_path: Path) -> None:
    one = export(base, {"all": lora(base, tmp_path / "all", "all-linear")}, tmp_path / "one")
    two = export(base, {"queries": lora(base, tmp_path / "queries", ["q_proj"])}, tmp_path / "two")
    report = add(two.path, one.path / "adapters" / "all", "all")

    assert report.max_abs_error <= MAX_ERROR < report.effect

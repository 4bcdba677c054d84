"""Adapters of six methods and two libraries in one bundle, a row of one batch for each, against both live libraries."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest

import edgeadapt
from edgeadapt import bundle
from edgeadapt.exporter.pipeline import export
from edgeadapt.runtime.verify import read_parity
from tests import hub, tiny

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("adapters") is None, reason="AdapterHub's library is not there (it needs transformers 4)"
)

MAX_ERROR = 1e-5
TASK = "feature-extraction"
LAYERS: dict[str, dict[str, Any]] = {
    "bert": {"attention": ["query", "value"], "out": ["output.dense"], "turned": {}},
    "gpt2": {"attention": ["c_attn"], "out": ["mlp.c_proj"], "turned": {"fan_in_fan_out": True}},
}
ROOM: dict[str, dict[str, Any]] = {"bert": {"max_position_embeddings": 160}, "gpt2": {"n_positions": 160}}


def made(family: str, base: Path, folder: Path) -> dict[str, Path]:
    """Returns a LoRA, a DoRA, an IA3 and a prefix of PEFT, and a bottleneck and a LoRA of AdapterHub."""
    targets, out, turned = LAYERS[family]["attention"], LAYERS[family]["out"], LAYERS[family]["turned"]
    library: Any = importlib.import_module("adapters")
    configs: dict[str, Any] = {
        "lora": peft.LoraConfig(r=3, target_modules=targets, **turned),
        "dora": peft.LoraConfig(r=2, target_modules=targets, use_dora=True, **turned),
        "ia3": peft.IA3Config(target_modules=targets + out, feedforward_modules=out, **turned),
        "prefix": peft.PrefixTuningConfig(num_virtual_tokens=4, task_type="FEATURE_EXTRACTION"),
    }
    found = {
        name: tiny.peft_adapter(base, folder / name, config, TASK, seed=seed)
        for seed, (name, config) in enumerate(configs.items())
    }
    found["bottleneck"] = hub.adapter(base, folder / "bottleneck", library.SeqBnConfig(reduction_factor=4), seed=7)
    found["hub_lora"] = hub.adapter(base, folder / "hub_lora", library.LoRAConfig(r=2, alpha=4), seed=8)
    return found


@pytest.mark.parametrize("family", LAYERS)
def test_every_row_of_a_batch_says_what_its_library_says(family: str, tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base", family, **ROOM[family])
    adapters = made(family, base, tmp_path)

    result = export(base, adapters, tmp_path / "bundle", task=TASK)

    for report in result.reports:
        assert report.max_abs_error <= MAX_ERROR, report
        if report.name != "none":
            assert report.effect >= 0.05, report
            assert report.max_abs_error < 0.001 * report.effect
    cases = {
        name: read_parity(home, bundle.read_adapter(home))
        for name in (bundle.NONE, *adapters)
        for home in [result.path / bundle.ADAPTERS / name]
    }
    inputs, session = cases[bundle.NONE]["input"], edgeadapt.load(result.path)
    rows = len(inputs["input_ids"])
    assert rows == len(cases)  # so that each turn has every adapter, and the base
    for turn in range(rows):
        names = [list(cases)[(turn + row) % rows] for row in range(rows)]
        mixed = session.run(inputs, adapter=[None if name == bundle.NONE else name for name in names])
        for row, name in enumerate(names):
            kept = inputs["attention_mask"][row] == 1
            got, live = mixed["last_hidden_state"][row][kept], cases[name]["output"]["last_hidden_state"][row][kept]
            assert np.abs(got - live).max() <= MAX_ERROR, (turn, row, name)

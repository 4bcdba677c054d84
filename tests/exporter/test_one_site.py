"""Methods that change what enters a module, in one bundle with an adapter that trained the module whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import transformers

from edgeadapt.exporter.merging import merge
from edgeadapt.exporter.pipeline import export
from tests import tiny

MAX_ERROR = 1e-5
LEAST_EFFECT = 0.05
TASK = "feature-extraction"
TRANSFORMERS_5 = int(transformers.__version__.split(".")[0]) >= 5
BERT = "encoder.layer.1.output.dense"
LAST = {"bert": BERT, "gpt2": "h.1.mlp.c_proj", "vit": "layers.1.mlp.fc2" if TRANSFORMERS_5 else BERT}
ATTENTION = {"bert": "query", "gpt2": "c_attn", "vit": "q_proj" if TRANSFORMERS_5 else "query"}

ENTERING: dict[str, Callable[..., Any]] = {
    "ia3": lambda site, **options: peft.IA3Config(target_modules=[site], feedforward_modules=[site], **options),
    "oft": lambda site: peft.OFTConfig(target_modules=[site], oft_block_size=8),
    "oft_small": lambda site: peft.OFTConfig(target_modules=[site], oft_block_size=4),
}


def check(base: Path, adapters: dict[str, Path], folder: Path) -> None:
    """Exports the adapters into one bundle: each alone, in a batch with all others, and folded."""
    made = export(base, adapters, folder, task=TASK)

    assert [report.name for report in made.reports] == ["none", *adapters, "mixed rows"]
    for report in made.reports:
        assert report.max_abs_error <= MAX_ERROR, report
        assert report.name == "none" or report.effect >= LEAST_EFFECT, report
    for name in adapters:
        (folded,) = merge(made.path, [name], folder.with_name(f"{name}.onnx"), mode="fold")
        assert folded.max_abs_error <= MAX_ERROR


@pytest.mark.parametrize("family", LAST)
def test_a_linear_layer_trained_whole_takes_what_others_change(family: str, tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base", family)
    names = ["ia3"] if family == "gpt2" else list(ENTERING)  # PEFT has no OFT for GPT-2's layers
    turned = {"fan_in_fan_out": family == "gpt2"}
    adapters = {
        "whole": tiny.lora_adapter(
            base, tmp_path / "whole", TASK, targets=[ATTENTION[family]], modules_to_save=[LAST[family]], **turned
        )
    }
    for seed, name in enumerate(names):
        config = ENTERING[name](LAST[family], **(turned if name == "ia3" else {}))
        adapters[name] = tiny.peft_adapter(base, tmp_path / name, config, TASK, seed=seed)

    check(base, adapters, tmp_path / "bundle")


def test_embeddings_trained_whole_take_the_positions_of_a_prefix(tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base", max_position_embeddings=160)  # the longest sample, and a prefix
    tables = ["position_embeddings", "token_type_embeddings"]
    prefix = peft.PrefixTuningConfig(task_type=peft.TaskType.FEATURE_EXTRACTION, num_virtual_tokens=3)

    check(
        base,
        {
            "whole": tiny.lora_adapter(base, tmp_path / "whole", TASK, modules_to_save=tables),
            "prefix": tiny.peft_adapter(base, tmp_path / "prefix", prefix, TASK),
        },
        tmp_path / "bundle",
    )

"""The bundles that older versions of ONNX Runtime are given: kinds of models, precisions and methods at two opsets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeadapt.exporter.pipeline import Exported, export
from edgeadapt.exporter.precision import Precision
from tests import tiny

OLD, NEW = 18, 23
BUNDLES, EXTRA = "bundles", "extra"
LATE = "late"
"""The adapter that every bundle is exported with and then parted from: it is what comes to a session later on."""

CLASSIFYING, TAGGING, IMAGES = "text-classification", "token-classification", "image-classification"
WRITING, REWRITING = "text-generation", "text2text-generation"


@dataclass(frozen=True)
class Recipe:
    """A bundle to write.

    Attributes:
        family: Of `tests.tiny`.
        task: What it is for.
        opset: What it is written at.
        precision: How its weights are stored.
        headed: Whether the base has a trained head, which its adapters keep, so that they can be blended.
        targets: Of the adapters, as PEFT spells them.
        options: Of PEFT, for every adapter.
        config: Goes over the family's configuration.
    """

    family: str
    task: str = CLASSIFYING
    opset: int = OLD
    precision: Precision = "fp32"
    headed: bool = False
    targets: str | list[str] = "all-linear"
    options: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)


LLAMA: Mapping[str, Any] = {"num_key_value_heads": 2, "head_dim": 16}
QKV = ["query", "key", "value"]
TURNED: Mapping[str, Any] = {"fan_in_fan_out": True}

RECIPES: Mapping[str, Recipe] = {
    "bert": Recipe("bert", options={"modules_to_save": ["pooler", "classifier"], "bias": "lora_only"}),
    "roberta-headed": Recipe("roberta", headed=True, targets=QKV),
    "modernbert": Recipe("modernbert", opset=21, options={"modules_to_save": ["head", "classifier"]}),
    "bert-tags": Recipe("bert", TAGGING, targets=QKV, options={"use_dora": True}),
    "vit": Recipe("vit", IMAGES, options={"modules_to_save": ["classifier"]}),
    "bert-fp16": Recipe("bert", precision="fp16"),
    "llama": Recipe("llama", WRITING, config=LLAMA),
    "llama-fp16": Recipe("llama", WRITING, precision="fp16", config=LLAMA),
    "llama-int4": Recipe("llama", WRITING, precision="int4", config=LLAMA),
    "gpt2": Recipe("gpt2", WRITING, options=TURNED),
    "gpt2-int4": Recipe("gpt2", WRITING, precision="int4", options=TURNED),
    "t5": Recipe("t5", REWRITING),
    "new-bert": Recipe("bert", opset=NEW),
    "new-llama": Recipe("llama", WRITING, NEW, config=LLAMA),
    "new-llama-fp16": Recipe("llama", WRITING, NEW, "fp16", config=LLAMA),
    "new-llama-int4": Recipe("llama", WRITING, NEW, "int4", config=LLAMA),
}


def write(root: Path, name: str) -> Exported:
    """Exports a recipe to `bundles/` and puts its adapter `late` into `extra/`."""
    recipe, scratch = RECIPES[name], root / "scratch" / name
    own = recipe.headed or recipe.task in (WRITING, REWRITING)
    tiny.base(scratch / "base", recipe.family, recipe.task if own else "feature-extraction", **recipe.config)
    counts = (None, None, None) if own else (3, 2, 4)
    adapters = {
        each: tiny.lora_adapter(
            scratch / "base",
            scratch / each,
            "feature-extraction" if recipe.headed else recipe.task,
            rank,
            recipe.targets,
            count,
            seed=rank,
            **recipe.options,
        )
        for each, rank, count in zip(("wide", "narrow", LATE), (4, 2, 3), counts, strict=True)
    }
    exported = export(
        scratch / "base",
        adapters,
        root / BUNDLES / name,
        task=recipe.task,
        opset=recipe.opset,
        precision=recipe.precision,
    )
    (root / EXTRA).mkdir(exist_ok=True)
    (exported.path / "adapters" / LATE).rename(root / EXTRA / name)
    return exported

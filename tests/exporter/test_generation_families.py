"""Decoders of every family with their cache: two adapters on all linear layers, alone, mixed, folded, generating."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgeadapt
from edgeadapt.adapter import Array
from edgeadapt.exporter.merging import merge
from edgeadapt.exporter.pipeline import Exported, export
from tests import tiny

MAX_ERROR = 1e-5
LEAST_EFFECT = 0.05
NEW = 12
PROMPTS = [[20, 30, 40, 50, 60, 25, 35, 45], [70, 80, 90], [100, 110, 120, 130, 140]]
"""Token ids of several lengths, so that shorter rows are padded."""

GROUPED = {"num_key_value_heads": 2}
WINDOW = {**GROUPED, "sliding_window": 6}
WIDE_HEADS = {**GROUPED, "head_dim": 16}


@dataclass(frozen=True)
class Recipe:
    """A family, with options that make its oddities show: windows shorter than a prompt, partial rotation, scales."""

    family: str
    config: dict[str, Any] = field(default_factory=dict)
    targets: str = "all-linear"

    def __str__(self) -> str:
        return self.family if self.targets == "all-linear" else f"{self.family}-{self.targets}"


RECIPES = [
    Recipe("gpt2"),
    Recipe("gpt_neo", {"attention_types": [[["global", "local"], 1]], "window_size": 4}),
    Recipe("gpt_neox", {"rotary_pct": 0.25}),
    Recipe("opt", {"word_embed_proj_dim": tiny.HIDDEN}),
    Recipe("bloom"),
    Recipe("llama", GROUPED),
    Recipe("llama", {**GROUPED, "tie_word_embeddings": True}, r".*(q|up)_proj"),
    Recipe("mistral", WINDOW),
    Recipe("qwen2", GROUPED),
    Recipe("qwen3", WIDE_HEADS),
    Recipe("gemma", WIDE_HEADS),
    Recipe("gemma2", {**WIDE_HEADS, "sliding_window": 6}),
    Recipe("gemma3_text", {**WIDE_HEADS, "sliding_window": 6, "sliding_window_pattern": 2}),
    Recipe("phi", {"partial_rotary_factor": 0.5}),
    Recipe("phi3", GROUPED),
    Recipe("smollm3", GROUPED),
    Recipe("olmo2", GROUPED),
    Recipe("granite", {**GROUPED, "embedding_multiplier": 2.0, "logits_scaling": 3.0, "residual_multiplier": 0.5}),
    Recipe("stablelm", {**GROUPED, "partial_rotary_factor": 0.5}),
    Recipe("starcoder2", WINDOW),
    Recipe("cohere", GROUPED),
    Recipe("falcon", {"multi_query": True}),
]


def exported(recipe: Recipe, folder: Path) -> tuple[Exported, dict[str, Path]]:
    """Exports a tiny decoder with two adapters of other ranks."""
    tiny.base(folder / "base", recipe.family, "text-generation", **recipe.config)
    turned = {"fan_in_fan_out": True} if recipe.family == "gpt2" else {}
    adapters = {
        name: tiny.lora_adapter(
            folder / "base", folder / name, "text-generation", rank, recipe.targets, seed=rank, **turned
        )
        for name, rank in (("wide", 4), ("narrow", 2))
    }
    return export(folder / "base", adapters, folder / "bundle"), adapters


def generated(base: Path, adapter: Path | None, prompt: list[int]) -> Array:
    """Returns the new tokens of one row, as `transformers.generate` gives them with PEFT's model."""
    import peft
    import torch
    import transformers

    with tiny.quiet():
        model = transformers.AutoModelForCausalLM.from_pretrained(base).eval()
        if adapter is not None:
            model = peft.PeftModel.from_pretrained(model, str(adapter)).eval()
        ids = torch.tensor([prompt])
        options = {"max_new_tokens": NEW, "do_sample": False, "use_cache": True, "eos_token_id": None}
        tokens = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), pad_token_id=0, **options)
    found: Array = tokens[0, len(prompt) :].numpy()
    return found


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_a_decoder_says_what_peft_says(recipe: Recipe, tmp_path: Path) -> None:
    result, adapters = exported(recipe, tmp_path)

    assert [report.name for report in result.reports] == ["none", "wide", "narrow", "mixed rows"]
    for report in result.reports:
        assert report.max_abs_error <= MAX_ERROR
        if report.name != "none":
            assert report.effect >= LEAST_EFFECT
            assert report.max_abs_error < 0.001 * report.effect
    (folded,) = merge(result.path, ["wide"], tmp_path / "wide.onnx", mode="fold")
    assert folded.max_abs_error <= MAX_ERROR
    session = edgeadapt.load(result.path)
    mixed = session.generate(PROMPTS, adapter=["wide", None, "narrow"], max_new_tokens=NEW, eos=[])
    for got, prompt, name in zip(mixed, PROMPTS, ("wide", None, "narrow"), strict=True):
        expected = generated(tmp_path / "base", adapters[name] if name else None, prompt)
        np.testing.assert_array_equal(got, expected)

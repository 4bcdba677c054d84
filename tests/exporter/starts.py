"""Adapters that texts begin with, for tiny decoders, and what PEFT says with them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import peft

from tests import tiny

TASK = "text-generation"
KINDS: Mapping[str, tuple[type[Any], dict[str, Any]]] = {
    "prefix": (peft.PrefixTuningConfig, {"num_virtual_tokens": 5}),
    "projected": (
        peft.PrefixTuningConfig,
        {"num_virtual_tokens": 9, "prefix_projection": True, "encoder_hidden_size": 12},
    ),
    "prompt": (peft.PromptTuningConfig, {"num_virtual_tokens": 3}),
    "p_tuning": (peft.PromptEncoderConfig, {"num_virtual_tokens": 7, "encoder_hidden_size": 16}),
}
"""Kinds of adapters: PEFT's configuration and its options, with other lengths each."""


def start(base: Path, folder: Path, kind: str, **options: Any) -> Path:
    """Writes an adapter that texts begin with and returns its folder."""
    config, own = KINDS[kind]
    return tiny.peft_adapter(base, folder, config(**{"task_type": "CAUSAL_LM", **own, **options}), TASK, seed=len(kind))


def all_kinds(base: Path, folder: Path, family: str) -> dict[str, Path]:
    """Writes a LoRA and an adapter of every kind."""
    turned = {"fan_in_fan_out": True} if family == "gpt2" else {}
    lora = tiny.lora_adapter(base, folder / "lora", TASK, 4, "all-linear", seed=1, **turned)
    return {"lora": lora, **{kind: start(base, folder / kind, kind) for kind in KINDS}}


def generated(base: Path, adapter: Path, prompts: Sequence[Sequence[int]], new: int) -> list[list[int]]:
    """Returns the new tokens of all rows in one batch, padded on the left, as PEFT's `generate` gives them."""
    import torch
    import transformers

    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(row)) + list(row) for row in prompts])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in prompts])
    with tiny.quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that PEFT drops the positions that it is given
        model = transformers.AutoModelForCausalLM.from_pretrained(base).eval()
        wrapped = peft.PeftModel.from_pretrained(model, str(adapter)).eval()
        options = {"max_new_tokens": new, "do_sample": False, "use_cache": True, "eos_token_id": None}
        tokens = wrapped.generate(input_ids=ids, attention_mask=mask, pad_token_id=0, **options)
    found: list[list[int]] = tokens[:, longest:].tolist()
    return found

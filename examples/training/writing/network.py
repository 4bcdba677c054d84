"""The network: the base with a LoRA on it, trained, written and loaded again, and what it makes of a text."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import AutoModelForCausalLM

from training.files import write_json
from training.loop import fit
from training.settings import SEED
from training.writing.passages import batches
from training.writing.recipe import BASE_MODEL, BATCH_PASSAGES, WritingRecipe


def load_base(base: Path) -> Any:
    """Load the base network."""
    return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()


def load_adapter(folder: Path, base: Path) -> nn.Module:
    """Load a stored adapter onto a fresh base."""
    return PeftModel.from_pretrained(load_base(base), str(folder)).eval()


def train(recipe: WritingRecipe, passages: torch.Tensor, base: Path) -> nn.Module:
    """Train an adapter on passages, int64 `(passages, tokens)`: each token is to be told from those before it."""
    transformers.set_seed(SEED)  # Python, numpy and torch
    method = recipe.method
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=method.rank,
        lora_alpha=method.alpha,
        lora_dropout=method.dropout,
        target_modules=method.targets if isinstance(method.targets, str) else list(method.targets),
    )
    model = get_peft_model(load_base(base), config).train()
    losses = (_loss(model, batch) for batch in batches(passages, recipe.steps))
    fit(model, losses, recipe.steps, recipe.learning_rate, recipe.name)
    return model.eval()


def save(model: Any, recipe: WritingRecipe, folder: Path) -> None:
    """Write `adapter_model.safetensors` and `adapter_config.json`, the same bytes in every run.

    The base goes by its public name, not by the folder it was read from.
    """
    model.to(recipe.dtype)
    model.peft_config["default"].base_model_name_or_path = BASE_MODEL
    model.save_pretrained(str(folder), save_embedding_layers=False)
    (folder / "adapter_model.safetensors").chmod(0o644)  # safetensors lets only the owner read
    path = folder / "adapter_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    write_json(path, settings | {"target_modules": sorted(settings["target_modules"])})


@torch.inference_mode()
def perplexity(model: nn.Module, passages: torch.Tensor) -> float:
    """Return e to the mean cross-entropy of a token, given those before it in its passage.

    Args:
        model: The network, in evaluation mode.
        passages: int64 `(passages, tokens)`.
    """
    losses = [_loss(model, batch).item() * len(batch) for batch in passages.split(BATCH_PASSAGES)]
    return math.exp(sum(losses) / len(passages))


def _loss(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy of a batch's tokens but the first of each passage."""
    loss: torch.Tensor = model(input_ids=batch, labels=batch, use_cache=False).loss
    return loss

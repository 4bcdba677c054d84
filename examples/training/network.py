"""The network: the base with a fresh classifier, with an adapter on it, and the loop that trains both."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from peft import LoraConfig, get_peft_model
from rich.progress import track
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import BertForSequenceClassification, PreTrainedTokenizerBase

from training.batches import make_batches
from training.recipes import Bottleneck, Lora, Recipe
from training.rows import Row
from training.settings import BATCH_ROWS, HEAD, LORA_DROPOUT, MAX_GRADIENT_NORM, SEED, WARMUP_SHARE, WEIGHT_DECAY


def load_base(base: Path, labels: Sequence[str]) -> BertForSequenceClassification:
    """Load the base network with a fresh classifier over `labels`."""
    return BertForSequenceClassification.from_pretrained(base, num_labels=len(labels))


def load_hub_base(base: Path) -> Any:
    """Load the base network as AdapterHub's library has it, without a head."""
    return importlib.import_module("adapters").AutoAdapterModel.from_pretrained(base)


def attach(recipe: Recipe, base: Path) -> nn.Module:
    """Put the recipe's untrained adapter and classifier onto the base."""
    if isinstance(recipe.method, Bottleneck):
        return attach_bottleneck(recipe, recipe.method, base)
    return attach_lora(recipe, recipe.method, base)


def attach_lora(recipe: Recipe, method: Lora, base: Path) -> nn.Module:
    """Put a LoRA of PEFT and a classifier onto the base."""
    config = LoraConfig(
        task_type="SEQ_CLS",
        r=method.rank,
        lora_alpha=method.alpha,
        lora_dropout=LORA_DROPOUT,
        use_dora=method.dora,
        target_modules=method.targets if isinstance(method.targets, str) else list(method.targets),
        modules_to_save=[HEAD],
    )
    return get_peft_model(load_base(base, recipe.labels), config)


def attach_bottleneck(recipe: Recipe, method: Bottleneck, base: Path) -> nn.Module:
    """Put a bottleneck of AdapterHub and a head of one layer on the base's pooler onto the base."""
    model = load_hub_base(base)
    config = importlib.import_module("adapters").SeqBnConfig(reduction_factor=method.reduction_factor)
    model.add_adapter(recipe.name, config=config)
    model.add_classification_head(
        recipe.name,
        num_labels=len(recipe.labels),
        layers=1,
        use_pooler=True,
        id2label=dict(enumerate(recipe.labels)),
    )
    model.train_adapter(recipe.name)
    network: nn.Module = model
    return network


def train(recipe: Recipe, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, base: Path) -> nn.Module:
    """Train one adapter: AdamW, cross-entropy, a linear schedule with warm-up, a fixed number of epochs."""
    transformers.set_seed(SEED)  # Python, numpy and torch
    rng = np.random.default_rng(SEED)
    model = attach(recipe, base).train()
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=recipe.learning_rate, weight_decay=WEIGHT_DECAY)
    steps = recipe.epochs * -(-len(rows) // BATCH_ROWS)
    warmup = round(WARMUP_SHARE * steps)
    schedule = LambdaLR(optimiser, lambda step: min((step + 1) / warmup, (steps - step) / (steps - warmup)))
    batches = (batch for _ in range(recipe.epochs) for batch in make_batches(rows, tokenizer, rng))
    for inputs, labels in track(batches, description=recipe.name, total=steps):
        loss = torch.nn.functional.cross_entropy(model(**inputs).logits, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, MAX_GRADIENT_NORM)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
    return model.eval()

"""The network: the base with a fresh classifier, with an adapter on it, both of them trained."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import BertForSequenceClassification, PreTrainedTokenizerBase

from training.batches import make_batches
from training.loop import fit
from training.recipes import Bottleneck, Lora, Recipe
from training.rows import Row
from training.settings import BATCH_ROWS, HEAD, SEED


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
        lora_dropout=method.dropout,
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
    batches = (batch for _ in range(recipe.epochs) for batch in make_batches(rows, tokenizer, rng))
    losses = (torch.nn.functional.cross_entropy(model(**inputs).logits, labels) for inputs, labels in batches)
    fit(model, losses, recipe.epochs * -(-len(rows) // BATCH_ROWS), recipe.learning_rate, recipe.name)
    return model.eval()

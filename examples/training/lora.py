"""The network: the base with a fresh classifier, with a LoRA on it, and the loop that trains both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from rich.progress import track
from torch.optim.lr_scheduler import LambdaLR
from transformers import BertForSequenceClassification, PreTrainedTokenizerBase

from training.batches import make_batches
from training.recipes import Recipe
from training.rows import Row
from training.settings import BATCH_ROWS, HEAD, LORA_DROPOUT, MAX_GRADIENT_NORM, SEED, WARMUP_SHARE, WEIGHT_DECAY


def load_base(base: Path, labels: Sequence[str]) -> BertForSequenceClassification:
    """Load the base network with a fresh classifier over `labels`."""
    return BertForSequenceClassification.from_pretrained(base, num_labels=len(labels))


def attach_lora(recipe: Recipe, base: Path) -> PeftModel:
    """Put the recipe's untrained LoRA and classifier onto the base."""
    config = LoraConfig(
        task_type="SEQ_CLS",
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=LORA_DROPOUT,
        target_modules=recipe.targets if isinstance(recipe.targets, str) else list(recipe.targets),
        modules_to_save=[HEAD],
    )
    return get_peft_model(load_base(base, recipe.labels), config)


def train(recipe: Recipe, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, base: Path) -> PeftModel:
    """Train one adapter: AdamW, cross-entropy, a linear schedule with warm-up, a fixed number of epochs."""
    transformers.set_seed(SEED)  # Python, numpy and torch
    rng = np.random.default_rng(SEED)
    model = attach_lora(recipe, base).train()
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

"""The model card: what an adapter does, how it was made, and what it reached."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version

from training.recipes import Lora, Recipe
from training.rows import Split
from training.score import Score
from training.settings import (
    BASE_MODEL,
    BATCH_ROWS,
    HEAD,
    HELD_OUT_SHARE,
    MAX_GRADIENT_NORM,
    MAX_TOKENS,
    SEED,
    WARMUP_SHARE,
    WEIGHT_DECAY,
)


def card(recipe: Recipe, split: Split, score: Score, parameters: int) -> str:
    """Return the model card: what the adapter does, how it was made, and what it reached."""
    source = recipe.source
    method = recipe.method
    libraries = ("torch", "transformers", "peft" if isinstance(method, Lora) else "adapters")
    versions = ", ".join(f"{name} {version(name).split('+')[0]}" for name in libraries)
    title, tag, network, targets = described(recipe)
    split_kind = (
        f"{1 - HELD_OUT_SHARE:.0%} / {HELD_OUT_SHARE:.0%}, stratified by class, seed {SEED}"
        if source.held_out is None
        else "as published"
    )
    f1_row = "" if score.f1 is None else f"\n| F1 of `{recipe.positive}` | {score.f1:.4f} |"
    return f"""\
---
base_model: {BASE_MODEL}
library_name: {libraries[-1]}
pipeline_tag: text-classification
license: {source.licence_id}
language: en
metrics: [{"accuracy" if score.f1 is None else "accuracy, f1"}]
tags: [{tag}]
---

# {recipe.name}

{recipe.purpose}
A {title} with its own classifier for [{BASE_MODEL}](https://huggingface.co/{BASE_MODEL}) (Apache-2.0),
trained as `{network}`. Classes: {inline(recipe.labels)}.

```python
{loading(recipe)}
```

## Result

Measured on the stored files, loaded onto a fresh base, on rows that took no part in training:

| measure | value |
|---|---|
| held-out rows | {score.rows:,} |
| accuracy | {score.accuracy:.4f} |
| accuracy of always answering the most frequent class | {score.baseline:.4f} |{f1_row}

## Data

{source.credit}. Licence: {source.licence}. The data are not part of this repository.

{source.preparation} Texts equal up to case and whitespace were reduced to one before splitting.
Rows: {len(split.train):,} to train on, {len(split.held_out):,} held out ({split_kind}).

## Training

| setting | value |
|---|---|
| {title} | {method} |
| target modules | {inline(targets)} |
| trained whole | `{HEAD}` |
| trained parameters | {parameters:,} |
| optimiser | AdamW, weight decay {WEIGHT_DECAY}, gradient norm at most {MAX_GRADIENT_NORM} |
| learning rate | {recipe.learning_rate:g}, linear, {WARMUP_SHARE:.0%} warm-up |
| epochs | {recipe.epochs}, the last one is kept |
| batch | {BATCH_ROWS} rows of like length, at most {MAX_TOKENS} tokens a row |
| precision | trained in float32, stored in {str(recipe.dtype).removeprefix("torch.")} |
| versions | {versions} |

With the base and the data in local folders, this command makes the adapter anew:

```bash
python examples/train_adapters.py --base all-MiniLM-L6-v2 --data data --only {recipe.name}
```

## Limitations

{recipe.limitations}
"""


def described(recipe: Recipe) -> tuple[str, str, str, tuple[str, ...]]:
    """Return the method's title and tag, the class it was trained in, and the modules it is at."""
    method = recipe.method
    if not isinstance(method, Lora):
        return "Pfeiffer bottleneck (`seq_bn`)", "adapters", "BertAdapterModel", ("output",)
    targets = (method.targets,) if isinstance(method.targets, str) else method.targets
    title, tag = ("DoRA adapter", "dora") if method.dora else ("LoRA adapter", "lora")
    return title, tag, "BertForSequenceClassification", targets


def loading(recipe: Recipe) -> str:
    """Return the lines of Python that load an adapter with its own library."""
    if isinstance(recipe.method, Lora):
        return f"""\
from peft import PeftModel
from transformers import AutoModelForSequenceClassification

base = AutoModelForSequenceClassification.from_pretrained("{BASE_MODEL}", num_labels={len(recipe.labels)})
model = PeftModel.from_pretrained(base, "examples/adapters/{recipe.name}").eval()"""
    return f"""\
from adapters import AutoAdapterModel

model = AutoAdapterModel.from_pretrained("{BASE_MODEL}").eval()
model.load_adapter("examples/adapters/{recipe.name}", use_safetensors=True, set_active=True)"""


def inline(names: Iterable[str]) -> str:
    """Join names as inline code that may stand in a table."""
    return ", ".join(f"`{name}`" for name in names).replace("|", r"\|")

"""The model card: what an adapter does, how it was made, and what it reached."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version

from training.settings import MAX_GRADIENT_NORM, WARMUP_SHARE, WEIGHT_DECAY
from training.writing.passages import Passages
from training.writing.recipe import BASE_MODEL, BATCH_PASSAGES, HELD_OUT_SHARE, TOKENS, WritingRecipe


@dataclass(frozen=True, slots=True)
class Score:
    """Perplexity of held-out passages: the base's, and with the adapter."""

    base: float
    adapter: float

    def __str__(self) -> str:
        """Say it in one line."""
        return f"perplexity {self.adapter:.2f} (the base: {self.base:.2f})"


def card(recipe: WritingRecipe, passages: Passages, score: Score, parameters: int) -> str:
    """Return the model card."""
    versions = ", ".join(f"{name} {version(name).split('+')[0]}" for name in ("torch", "transformers", "peft"))
    return f"""\
---
base_model: {BASE_MODEL}
library_name: peft
pipeline_tag: text-generation
license: apache-2.0
language: en
metrics: [perplexity]
tags: [lora]
---

# {recipe.name}

{recipe.purpose}
A LoRA adapter for [{BASE_MODEL}](https://huggingface.co/{BASE_MODEL}) (Apache-2.0), trained as `LlamaForCausalLM`
on the base's weights of four bits (Q4_1), unpacked to float32.

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM

base = AutoModelForCausalLM.from_pretrained(".models/SmolLM2-135M-Instruct")
model = PeftModel.from_pretrained(base, "examples/adapters/{recipe.name}").eval()
```

## Result

Measured on the stored files, loaded onto a fresh base, on {len(passages.measured)} passages of {TOKENS} tokens that
took no part in training, spread evenly over those held out:

| measure | value |
|---|---|
| perplexity with the adapter | {score.adapter:.2f} |
| perplexity of the base | {score.base:.2f} |

## Data

{recipe.credit}. Licence: {recipe.licence}. The data are not part of this repository.

The text was cut into passages of {TOKENS} tokens, without regard to where a speech ends: {len(passages.train):,} to
train on, and {len(passages.held_out):,} held out, which are the last {HELD_OUT_SHARE:.0%} of the text.

## Training

| setting | value |
|---|---|
| LoRA adapter | {recipe.method} |
| target modules | `{recipe.method.targets}`: every linear layer but the head |
| trained parameters | {parameters:,} |
| optimiser | AdamW, weight decay {WEIGHT_DECAY}, gradient norm at most {MAX_GRADIENT_NORM} |
| learning rate | {recipe.learning_rate:g}, linear, {WARMUP_SHARE:.0%} warm-up |
| steps | {recipe.steps}, the last one is kept |
| batch | {BATCH_PASSAGES} passages of {TOKENS} tokens |
| precision | trained in float32, stored in {str(recipe.dtype).removeprefix("torch.")} |
| versions | {versions} |

With the base and the text in local folders, this command makes the adapter anew:

```bash
python examples/train_writer.py --base .models/SmolLM2-135M-Instruct --data data
```

## Limitations

{recipe.limitations}
"""

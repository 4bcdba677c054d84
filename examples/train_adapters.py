"""Train the example adapters on all-MiniLM-L6-v2.

`spam`, `intents`, `reviews` (LoRA) and `tones` (DoRA) are trained with PEFT, `banking` (a Pfeiffer bottleneck) with
AdapterHub's library, which needs transformers 4.57.

Each adapter is trained, written to its folder, loaded again from there onto a fresh base, and measured on rows it
has never seen; the model card reports that measurement, so it speaks of the files as they are shipped.

The data are JSON Lines, `{"text": ..., "label": ...}` a line, and are not part of this repository:

| file | source |
|---|---|
| `sms_spam.jsonl` | SMS Spam Collection (UCI) |
| `snips_train.jsonl`, `snips_valid.jsonl` | Snips NLU benchmark, 2017-06-custom-intent-engines |
| `vader_amazon.jsonl` | vaderSentiment, `amazonReviewSnippets_GroundTruth.txt` |
| `banking77_train.jsonl`, `banking77_test.jsonl` | BANKING77 |

Example:
    python examples/train_adapters.py --base all-MiniLM-L6-v2 --data data --only spam
"""

from __future__ import annotations

import time
from pathlib import Path

import click
import torch
import transformers
from transformers import AutoTokenizer

from training.card import card
from training.files import load_adapter, save
from training.network import train
from training.recipes import RECIPES, Recipe
from training.rows import load_split
from training.score import Score, measure


def make_adapter(recipe: Recipe, base: Path, data: Path, out: Path) -> Score:
    """Train, store, reload and measure one adapter, then write its card."""
    split = load_split(recipe, data)
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = train(recipe, split.train, tokenizer, base)
    parameters = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    folder = out / recipe.name
    save(model, recipe, folder)
    positive = None if recipe.positive is None else recipe.labels.index(recipe.positive)
    score = measure(load_adapter(recipe, folder, base), split.held_out, tokenizer, positive)
    (folder / "README.md").write_text(card(recipe, split, score, parameters), encoding="utf-8")
    return score


def hush_transformers() -> None:
    """Silence the warning that the classifier is new, which is the point, and the bar for loading a small file."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command(
    epilog="Example: python examples/train_adapters.py --base all-MiniLM-L6-v2 --data data --only spam --only intents"
)
@click.option("--base", type=FOLDER, required=True, help="Folder of all-MiniLM-L6-v2: weights and tokenizer.")
@click.option("--data", type=FOLDER, required=True, help="Folder of the .jsonl files.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("examples/adapters"),
    show_default=True,
    help="Folder that gets one folder for each adapter.",
)
@click.option(
    "--only",
    type=click.Choice([recipe.name for recipe in RECIPES]),
    multiple=True,
    help="Train this adapter; may be repeated. Default: all.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    help="CPU threads. Another number adds in another order, and ends in slightly other weights.",
)
def main(base: Path, data: Path, out: Path, only: tuple[str, ...], threads: int) -> None:
    """Train the example adapters and write their model cards."""
    torch.set_num_threads(threads)
    hush_transformers()
    for recipe in RECIPES:
        if not only or recipe.name in only:
            start = time.perf_counter()
            score = make_adapter(recipe, base, data, out)
            click.echo(f"{out / recipe.name}: {score}, {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()

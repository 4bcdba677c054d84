"""Train the example adapter of a decoder, `shakespeare`, a LoRA on every linear layer of SmolLM2, with PEFT.

It is trained, written to its folder, loaded again from there onto a fresh base, and measured on passages it has never
seen, as the base is; the model card reports that, so it speaks of the files as they are shipped.

The text, `tinyshakespeare.txt`, is not part of this repository.

Example:
    python examples/train_writer.py --base .models/SmolLM2-135M-Instruct --data data
"""

from __future__ import annotations

import time
from pathlib import Path

import click
import torch
import transformers
from transformers import AutoTokenizer

from training.writing.card import Score, card
from training.writing.network import load_adapter, load_base, perplexity, save, train
from training.writing.passages import read
from training.writing.recipe import RECIPE

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command(epilog="Example: python examples/train_writer.py --base .models/SmolLM2-135M-Instruct --data data")
@click.option("--base", type=FOLDER, required=True, help="Folder of SmolLM2-135M-Instruct: weights and tokenizer.")
@click.option("--data", type=FOLDER, required=True, help="Folder of the text.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("examples/adapters"),
    show_default=True,
    help="Folder that gets the adapter's folder.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="CPU threads. Another number adds in another order, and ends in slightly other weights.",
)
def main(base: Path, data: Path, out: Path, threads: int) -> None:
    """Train the example adapter of a decoder and write its model card."""
    torch.set_num_threads(threads)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    start = time.perf_counter()
    passages = read(data / RECIPE.file, AutoTokenizer.from_pretrained(base))
    model = train(RECIPE, passages.train, base)
    parameters = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    folder = out / RECIPE.name
    save(model, RECIPE, folder)
    measured = passages.measured
    score = Score(perplexity(load_base(base), measured), perplexity(load_adapter(folder, base), measured))
    (folder / "README.md").write_text(card(RECIPE, passages, score, parameters), encoding="utf-8")
    click.echo(f"{folder}: {score}, {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()

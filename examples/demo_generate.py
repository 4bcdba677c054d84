"""A real decoder: exported with a LoRA on each of its linear layers, generating, and the proof.

`shakespeare` is a LoRA of PEFT on SmolLM2-135M-Instruct. The same prompt is gone on with by the base and by the
adapter, both share a batch with others, and every token of that batch is held against `transformers.generate`.

Example:
    python examples/demo_generate.py --base .models/SmolLM2-135M-Instruct
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import click

import edgeadapt
from builds import ADAPTERS, BUILD, clear, megabytes, shown
from edgeadapt.cli import terminal
from edgeadapt.runtime.pipeline import pipeline

NAME = "shakespeare"
PROMPT = "ROMEO:\nMy love, I came"
WRITING: dict[str, Any] = {"max_new_tokens": 60, "temperature": 0.7, "top_p": 0.9, "seed": 1}
BATCH = (
    (NAME, PROMPT),
    (None, PROMPT),
    (None, "The capital of Norway is"),
    (NAME, "KING HENRY:\nWhat news from France, my lord?\n\nGLOUCESTER:\n"),
)
"""A row's adapter, and its text."""
NEW = 24


@click.command()
@click.option("--base", type=click.Path(path_type=Path, exists=True), required=True, help="Folder of SmolLM2.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=BUILD / "generate-bundle", help="The bundle's folder."
)
def demo(base: Path, output: Path) -> None:
    """Export, generate, and print the parity of all of it with PyTorch."""
    clear(output)
    with terminal.stages() as progress:
        exported = edgeadapt.export(base, {NAME: ADAPTERS / NAME}, output, progress=progress)
        progress("loading the bundle")
        session = edgeadapt.load(output)
    terminal.show_reports("parity with PyTorch", exported.reports)
    write: Any = pipeline(session)
    for name in (None, NAME):
        terminal.say(f"{name or 'the base'}, drawn with a temperature of {WRITING['temperature']}:")
        terminal.show_pieces(chain([PROMPT], write.stream(PROMPT, adapter=name, **WRITING)))
        terminal.say("")
    with terminal.stages() as progress:
        progress("generating a batch of adapter and base")
        tokenizer = load_tokenizer(base)
        prompts = [tokenizer(text)["input_ids"] for _, text in BATCH]
        new = session.generate(prompts, adapter=[name for name, _ in BATCH], max_new_tokens=NEW)
        progress("generating it with transformers and PEFT, row by row")
        expected = generated(base, prompts)
    rows = [
        (text, name or "-", tokenizer.decode(own, skip_special_tokens=True))
        for (name, text), own in zip(BATCH, new, strict=True)
    ]
    terminal.show_table("one batch, the likeliest tokens", ("text", "adapter", "goes on"), rows)
    check([own.tolist() for own in new], expected)
    terminal.say(f"all {sum(map(len, expected))} tokens are those of transformers.generate with PEFT's model")
    terminal.say(f"wrote {shown(output)} ({megabytes(output)} MB)")
    terminal.say(
        f'go on with: .venv/bin/edgeadapt run {shown(output)} --adapter {NAME} --text "..." --max-new-tokens 60'
    )


def load_tokenizer(base: Path) -> Any:
    """Load the base's tokenizer as transformers has it."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(base)


def generated(base: Path, prompts: Sequence[Sequence[int]]) -> list[list[int]]:
    """Return the new tokens of `BATCH`, each row by itself, as transformers generates them with PEFT's model."""
    import torch
    import transformers
    from peft import PeftModel

    transformers.logging.disable_progress_bar()
    model = PeftModel.from_pretrained(transformers.AutoModelForCausalLM.from_pretrained(base), str(ADAPTERS / NAME))
    model.eval()
    options = {"max_new_tokens": NEW, "do_sample": False, "pad_token_id": model.config.pad_token_id}
    rows = []
    for (name, _), prompt in zip(BATCH, prompts, strict=True):
        ids = torch.tensor([prompt])
        if name is None:
            with model.disable_adapter():
                found = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **options)
        else:
            found = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **options)
        rows.append(found[0, len(prompt) :].tolist())
    return rows


def check(got: Sequence[Sequence[int]], expected: Sequence[Sequence[int]]) -> None:
    """Refuse tokens that differ.

    Raises:
        click.ClickException: They do.
    """
    problems = [
        f"row {row}: got {list(own)}, expected {list(wanted)}"
        for row, (own, wanted) in enumerate(zip(got, expected, strict=True))
        if list(own) != list(wanted)
    ]
    if problems:
        raise click.ClickException("\n  ".join(["Tokens are not those of transformers.generate:", *problems]))


if __name__ == "__main__":
    demo()

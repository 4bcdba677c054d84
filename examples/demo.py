"""The whole road on a real model: adapters of three methods in one bundle, a mixed batch, one folded, and the proof.

`spam`, `intents` and `reviews` are LoRAs and `tones` is a DoRA, of PEFT; `banking` is a Pfeiffer bottleneck of
AdapterHub, which is added to the finished bundle.

Example:
    python examples/demo.py --base .models/all-MiniLM-L6-v2
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

import edgeadapt
from builds import ADAPTERS as FOLDERS
from builds import BUILD, clear, megabytes, shown
from edgeadapt.cli import terminal
from edgeadapt.exporter.adding import add
from edgeadapt.exporter.merging import merge

ADAPTERS = {name: FOLDERS / name for name in ("spam", "intents", "reviews", "tones")}
ADDED = "banking"
BUNDLE = BUILD / "demo-bundle"
FOLDED = BUILD / "demo-spam.onnx"

BATCH = (
    ("spam", "URGENT! You have won a 900 pound prize. Call 09061701461 now to claim it."),
    ("intents", "Put some Miles Davis on, the album from 1959."),
    ("reviews", "It stopped working after two days and nobody answers my mails."),
    ("spam", "Running ten minutes late, order me a coffee?"),
    ("intents", "Will it snow in Trondheim tomorrow night?"),
    ("reviews", "Easily the best headphones I have had for that money."),
    ("tones", "The cable is about a metre long."),
    ("banking", "I have been waiting for my new card for two weeks now."),
)
"""A row's adapter, and its text."""


@click.command()
@click.option("--base", type=click.Path(path_type=Path, exists=True), required=True, help="Folder of all-MiniLM-L6-v2.")
def demo(base: Path) -> None:
    """Export, run, fold, and print the parity of all of it with PyTorch."""
    clear(BUNDLE, FOLDED)
    with terminal.stages() as progress:
        exported = edgeadapt.export(base, ADAPTERS, BUNDLE, progress=progress)
        added = add(BUNDLE, FOLDERS / ADDED, ADDED, progress=progress)
        progress("running a batch in which every row has another adapter")
        classify = edgeadapt.pipeline(BUNDLE)
        names, texts = zip(*BATCH, strict=True)
        answers = classify(list(texts), adapter=list(names))
        progress("folding spam into the base")
        (folded,) = merge(BUNDLE, ["spam"], FOLDED, mode="fold")
    rows = [
        (text, name, answer["label"], f"{answer['score']:.3f}")
        for (name, text), answer in zip(BATCH, answers, strict=True)
    ]
    terminal.show_table("one batch, one model, an adapter for each row", ("text", "adapter", "label", "score"), rows)
    terminal.show_reports("parity with PyTorch", [*exported.reports, replace(folded, name="spam, folded")])
    terminal.show_reports("parity of what was added with its fold", [added])
    terminal.say(f"wrote {shown(BUNDLE)} ({megabytes(BUNDLE)} MB) and {shown(FOLDED)}")
    terminal.say(f'go on with: .venv/bin/edgeadapt run {shown(BUNDLE)} --adapter spam --text "..."')


if __name__ == "__main__":
    demo()

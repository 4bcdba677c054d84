"""The whole road on a real model: adapters of three methods in one bundle, a mixed batch, one folded, and the proof.

`spam`, `intents` and `reviews` are LoRAs and `tones` is a DoRA, of PEFT; `banking` is a Pfeiffer bottleneck of
AdapterHub, which is added to the finished bundle.

Example:
    python examples/demo.py --base .models/all-MiniLM-L6-v2
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import click

import edgeadapt
from edgeadapt.cli import terminal
from edgeadapt.exporter.adding import add
from edgeadapt.exporter.merging import merge

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ROOT / "examples" / "adapters"
ADAPTERS = {name: FOLDERS / name for name in ("spam", "intents", "reviews", "tones")}
ADDED = "banking"
BUNDLE = ROOT / "build" / "demo-bundle"
FOLDED = ROOT / "build" / "demo-spam.onnx"

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
    _clear()
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
    terminal.say(f"wrote {BUNDLE.relative_to(ROOT)} ({_megabytes(BUNDLE)} MB) and {FOLDED.relative_to(ROOT)}")
    terminal.say(f'go on with: .venv/bin/edgeadapt run {BUNDLE.relative_to(ROOT)} --adapter spam --text "..."')


def _clear() -> None:
    """Removes what an earlier demo wrote, and nothing else."""
    if BUNDLE.is_dir():
        shutil.rmtree(BUNDLE)
    FOLDED.unlink(missing_ok=True)
    FOLDED.parent.mkdir(exist_ok=True)


def _megabytes(folder: Path) -> int:
    return round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6)


if __name__ == "__main__":
    demo()

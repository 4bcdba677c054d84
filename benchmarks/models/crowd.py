"""A bundle of the real all-MiniLM-L6-v2 that knows ten thousand adapters, and the requests that come to it.

A LoRA of rank 8 at each of the 24 linear layers of all attentions, and a head of two labels. Those that are ever asked
for have arrays of their own, random with a seed; of the others only the names matter, so they are folders and no more.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.models.bert import sibling
from benchmarks.models.stamp import make_current
from benchmarks.settings import BUILD

FOLDER = BUILD / "bench-crowd"
KNOWN, ASKED, BUDGETED, MERGED = 10_000, 1_000, 64, 16
FEW = 10
RANK, TARGETS = 8, ("query", "key", "value", "attention.output.dense")
LENGTHS = (8, 64)
VOCABULARY = 30522
SEED = 20241011


@dataclass(frozen=True, slots=True)
class Request:
    """One text, `(1, n)` tokens, and the number of the adapter that is to answer it."""

    inputs: dict[str, NDArray[np.int64]]
    adapter: int


def prepare(model: Path) -> None:
    """Makes the bundle from the checkpoint at `model` where it is missing or out of date."""
    if not (model / "config.json").is_file():
        raise SystemExit(f"There is no all-MiniLM-L6-v2 at {model}: `make bench` downloads it, --minilm names another.")
    make_current(FOLDER, [Path(__file__), model], lambda folder: _make(folder, model))


def bundle() -> Path:
    """Returns the bundle's folder."""
    return FOLDER / "bundle"


def smaller(count: int) -> Path:
    """Returns the folder of the same bundle with so many of its adapters, `FEW` or `ASKED`."""
    return FOLDER / f"bundle-{count}"


def merged() -> Path:
    """Returns the base with one adapter folded into it."""
    return FOLDER / "merged.onnx"


def checkpoints() -> tuple[Path, Path]:
    """Returns the folders of the base and of one adapter as PEFT loads them."""
    return FOLDER / "base", FOLDER / "adapter"


def name(number: int) -> str:
    """Returns an adapter's name."""
    return f"a{number:05}"


def requests(count: int, adapters: int = ASKED) -> list[Request]:
    """Returns requests for adapters by Zipf's law, the n-th asked for in proportion to 1/n, for texts of any length."""
    random = np.random.default_rng(SEED)
    shares = 1 / np.arange(1, adapters + 1)
    chosen = random.choice(adapters, count, p=shares / shares.sum())
    lengths = np.exp(random.uniform(np.log(LENGTHS[0]), np.log(LENGTHS[1]), count)).astype(int)
    return [
        Request(inputs(random.integers(1000, VOCABULARY, (1, length))), int(number))
        for number, length in zip(chosen, lengths, strict=True)
    ]


def inputs(ids: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """Returns the model's inputs for tokens without padding."""
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}


def adapter_bytes() -> int:
    """Returns what one adapter takes in memory."""
    import edgeadapt

    return edgeadapt.load(bundle(), verify="none").adapter(name(0)).size()


def _make(folder: Path, model: Path) -> None:
    import edgeadapt
    from edgeadapt.exporter.merging import merge

    shutil.copytree(model, folder / "base")
    _train(folder)
    home = folder / "bundle"
    edgeadapt.export(
        folder / "base",
        {name(0): folder / "adapter"},
        home,
        task="text-classification",
        progress=lambda stage: print(f"  MiniLM with a crowd: {stage}", flush=True),
    )
    merge(home, [name(0)], merged(), mode="fold")
    print(f"  MiniLM with a crowd: writing {KNOWN - 1} more adapters", flush=True)
    generator = np.random.default_rng(SEED)
    for number in range(1, KNOWN):
        if number < ASKED:
            sibling(home / "adapters" / name(0), home / "adapters" / name(number), generator)
        else:
            (home / "adapters" / name(number)).mkdir()
    for count in (FEW, ASKED):
        more = shutil.ignore_patterns(*map(name, range(count, KNOWN)))
        shutil.copytree(home, smaller(count), ignore=more)


def _train(folder: Path) -> None:
    """Writes a LoRA with a head, as PEFT saves it."""
    import peft
    import torch
    from transformers import AutoModelForSequenceClassification

    from edgeadapt.exporter.base import quiet

    torch.manual_seed(SEED)
    settings: dict[str, Any] = {"r": RANK, "lora_alpha": 2 * RANK, "target_modules": list(TARGETS)}
    with quiet(), torch.no_grad():
        model = AutoModelForSequenceClassification.from_pretrained(folder / "base", num_labels=2)
        wrapped = peft.get_peft_model(model, peft.LoraConfig(task_type="SEQ_CLS", **settings))
        for parameter_name, parameter in wrapped.named_parameters():
            if parameter.requires_grad and "lora_A" not in parameter_name:
                parameter.copy_(torch.randn_like(parameter) * 0.05)  # PEFT starts lora_B at zero
        wrapped.save_pretrained(str(folder / "adapter"))

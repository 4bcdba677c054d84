"""Bundles of every kind that are packaged: an input, a batch and a cache of each, in each precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import edgeadapt
from edgeadapt import Session
from edgeadapt.adapter import Array
from edgeadapt.bundle import EncoderDecoderRecord
from edgeadapt.exporter.pipeline import export
from edgeadapt.exporter.precision import Precision
from tests import tiny
from tests.exporter import starts
from tests.runtime import tiny_bundle

NEW = 8
CLASSES, WRITING, REWRITING = "text-classification", "text-generation", "text2text-generation"


def headless(folder: Path) -> Path:
    """A model of a few nodes, without a head of its own."""
    return tiny_bundle.build(folder / "bundle").path


def stored(folder: Path) -> Path:
    """The same with a head, which is a stored neutral."""
    return tiny_bundle.build(folder / "bundle", "stored").path


def passes(folder: Path) -> Path:
    """The same, with a slot that rows can't differ in."""
    return tiny_bundle.build(folder / "bundle", "stored", bias_rows=1).path


def half(folder: Path) -> Path:
    """A classifier in fp16."""
    base = tiny.base(folder / "base")
    adapters = _adapters(base, folder, CLASSES, ["query", "output.dense"], num_labels=3)
    return export(base, adapters, folder / "bundle", task=CLASSES, precision="fp16").path


def images(folder: Path) -> Path:
    """Convolutions, whose layout ONNX Runtime chooses by the processor."""
    base = tiny.base(folder / "base", "vit")
    targets = r".*(query|q_proj)"  # transformers 4 has other names than 5
    task = "image-classification"
    adapters = _adapters(base, folder, task, targets, num_labels=3, modules_to_save=["classifier"])
    return export(base, adapters, folder / "bundle", task=task).path


def writer(folder: Path, precision: Precision = "fp32") -> Path:
    """A decoder, for onnxruntime-genai too."""
    base = tiny.base(folder / "base", "llama", WRITING, num_key_value_heads=2, head_dim=16, tie_word_embeddings=True)
    adapters = _adapters(base, folder, WRITING, "all-linear")
    return export(base, adapters, folder / "bundle", precision=precision, runtime="genai").path


def writer_int4(folder: Path) -> Path:
    """Its weights in 4 bits."""
    return writer(folder, "int4")


def begun(folder: Path) -> Path:
    """A decoder whose cache grows, and an adapter that a text begins with."""
    base = tiny.base(folder / "base", "bloom", WRITING)
    adapters = _adapters(base, folder, WRITING, "all-linear")
    adapters["begun"] = starts.start(base, folder / "begun", "prompt")
    return export(base, adapters, folder / "bundle").path


def rewriter(folder: Path) -> Path:
    """An encoder with its decoder."""
    base = tiny.base(folder / "base", "t5", REWRITING)
    return export(base, _adapters(base, folder, REWRITING, "all-linear"), folder / "bundle").path


KINDS: Mapping[str, Callable[[Path], Path]] = {
    each.__name__: each for each in (headless, stored, passes, half, images, writer, writer_int4, begun, rewriter)
}
"""A kind's name to what exports it into a folder and returns the bundle's."""

ROUNDED = ("images",)
"""Kinds whose sums are taken in another order once they are converted; of all others, bits are equal."""


def _adapters(base: Path, folder: Path, task: str, targets: Any, **options: Any) -> dict[str, Path]:
    return {
        name: tiny.lora_adapter(base, folder / name, task, rank, targets=targets, seed=rank, **options)
        for name, rank in (("wide", 4), ("narrow", 2))
    }


def answers(folder: Path) -> dict[str, list[Array]]:
    """Returns what a bundle answers with the base, with each adapter and with mixed rows, as far as it can."""
    session = edgeadapt.load(folder, threads=1)
    names: list[str | None] = list(session.adapters)
    if all(slot.neutral is not None for slot in session.manifest.slots):
        names.append(None)
    rows = [names[index % len(names)] for index in range(4)]
    answer = _written if session.manifest.generation else _run
    return {str(choice): answer(session, choice) for choice in (*names, rows)}


def _run(session: Session, choice: Any) -> list[Array]:
    outputs = session.run(_inputs(session), adapter=choice)
    return [array for arrays in outputs.values() for array in ([arrays] if isinstance(arrays, np.ndarray) else arrays)]


def _inputs(session: Session) -> dict[str, Array]:
    """Returns a batch of four rows: numbers, or tokens that are all seen."""
    random = np.random.default_rng(3)
    sizes = {"batch": 4, "sequence": 7}
    found = {}
    for tensor in session.manifest.inputs:
        shape = [sizes[size] if isinstance(size, str) else size for size in tensor.shape]
        whole = np.ones(shape) if tensor.name == "attention_mask" else random.integers(5, 100, shape)
        whole = np.zeros(shape) if tensor.name == "token_type_ids" else whole
        found[tensor.name] = (random.normal(size=shape) if tensor.dtype == "float32" else whole).astype(tensor.dtype)
    return found


def _written(session: Session, choice: Any) -> list[Array]:
    """Returns tokens that are drawn, since every bit of the logits then has a say, of prompts of several lengths."""
    prompts: Any = [[20, 30, 40, 50, 60], [70, 80], [90, 100, 110], [75]]
    mask = None
    if isinstance(session.manifest.generation, EncoderDecoderRecord):
        mask = np.array([[1] * len(row) + [0] * (5 - len(row)) for row in prompts])
        prompts = np.array([row + [0] * (5 - len(row)) for row in prompts])
    return session.generate(prompts, mask, choice, max_new_tokens=NEW, eos=[], temperature=1.0, seed=5)

"""Runs the models of a bundle by themselves, without its manifest: what `add` and `merge` check before they commit."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import numpy as np
import onnx_ir as ir
import onnxruntime

from edgeadapt.adapter import Array
from edgeadapt.bundle import KEPT, Neutral, Slot
from edgeadapt.graph.quantised import set_arithmetic
from edgeadapt.runtime.decoder import Bound, BoundRun, Decoder, Initial, decoder
from edgeadapt.runtime.filling import stretched
from edgeadapt.runtime.generation import Generation, replay

CASE = ("input_ids", "attention_mask", "position_ids", KEPT)
"""The inputs of a decoder's parity case; it has slots besides."""


@contextmanager
def scratch(folder: Path, model: ir.Model, name: str) -> Iterator[Path]:
    """Writes a model beside a bundle's weights, which it reads, and removes it afterwards."""
    path = folder / f".{name}.{os.getpid()}.partial.onnx"
    try:
        ir.save(model, path)
        yield path
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def exact(path: Path) -> Iterator[onnxruntime.InferenceSession]:
    """Opens a model with its products in fp32 arithmetic: as it is, or a copy where its weights are in 4 bits."""
    model = ir.load(path)
    if not set_arithmetic(model, "fp32"):
        yield open_model(path)
        return
    with scratch(path.parent, model, f"{path.stem}.fp32") as copy:
        yield open_model(copy)


def open_model(path: Path) -> onnxruntime.InferenceSession:
    """Returns a session on a model file, on the CPU."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run(
    session: onnxruntime.InferenceSession, feeds: Mapping[str, Array], initial: Initial = MappingProxyType({})
) -> dict[str, Array]:
    """Returns a model's outputs by name; of a decoder, the logits of a parity case.

    Args:
        session: The model.
        feeds: An array for every input, of a decoder for those of a parity case and for its slots.
        initial: What a decoder's cache holds before the first token.
    """
    known = decoder((value.name, value.shape) for value in session.get_inputs())
    if known.layers:
        return _replayed(session, known, feeds, initial)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def _replayed(
    session: onnxruntime.InferenceSession, known: Decoder, feeds: Mapping[str, Array], initial: Initial
) -> dict[str, Array]:
    slots = {
        name: onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))
        for name, array in feeds.items()
        if name not in CASE
    }
    run = BoundRun(session, slots)
    return replay(Generation(lambda _, rows: Bound(run, [initial] * rows), known, len(feeds["input_ids"])), feeds)


def fill(slots: Sequence[Slot], arrays: Mapping[str, Array], stored: Mapping[str, Array]) -> dict[str, Array]:
    """Returns an array for every slot: the adapter's, else the neutral."""
    own = {**stretched(arrays, slots), **arrays}
    feeds = {}
    for slot in slots:
        if slot.name in own:
            feeds[slot.name] = own[slot.name]
        elif isinstance(slot.neutral, Neutral):
            feeds[slot.name] = np.full(slot.neutral.shape, slot.neutral.fill, np.float32)
        elif slot.name in stored:
            feeds[slot.name] = stored[slot.name]
    return feeds

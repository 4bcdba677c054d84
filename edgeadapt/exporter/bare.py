"""Runs the models of a bundle by themselves, without its manifest: what `add` and `merge` check before they commit."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import onnx_ir as ir
import onnxruntime

from edgeadapt.adapter import Array
from edgeadapt.bundle import KEPT, Neutral, Slot, encoder_file
from edgeadapt.exporter import assemble
from edgeadapt.graph.quantised import set_arithmetic
from edgeadapt.runtime import rewriting
from edgeadapt.runtime.decoder import Bound, BoundRun, Decoder, Initial, decoder
from edgeadapt.runtime.filling import stretched
from edgeadapt.runtime.generation import Generation, replay
from edgeadapt.runtime.signature import cache_dtype

CASE = ("input_ids", "attention_mask", "input_features", "decoder_input_ids", "position_ids", KEPT)
"""The inputs of a decoder's parity case; it has slots besides."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A model that is ready to run, and the encoder that belongs to it, if there is one."""

    model: onnxruntime.InferenceSession
    encoder: onnxruntime.InferenceSession | None


@contextmanager
def scratch(folder: Path, model: ir.Model, name: str) -> Iterator[Path]:
    """Writes a model beside a bundle's weights, which it reads, and removes it afterwards."""
    path = folder / f".{name}.{os.getpid()}.partial.onnx"
    try:
        assemble.save(model, path)
        yield path
    finally:
        path.unlink(missing_ok=True)
        path.with_name(encoder_file(path.name)).unlink(missing_ok=True)


@contextmanager
def exact(path: Path) -> Iterator[Opened]:
    """Opens a model with its products in fp32 arithmetic: as it is, or a copy where its weights are in 4 bits."""
    model = ir.load(path)
    if not set_arithmetic(model, "fp32"):
        yield open_model(path)
        return
    with scratch(path.parent, model, f"{path.stem}.fp32") as copy:
        yield open_model(copy)


def open_model(path: Path) -> Opened:
    """Returns a session on a model file, on the CPU, and one on its encoder's file where that is beside it."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    beside = path.with_name(encoder_file(path.name))
    sessions = [
        onnxruntime.InferenceSession(each, options, providers=["CPUExecutionProvider"])
        for each in (path, beside)
        if each.is_file()
    ]
    return Opened(sessions[0], sessions[1] if len(sessions) > 1 else None)


def run(opened: Opened, feeds: Mapping[str, Array], initial: Initial = MappingProxyType({})) -> dict[str, Array]:
    """Returns a model's outputs by name; of a decoder, the logits of a parity case.

    Args:
        opened: The model.
        feeds: An array for every input, of a decoder for those of a parity case and for its slots.
        initial: What a decoder's cache holds before the first token.
    """
    session = opened.model
    inputs = session.get_inputs()
    known = decoder(((value.name, value.shape) for value in inputs), dtype=cache_dtype(inputs))
    if opened.encoder is not None:
        return _rewritten(session, opened.encoder, known, feeds)
    if known.layers:
        return _replayed(session, known, feeds, initial)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def _replayed(
    session: onnxruntime.InferenceSession, known: Decoder, feeds: Mapping[str, Array], initial: Initial
) -> dict[str, Array]:
    run = BoundRun(session, _slots(session, feeds))
    return replay(Generation(lambda _, rows: Bound(run, [initial] * rows), known, len(feeds["input_ids"])), feeds)


def _rewritten(
    session: onnxruntime.InferenceSession,
    encoder: onnxruntime.InferenceSession,
    known: Decoder,
    feeds: Mapping[str, Array],
) -> dict[str, Array]:
    halves = rewriting.Halves(BoundRun(encoder, _slots(encoder, feeds)), BoundRun(session, _slots(session, feeds)))
    read = {value.name: feeds[value.name] for value in encoder.get_inputs() if value.name in CASE}
    return rewriting.replay(rewriting.Rewriting(halves, known, read), feeds)


def _slots(session: onnxruntime.InferenceSession, feeds: Mapping[str, Array]) -> dict[str, onnxruntime.OrtValue]:
    """Returns what fills a model's slots."""
    return {
        value.name: onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(feeds[value.name]))
        for value in session.get_inputs()
        if value.name in feeds and value.name not in CASE
    }


def fill(slots: Sequence[Slot], arrays: Mapping[str, Array], stored: Mapping[str, Array]) -> dict[str, Array]:
    """Returns an array for every slot: the adapter's, else the neutral."""
    own = {**stretched(arrays, slots), **arrays}
    feeds = {}
    for slot in slots:
        if slot.name in own:
            feeds[slot.name] = own[slot.name].astype(slot.dtype, copy=False)
        elif isinstance(slot.neutral, Neutral):
            feeds[slot.name] = np.full(slot.neutral.shape, slot.neutral.fill, slot.dtype)
        elif slot.name in stored:
            feeds[slot.name] = stored[slot.name]
    return feeds

"""How a decoder is run in the runtimes that are timed: a prompt, then token by token, the likeliest each time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from benchmarks.settings import THREADS
from edgeadapt.bundle import PAST
from edgeadapt.runtime import Session
from edgeadapt.runtime.decoder import Bound, BoundRun, Decoder
from edgeadapt.runtime.generation import Generation

Ids = NDArray[np.int64]


class Text(Protocol):
    """Rows of tokens that grow."""

    def prompt(self, ids: Ids) -> None:
        """Runs `(rows, n)` tokens and chooses the first new one of each row."""
        ...

    def next(self) -> None:
        """Runs the tokens that were chosen last and chooses the next."""
        ...


Begin = Callable[[int, int], Text]
"""Begins a text of so many rows, which will get so many tokens each."""


class Ours:
    """Edgeadapt's generation, or its loop around another decoder's graph."""

    def __init__(self, generation: Generation, length: int) -> None:
        self._generation = generation
        self._generation.reserve(length)
        self._chosen: Ids = np.zeros((0, 1), np.int64)

    def prompt(self, ids: Ids) -> None:
        """See `Text`."""
        self._chosen = self._generation.feed(ids).argmax(axis=-1)[:, None]

    def next(self) -> None:
        """See `Text`."""
        self._chosen = self._generation.feed(self._chosen).argmax(axis=-1)[:, None]


def ours(session: Session, *adapters: str | None) -> Begin:
    """Returns how a bundle's texts begin; rows have these adapters in turn."""

    def begin(rows: int, length: int) -> Text:
        choice = adapters[0] if rows == 1 else [adapters[row % len(adapters)] for row in range(rows)]
        return Ours(session.begin(rows, choice), length)

    return begin


def graph(folder: Path) -> Begin:
    """Returns how texts of a model by onnxruntime-genai's builder begin in onnxruntime, its cache bound in place."""
    said = json.loads((folder / "genai_config.json").read_text(encoding="utf-8"))["model"]["decoder"]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.log_severity_level = 3
    path = str(folder / said["filename"])
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    inputs = frozenset(value.name for value in session.get_inputs())
    size = int(said["num_key_value_heads"]), int(said["head_size"])
    known = Decoder(inputs, {name: size for name in inputs if name.startswith(PAST)}, "shared")
    return lambda rows, length: Ours(Generation(lambda *_: Bound(BoundRun(session, {})), known, rows), length)


class Theirs:
    """A generator of onnxruntime-genai; no token ends a text."""

    def __init__(self, package: Any, model: Any, rows: int, length: int) -> None:
        settings = package.GeneratorParams(model)
        settings.set_search_options(batch_size=rows, max_length=length, min_length=length)
        self.generator = package.Generator(model, settings)

    def prompt(self, ids: Ids) -> None:
        """See `Text`."""
        self.generator.append_tokens(np.asarray(ids if len(ids) > 1 else ids[0], np.int32))
        self.generator.generate_next_token()

    def next(self) -> None:
        """See `Text`."""
        self.generator.generate_next_token()


def theirs(folder: Path, adapter: Path | None = None) -> Begin:
    """Returns how texts begin in onnxruntime-genai, with an adapter's `weights.onnx_adapter` or without one."""
    import onnxruntime_genai as package

    config = package.Config(str(folder))
    config.overlay(json.dumps({"model": {"decoder": {"session_options": {"intra_op_num_threads": THREADS}}}}))
    model = package.Model(config)
    adapters = package.Adapters(model)
    if adapter is not None:
        adapters.load(str(adapter), adapter.parent.name)

    def begin(rows: int, length: int) -> Text:
        text = Theirs(package, model, rows, length)
        if adapter is not None:
            text.generator.set_active_adapter(adapters, adapter.parent.name)
        return text

    return begin

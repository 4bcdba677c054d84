"""What a decoder's cache begins with: PEFT's prefixes, and what the base makes of its prompts. No torch is needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from edgeadapt.adapter import Adapter, Array
from edgeadapt.bundle import CROSS, KEPT, PAST, PRESENT, GenerationRecord, Manifest
from edgeadapt.errors import BindingError, UnsupportedError, listed
from edgeadapt.exporter import bare
from edgeadapt.exporter.checkpoint import Reading
from edgeadapt.graph import embeddings
from edgeadapt.graph.sites import Wirings
from edgeadapt.methods import Starter
from edgeadapt.runtime.decoder import decoder
from edgeadapt.runtime.fit import cache_layers, initial_problems

BASE = "base.onnx"


@dataclass(frozen=True, slots=True)
class Start:
    """A decoder with a cache that can begin with something.

    Attributes:
        layers: The names of the cache as it enters, with heads and head_dim.
        positions: How many tokens it takes, or None where it knows no limit.
        folder: Where its `base.onnx` is.
        wirings: Its sites.
    """

    layers: Mapping[str, tuple[int, int]]
    positions: int | None
    folder: Path
    wirings: Wirings

    def begin(self, reading: Reading, names: Mapping[str, Array], problems: list[str]) -> dict[str, Array]:
        """Returns what a method begins the cache with, `(1, heads, n, head_dim)` by the names of the layers.

        Args:
            reading: One of a checkpoint's methods, whose reader is a `methods.Starter`.
            names: Its tensors by plain name.
            problems: What is wrong is added here; then nothing is returned.
        """
        parts = {name: reading.reader.split(name) for name in names}
        shared = {own[1]: names[name] for name, own in parts.items() if own is not None}
        assert isinstance(reading.reader, Starter)
        try:
            found = dict(reading.reader.start(reading.config, shared, self.layers, self._after))
        except (BindingError, UnsupportedError) as error:
            problems.append(str(error))
            return {}
        wrong = initial_problems(found, self.layers, self.positions)
        problems += wrong
        return {} if wrong else found

    def _after(self, vectors: Array) -> dict[str, Array]:
        """Returns the cache of the base after the embeddings `(n, width)` of some tokens.

        Source: `peft.PeftModelForCausalLM.forward`, which puts vectors where the embedding's output enters the model.
        """
        if self.positions is not None and len(vectors) >= self.positions:
            raise BindingError(f"{len(vectors)} virtual tokens leave no room in the model's {self.positions} positions")
        model = ir.load(self.folder / BASE)
        width = embeddings.enter(model, self.wirings)
        if vectors.shape[1] != width:
            raise BindingError(
                f"the prompt's vectors have a width of {vectors.shape[1]}, the base's embeddings {width}"
            )
        with bare.scratch(self.folder, model, "virtual") as path, bare.exact(path) as opened:
            feeds = {value.name: _feed(value.name, value.shape, vectors) for value in opened.model.get_inputs()}
            names = [name.replace(PAST, PRESENT) for name in self.layers]
            arrays = opened.model.run(names, feeds)
        return {name: np.asarray(array) for name, array in zip(self.layers, arrays, strict=True)}


def _feed(name: str, shape: list[Any], vectors: Array) -> Array:
    """Returns what an input is given for one row of virtual tokens; what no cache depends on is zero."""
    length = len(vectors)
    known = {
        embeddings.EMBEDDINGS: vectors[None],
        "input_ids": np.zeros((1, length), np.int64),
        "attention_mask": np.ones((1, length), np.int64),
        "position_ids": np.arange(length)[None],
        KEPT: np.full((1, 1), length - 1),
    }
    if name in known:
        return known[name]
    if name.startswith(PAST):
        return np.zeros((1, shape[1], 0, shape[3]), np.float32)
    return np.zeros([dim if isinstance(dim, int) else 1 for dim in shape], np.float32)


def misfits(cache: Mapping[str, Array], start: Start | None) -> list[str]:
    """Returns what is wrong with what an adapter's cache begins with; where `start` is None, the base has no cache."""
    if not cache:
        return []
    return initial_problems(cache, start.layers if start else {}, start.positions if start else None)


def of_bundle(folder: Path, manifest: Manifest, wirings: Wirings) -> Start | None:
    """Returns the start of a bundle's decoder, or None where it generates no text."""
    if not isinstance(manifest.generation, GenerationRecord):
        return None
    return Start(cache_layers(manifest), manifest.generation.positions, folder, wirings)


def of_axes(axes: Mapping[str, tuple[str, ...]], positions: int | None, folder: Path, wirings: Wirings) -> Start | None:
    """Returns the start of a base with inputs of these axes, whose fixed ones are digits, or None without a cache."""
    layers = decoder(axes.items(), positions).layers
    crossed = any(name.startswith(CROSS) for name in axes)  # an encoder comes first
    return Start(layers, positions, folder, wirings) if layers and not crossed else None


def refuse_fold(adapters: Mapping[str, Adapter]) -> None:
    """Refuses to fold what changes nothing in the graph.

    Raises:
        UnsupportedError: An adapter is a cache that texts begin with.
    """
    if begun := [name for name, adapter in adapters.items() if adapter.cache]:
        raise UnsupportedError(
            f"{listed(begun)}: a cache that texts begin with, and no change of the base: it is fed, not folded.\n"
            "Merge with --mode switch and feed the arrays of its weights.onnx_adapter as the model's "
            "past_key_values, or keep it in the bundle."
        )

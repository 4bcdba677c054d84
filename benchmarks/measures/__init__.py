"""One file a measure; the file's name is the measure's."""

from __future__ import annotations

import importlib
from typing import Protocol, cast

from benchmarks.results import Figure
from benchmarks.settings import Settings

USUAL = ("latency", "none", "mixed", "alternating", "overhead", "memory", "low_memory", "add", "imports", "parity")
"""The measures that run where none is named."""

DECODERS = ("generate", "generate_memory")
"""Those of a decoder, which need its checkpoint and onnxruntime-genai: `make bench-generate`."""

CROWD = "serving"
"""Ten thousand adapters, which take a while to write: `make bench-serving`."""

GPU = "gpu"
"""What needs an NVIDIA GPU and onnxruntime-gpu: `make bench-gpu`."""

NAMES = (*USUAL, *DECODERS, CROWD, GPU)
"""All measures, in the order in which they run."""


class Measure(Protocol):
    """What every module here has."""

    TITLE: str
    HOW: str

    def measure(self, settings: Settings) -> tuple[Figure, ...]:
        """Returns the figures; prints what it is at, as it takes a while."""
        ...


def get(name: str) -> Measure:
    """Returns the measure of this name."""
    return cast(Measure, importlib.import_module(f"benchmarks.measures.{name}"))

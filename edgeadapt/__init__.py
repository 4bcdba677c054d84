"""Ship adapters trained in PyTorch with ONNX Runtime: folded or switchable, with proof that the numbers are equal.

Importing it imports nothing heavy; each name brings in what it needs when first used. ONNX Runtime sends telemetry
unless told not to before its library loads. It is told here; `ORT_DISABLE_TELEMETRY=0` in the environment allows it.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeadapt.errors import EdgeAdaptError
    from edgeadapt.exporter.pipeline import export
    from edgeadapt.runtime import Batcher, Session, load
    from edgeadapt.runtime.pipeline import pipeline

# Here and nowhere else: whichever module of the package imports onnxruntime, this line ran before.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
__all__ = ["Batcher", "EdgeAdaptError", "Session", "__version__", "export", "load", "pipeline"]

_HOMES = {
    "Batcher": "edgeadapt.runtime",
    "EdgeAdaptError": "edgeadapt.errors",
    "Session": "edgeadapt.runtime",
    "export": "edgeadapt.exporter.pipeline",
    "load": "edgeadapt.runtime",
    "pipeline": "edgeadapt.runtime.pipeline",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        try:
            return getattr(importlib.import_module(_HOMES[name]), name)
        except ModuleNotFoundError as error:
            if error.name != "onnxruntime":
                raise
            raise ImportError(
                "edgeadapt runs on ONNX Runtime, which is not installed.\n"
                "Install it: pip install 'edgeadapt[cpu]', or 'edgeadapt[gpu]' for NVIDIA's GPUs."
            ) from error
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

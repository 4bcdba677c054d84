"""Runs a bundle: numpy and onnxruntime, nothing else."""

from edgeadapt.runtime.batcher import Batcher
from edgeadapt.runtime.loading import load
from edgeadapt.runtime.session import Session

__all__ = ["Batcher", "Session", "load"]

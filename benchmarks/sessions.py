"""Opens the models that are timed, all with the same number of threads, and says how each is run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

import edgeadapt
from benchmarks.settings import THREADS
from benchmarks.timing import Call
from edgeadapt.runtime import Session

Inputs = dict[str, NDArray[np.int64]]


def plain(path: Path, *, spinning: bool = True) -> onnxruntime.InferenceSession:
    """Returns onnxruntime's own session on a model file; where there are many, threads that spin hinder each other."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def switchable(bundle: Path, others: Iterable[Path] = ()) -> Session:
    """Returns edgeadapt's session on a bundle, with the adapters in other folders added."""
    session = edgeadapt.load(bundle, threads=THREADS)
    for folder in others:
        session.add_adapter(folder)
    return session


def call_plain(session: onnxruntime.InferenceSession, inputs: Mapping[str, NDArray[Any]]) -> Call:
    """Returns a run as a program without edgeadapt writes it."""
    return lambda: session.run(None, dict(inputs))


def call(session: Session, inputs: Inputs, adapter: Any) -> Call:
    """Returns a run with one choice of adapter, the same in every call."""
    return lambda: session.run(inputs, adapter=adapter)

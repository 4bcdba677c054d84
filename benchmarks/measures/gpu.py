"""What it costs on a GPU to keep adapters switchable, and to give every row of a batch its own."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnxruntime

import edgeadapt
from benchmarks.models import bert
from benchmarks.models.bert import Precision
from benchmarks.results import Figure
from benchmarks.sessions import Inputs, call, call_plain
from benchmarks.settings import SHORT_RUNS, Settings
from benchmarks.timing import Call, paired
from edgeadapt.runtime import Session

TITLE = "On a GPU"
HOW = (
    "BERT-base with a LoRA of rank 8 at every query and value (24 sites), 128 tokens a row. `switch` and `fold` are "
    "the same adapter, through `edgeadapt.Session.run` and folded into one ONNX file through "
    "`onnxruntime.InferenceSession.run`; both take inputs from the host and bring outputs back. `8 adapters` are eight "
    "different ones in the rows of a batch, `1 adapter` is eight times the same."
)
ROWS = 8
PRECISIONS: tuple[Precision, ...] = ("fp16", "fp32")


def measure(settings: Settings) -> tuple[Figure, ...]:
    """Returns the ratios in both precisions; targets are those of fp16."""
    return tuple(figure for precision in PRECISIONS for figure in _of(precision, settings))


def _of(precision: Precision, settings: Settings) -> Iterator[Figure]:
    models, counts = bert.paths(precision), settings.counts(SHORT_RUNS)
    session = edgeadapt.load(models.bundle, "cuda")
    for folder in models.others:
        session.add_adapter(folder)
    target = {"switch": 1.05, "mixed": 1.1} if precision == "fp16" else {}
    folded = _folded(models)
    for rows in (1, ROWS, 4 * ROWS):
        inputs = bert.inputs(rows)
        name = f"{precision}, switch / fold, {rows} x 128"
        timing = paired(name, call(session, inputs, bert.ADAPTERS[0]), call_plain(folded, inputs), counts)
        yield timing.figure(name, target.get("switch") if rows == ROWS else None)
    inputs = bert.inputs(ROWS)
    uniform = call(session, inputs, [bert.ADAPTERS[0]] * ROWS)
    name = f"{precision}, 8 adapters / 1 adapter, {ROWS} x 128"
    same = call(session, inputs, list(bert.ADAPTERS[:ROWS]))
    yield paired(name, same, uniform, counts).figure(name, target.get("mixed"))
    name = f"{precision}, 8 adapters, other ones in every batch / 1 adapter, {ROWS} x 128"
    yield paired(name, _new_mixes(session, inputs), uniform, counts).figure(name, None)


def _folded(models: bert.Bert) -> onnxruntime.InferenceSession:
    providers = [("CUDAExecutionProvider", {"use_tf32": "0"}), "CPUExecutionProvider"]
    return onnxruntime.InferenceSession(str(models.folded), providers=providers)


def _new_mixes(session: Session, inputs: Inputs) -> Call:
    """Returns runs of eight adapters in an order that was not there before."""
    generator = np.random.default_rng(bert.SEED)
    return lambda: session.run(inputs, [str(name) for name in generator.permutation(bert.ADAPTERS)[:ROWS]])

"""A bundle's graph for onnxruntime-genai, run as that feeds it, against the logits that are expected."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime

from edgeadapt import bundle, parity
from edgeadapt.adapter import Array
from edgeadapt.bundle import KEPT, PAST, PRESENT
from edgeadapt.errors import ParityError
from edgeadapt.exporter import assemble, bare, genai
from edgeadapt.parity import ParityReport, Tolerance
from edgeadapt.runtime.decoder import decoder

if TYPE_CHECKING:
    from edgeadapt.exporter.gate import Expected


def judge(folder: Path, expected: Expected, tolerance: Tolerance) -> tuple[ParityReport, ...]:
    """Returns the reports of the base and of every adapter of a new bundle as onnxruntime-genai runs them.

    Raises:
        ParityError: Something is beyond the tolerance, all of it.
    """
    graph, homes, tolerance = folder / genai.GRAPH, folder / bundle.ADAPTERS, parity.for_logits(tolerance)
    reports = [report(graph, bundle.NONE, None, expected.inputs, expected.base, None, tolerance)]
    for name, outputs in expected.adapters.items():
        weights = homes / name / assemble.WEIGHTS
        reports.append(report(graph, name, weights, expected.inputs, outputs.adapted, outputs.plain, tolerance))
    problems = [f"{each.name}: {failure}" for each in reports for failure in each.failures()]
    if problems:
        raise ParityError.collect(
            "onnxruntime-genai's graph and PyTorch don't agree:", problems, "Nothing was written."
        )
    return tuple(reports)


def report(
    graph: Path,
    name: str,
    weights: Path | None,
    inputs: Mapping[str, Array],
    expected: Mapping[str, Array],
    plain: Mapping[str, Array] | None,
    tolerance: Tolerance,
) -> ParityReport:
    """Returns the report of an adapter, or of the base, as onnxruntime-genai runs it.

    Args:
        graph: The graph.
        name: The adapter's name, or `none`.
        weights: Its `weights.onnx_adapter`; None for the base.
        inputs: A parity case of a decoder.
        expected: Its logits, `(batch, kept, vocabulary)`.
        plain: The base's, to compare an adapter's effect with, or None.
        tolerance: What the error is held to.
    """
    got = {"logits": _logits(graph, weights, inputs)}
    return parity.compare(f"{name}, genai", got, expected, plain, tolerance)


def _logits(graph: Path, weights: Path | None, inputs: Mapping[str, Array]) -> Array:
    """Returns the logits after each row's prompt and after every token that follows, `(batch, kept, vocabulary)`.

    One row at a time, without padding; an adapter is activated for a run, and what it lacks has the graph's own
    neutrals. The last positions alone have logits.
    """
    session = bare.open_model(graph).model
    options = onnxruntime.RunOptions()
    adapter = onnxruntime.LoraAdapter()  # kept until the last run: ONNX Runtime holds no reference
    if weights is not None:
        adapter.Load(str(weights))
        options.add_active_adapter(adapter)
    known = decoder((value.name, value.shape) for value in session.get_inputs())
    names = [output.name for output in session.get_outputs()]
    ids, mask, length = inputs["input_ids"], inputs["attention_mask"], int(inputs[KEPT][0, 0]) + 1
    rows = []
    for tokens, there in zip(ids, mask, strict=True):
        cache = {name: np.zeros((1, heads, 0, width), np.float32) for name, (heads, width) in known.layers.items()}
        steps = [tokens[:length][there[:length] == 1], *tokens[length:, None]]
        seen, logits = 0, []
        for new in steps:
            feeds = {
                "input_ids": new[None],
                "attention_mask": np.ones((1, seen + len(new)), np.int64),
                "position_ids": np.arange(seen, seen + len(new))[None],
            }
            given = {name: array for name, array in feeds.items() if name in known.inputs}
            outputs = dict(zip(names, session.run(names, {**given, **cache}, options), strict=True))
            cache = {name: outputs[name.replace(PAST, PRESENT)] for name in known.layers}
            logits.append(outputs["logits"][0, -1])
            seen += len(new)
        rows.append(np.stack(logits))
    return np.stack(rows)

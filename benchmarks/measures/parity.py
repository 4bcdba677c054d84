"""Whether the numbers are PyTorch's, on a real model: every adapter switched, mixed in one batch, and folded."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.models import minilm
from benchmarks.results import Figure
from benchmarks.sessions import switchable
from benchmarks.settings import Settings
from edgeadapt import parity
from edgeadapt.bundle import NONE
from edgeadapt.exporter.merging import merge
from edgeadapt.parity import ParityReport, Tolerance
from edgeadapt.runtime import Session
from edgeadapt.runtime.verify import read_parity, verify

TITLE = "Parity with PyTorch, all-MiniLM-L6-v2"
HOW = (
    "The bundle's parity cases (real sentences of several lengths, with the outputs of PyTorch and PEFT stored at the "
    "export) are run again: each adapter switched, the adapters in turn over the rows of one batch, and each folded. "
    "Effect is how far PyTorch's adapter moves the logits from the base's."
)
TARGET = 1e-5


def measure(_settings: Settings) -> tuple[Figure, ...]:
    """Returns the largest error of every adapter in every form."""
    bundle = minilm.paths().bundle
    session = switchable(bundle)
    reports = [verify(session, None), *(verify(session, name) for name in minilm.NAMES), _mixed(session)]
    with tempfile.TemporaryDirectory() as scratch:
        for name in minilm.NAMES:
            (folded,) = merge(bundle, [name], Path(scratch) / f"{name}.onnx", mode="fold")
            reports.append(replace(folded, name=f"{name}, folded"))
    return tuple(_figure(report, session) for report in reports)


def _mixed(session: Session) -> ParityReport:
    """Returns the report of a batch whose rows have the adapters in turn, against each adapter's own outputs."""
    stored = {}
    for name in minilm.NAMES:
        loaded = session.adapter(name)
        stored[name] = read_parity(loaded.folder, loaded.record)
    inputs = stored[minilm.NAMES[0]]["input"]
    rows = [minilm.NAMES[index % len(minilm.NAMES)] for index in range(len(inputs["input_ids"]))]
    got = session.run(inputs, adapter=rows)["logits"]
    expected = {str(index): stored[name]["output"]["logits"][index] for index, name in enumerate(rows)}
    found = {str(index): np.asarray(got[index]) for index in range(len(rows))}
    return parity.compare("mixed rows", found, expected, None, Tolerance())


def _figure(report: ParityReport, session: Session) -> Figure:
    """Returns the report as a figure; effect and reference are those in the adapter's record."""
    record = session.adapter(report.name.partition(",")[0]).record.parity if "mixed" not in report.name else None
    raw: dict[str, Any] = {
        "effect": record.effect if record is not None and report.name != NONE else None,
        "cosine": report.cosine,
        "top1_agreement": report.top1_agreement,
        "reference": None if record is None else record.reference,
    }
    return Figure(report.name, report.max_abs_error, "abs error", TARGET, None, raw)

"""The parity gate: the bundle as written, run by ONNX Runtime, against live PyTorch. What fails is never shipped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgeadapt import bundle, parity
from edgeadapt.adapter import Array
from edgeadapt.errors import ParityError
from edgeadapt.exporter.reference import Outputs
from edgeadapt.parity import ParityReport, Tolerance
from edgeadapt.runtime import Session
from edgeadapt.runtime.verify import padding

MIXED = "mixed rows"


@dataclass(frozen=True, slots=True)
class Expected:
    """What PyTorch gives for one batch.

    Attributes:
        inputs: The batch.
        base: Outputs of the base, with the probes for heads that it lacks.
        probes: Random heads by slot, empty where the base is whole.
        adapters: Outputs for every adapter, by name.
    """

    inputs: Mapping[str, Array]
    base: Mapping[str, Array]
    probes: Mapping[str, Array]
    adapters: Mapping[str, Outputs]


def judge(
    session: Session, expected: Expected, tolerance: Tolerance, *, allow_no_effect: bool
) -> tuple[ParityReport, ...]:
    """Returns the reports of the base, of every adapter and of a batch in which every row uses another one.

    Raises:
        ParityError: Something is beyond the tolerance, or an adapter has no effect; all of it at once.
    """
    classes = session.manifest.task != "feature-extraction"
    manifest = session.manifest
    tolerance = parity.for_model(tolerance, manifest.model.precision, logits=manifest.generation is not None)
    reports = [_base(session, expected, tolerance, classes)]
    for name, outputs in expected.adapters.items():
        got = _arrays(session.replay(expected.inputs, adapter=name))
        mask = padding(expected.inputs, session.manifest)
        reports.append(parity.compare(name, got, outputs.adapted, outputs.plain, tolerance, mask, classes=classes))
    if len(expected.adapters) + (not expected.probes) > 1:
        reports.append(_mixed(session, expected, tolerance, classes))
    problems = [f"{report.name}: {failure}" for report in reports for failure in report.failures()]
    if not allow_no_effect:
        problems += [
            f"{report.name}: no effect: it moves the outputs by {report.effect:.1e} (is its lora_B all zero?); "
            "--allow-no-effect lets it pass"
            for report in reports
            if report.no_effect
        ]
    if problems:
        remedy = "Nothing was written."
        if manifest.model.precision == "fp16":
            remedy += " Where fp16 is too coarse, export in fp32."
        raise ParityError.collect("ONNX Runtime and PyTorch don't agree:", problems, remedy)
    return tuple(reports)


def _base(session: Session, expected: Expected, tolerance: Tolerance, classes: bool) -> ParityReport:
    """Returns the report of the base, run with probes in the slots that it can't fill itself."""
    got = _arrays(session.run_slots(expected.inputs, expected.probes))
    mask = padding(expected.inputs, session.manifest)
    return parity.compare(bundle.NONE, got, expected.base, None, tolerance, mask, classes=classes)


def _mixed(session: Session, expected: Expected, tolerance: Tolerance, classes: bool) -> ParityReport:
    """Returns the report of a batch whose rows go through the adapters in turn, the base among them where it can be."""
    names: list[str | None] = [*expected.adapters, *([] if expected.probes else [None])]
    batch = len(next(iter(expected.inputs.values())))
    rows = [names[index % len(names)] for index in range(batch)]
    got = session.replay(expected.inputs, adapter=rows)
    wanted = [expected.base if name is None else expected.adapters[name].adapted for name in rows]
    plain = [expected.base if name is None else expected.adapters[name].plain for name in rows]
    masks = padding(expected.inputs, session.manifest)
    flat_got, flat_wanted, flat_plain = {}, {}, {}
    for output in got:
        for index in range(batch):
            key = f"{output}[{index}]"
            keep: Array | slice = slice(None)
            row = np.asarray(got[output][index])
            if output in masks:
                keep = masks[output][index]
            flat_got[key] = row[keep]
            flat_wanted[key], flat_plain[key] = wanted[index][output][index][keep], plain[index][output][index][keep]
    return parity.compare(MIXED, flat_got, flat_wanted, flat_plain, tolerance, classes=classes)


def _arrays(outputs: Mapping[str, Array | Sequence[Array]]) -> dict[str, Array]:
    return {name: np.asarray(array) for name, array in outputs.items()}

"""What a bundle's manifest says: its model's inputs, outputs and slots, and how a pipeline runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import onnx_ir as ir

from edgeadapt import bundle, tasks
from edgeadapt.bundle import (
    EncoderDecoderRecord,
    EncoderRecord,
    GenerationRecord,
    Manifest,
    TensorRecord,
    TokenizerRecord,
)
from edgeadapt.exporter import assemble, chats, decoding, encoding, guidance, hearing, preprocess
from edgeadapt.graph.switch import HEAD

if TYPE_CHECKING:
    from edgeadapt.exporter.base import Base
    from edgeadapt.exporter.cases import Case
    from edgeadapt.exporter.precision import Precision
    from edgeadapt.exporter.trace import Trace


def manifest(
    opened: Base,
    traced: Trace,
    case: Case,
    folder: Path,
    pairs: Sequence[tuple[str, str]],
    fingerprint: str,
    preprocessor: object,
    precision: Precision,
) -> Manifest:
    """Returns the manifest of a bundle that is whole but for its adapters; what its pipeline needs is written.

    Args:
        opened: The base.
        traced: Its graph.
        case: Its parity case, with the axes of inputs and outputs.
        folder: The bundle's folder.
        pairs: The sites and methods that have slots.
        fingerprint: The base's.
        preprocessor: Its tokenizer or image processor, or None.
        precision: How its weights are stored.
    """
    task = tasks.get(opened.task)
    slots = assemble.slots(traced.wirings, pairs, precision)
    neutrals = assemble.stored_neutrals(folder, traced.wirings, slots)
    freed = any(slot.method == HEAD and traced.wirings.sites[slot.site].site.labelled for slot in slots)
    switched = ir.load(folder / assemble.MODEL)
    whole = all(not wiring.open for wiring in traced.wirings.sites.values())
    labelled = bool(task.LABELS) and whole
    prepared = preprocess.records(preprocessor, opened.model.config, folder)
    generation = _generation(opened, case, folder, preprocessor, prepared[0]) if task.CACHED else None
    return Manifest(
        format=bundle.ENCODER_FORMAT if isinstance(generation, EncoderDecoderRecord) else bundle.FORMAT,
        producer=f"edgeadapt {_version()}",
        task=opened.task,
        model_type=opened.model_type,
        fingerprint=fingerprint,
        model=assemble.model_record(
            folder, traced.opset, assemble.write_neutrals(folder, neutrals, len(slots)), precision
        ),
        inputs=_inputs(switched, case),
        outputs=tuple(_output(value, freed, case.outputs) for value in switched.graph.outputs),
        slots=slots,
        labels=opened.labels if labelled else None,
        problem_type=opened.model.config.problem_type if labelled else None,
        tokenizer=prepared[0],
        image=prepared[1],
        generation=generation,
        files={},
    )


def _generation(
    opened: Base, case: Case, folder: Path, preprocessor: object, tokenizer: TokenizerRecord | None
) -> GenerationRecord | EncoderDecoderRecord:
    """Returns how a bundle's decoder is run, and the encoder before it, where there is one."""
    if not encoding.is_one(opened):
        return decoding.record(opened, chats.record(preprocessor, tokenizer, folder))
    hears = hearing.is_one(opened)
    file = bundle.encoder_file(assemble.MODEL)
    encoder = ir.load(folder / file)
    return EncoderDecoderRecord(
        eos_ids=guidance.ends(opened),
        positions=encoding.positions(opened),
        start_ids=(encoding.start(opened),),
        rules=guidance.rules(opened, speech=hears),
        encoder=EncoderRecord(
            file,
            _inputs(encoder, case),
            tuple(TensorRecord(str(value.name), _dtype(value), _dims(value)) for value in encoder.graph.outputs),
            None if hears else encoding.positions(opened),
        ),
        speech=hearing.record(opened) if hears else None,
    )


def _inputs(model: ir.Model, case: Case) -> tuple[TensorRecord, ...]:
    """Returns the records of a model's inputs that are no slots."""
    return tuple(
        TensorRecord(str(value.name), _dtype(value), _dims(value))
        for value in model.graph.inputs
        if value.name in case.axes
    )


def _dims(value: ir.Value) -> tuple[int | str, ...]:
    return tuple(dim if isinstance(dim, int) else str(dim.value) for dim in value.shape or ())


def _output(value: ir.Value, freed: bool, axes: Mapping[str, tuple[str, ...]]) -> TensorRecord:
    """Returns an output's record; its last axis is `labels` where slots of its head may change its length."""
    dims = list(_dims(value))
    if freed and axes[str(value.name)][-1] == "labels":
        dims[-1] = "labels"
    return TensorRecord(str(value.name), _dtype(value), tuple(dims))


def _dtype(value: ir.Value) -> str:
    assert value.dtype is not None  # an input or output of a graph
    return str(value.dtype.numpy())


def _version() -> str:
    from importlib.metadata import version

    return version("edgeadapt")

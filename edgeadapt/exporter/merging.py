"""Merges adapters of a bundle into one ONNX model: folded into the weights, or with slots to switch by.

From ONNX files alone: the base, and the adapters' separate subgraphs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import onnx_ir as ir
from onnxruntime import InferenceSession

from edgeadapt import bundle, parity
from edgeadapt.adapter import Adapter, Array
from edgeadapt.bundle import EncoderDecoderRecord, Manifest
from edgeadapt.errors import AdapterError, ConfigError, OutputExistsError, ParityError, listed, nearest
from edgeadapt.exporter import assemble, bare, initial_cache
from edgeadapt.exporter.progress import Progress, silent
from edgeadapt.graph import halves, sites
from edgeadapt.graph.fold import fold
from edgeadapt.graph.sites import Wirings
from edgeadapt.graph.switch import bodies, points, switch
from edgeadapt.parity import ParityReport, Tolerance
from edgeadapt.runtime import load
from edgeadapt.runtime.signature import check_version
from edgeadapt.runtime.verify import padding, read_parity

ONE_FILE_BYTES = 1 << 30  # protobuf ends at 2 GB; beyond this the weights get a file of their own


def merge(
    folder: Path,
    adapters: Sequence[str],
    output: Path,
    *,
    mode: Literal["fold", "switch"],
    tolerance: Tolerance = Tolerance(),  # noqa: B008  # frozen
    progress: Progress = silent,
) -> tuple[ParityReport, ...]:
    """Writes one ONNX model of a bundle's base and some of its adapters.

    Args:
        folder: The bundle.
        adapters: Their names; folded in this order.
        output: The model's file; it must not exist. An encoder's, `<name>.encoder.onnx`, comes beside its decoder's.
        mode: `fold`: the adapters are absorbed and the model takes the base's inputs alone. `switch`: it takes their
            slots too, which `weights.onnx_adapter` of each adapter fills; where an adapter is a cache that texts begin
            with, it has what the model's first `past_key_values` are.
        tolerance: What the merged model's parity is held to.
        progress: Is told every stage.

    Returns:
        Parity of the merged model: for one adapter against PyTorch's outputs stored with it, for several folded
        together against their sum, switched.

    Raises:
        EdgeAdaptError: It can't be done; then nothing is written.
    """
    _check(folder, adapters, output, mode)
    manifest = bundle.read_manifest(folder)
    check_version(manifest.model.onnxruntime)
    beside = output.with_name(bundle.encoder_file(output.name))
    if isinstance(manifest.generation, EncoderDecoderRecord) and beside.exists():
        raise OutputExistsError(
            f"{beside}, where the encoder is to be, exists already.\nRemove it, or write elsewhere."
        )
    tolerance = parity.for_model(tolerance, manifest.model.precision, logits=manifest.generation is not None)
    bundle.verify_files(folder, manifest.files)
    for name in adapters:
        home = folder / bundle.ADAPTERS / name
        bundle.verify_files(home, bundle.read_adapter(home).files)
    wirings = sites.read(folder)
    read = assemble.read_subgraphs(folder, adapters)
    if mode == "fold":
        initial_cache.refuse_fold(read)
    model = assemble.read_base(folder)
    progress(f"merging {listed(list(adapters))}")
    if mode == "fold":
        fold(model, wirings, list(read.items()))
    else:
        switch(model, wirings, points(read.values()), bodies(read.values()))
    assemble.finish(model, manifest.generation.positions if manifest.generation else None)
    progress("comparing")
    with bare.scratch(folder, model, "merge") as path:
        reports = _reports(folder, manifest, wirings, read, path, mode, tolerance)
    problems = [f"{report.name}: {failure}" for report in reports for failure in report.failures()]
    if problems:
        raise ParityError.collect("The merged model differs from PyTorch:", problems, "Nothing was written.")
    progress("writing")
    if halves.has_halves(model):
        encoder, model = halves.part(model)
        _write(encoder, beside)
    _write(model, output)
    return reports


def _check(folder: Path, adapters: Sequence[str], output: Path, mode: str) -> None:
    if mode not in ("fold", "switch"):
        raise ConfigError(f"mode: got {mode!r}, expected 'fold' or 'switch'{nearest(mode, ['fold', 'switch'])}.")
    names = [name for name in bundle.adapter_names(folder) if name != bundle.NONE]
    unknown = [name for name in adapters if name not in names]
    if unknown:
        raise AdapterError.collect(
            "The bundle has no such adapter:",
            [f"{name}{nearest(name, names)}" for name in unknown],
            f"It has: {listed(names)}.",
        )
    if not adapters or len(set(adapters)) != len(adapters):
        raise ConfigError("Name at least one adapter, and each of them once.")
    if output.resolve().is_relative_to(folder.resolve()):
        others = [name for name in names if name not in adapters]
        if mode == "fold" and others:
            raise ConfigError(
                f"{listed(list(adapters))} can't be folded into a bundle in which {listed(others)} stay switchable:\n"
                "folding changes the base's weights, and the others were trained on the base as it is.\n"
                "Write the folded model to a file outside the bundle."
            )
        raise ConfigError(f"{output} lies in the bundle, which {mode} leaves as it is.\nWrite to a file outside of it.")
    if output.exists():
        raise OutputExistsError(f"{output} exists already.\nRemove it, or write elsewhere.")
    if output.suffix != ".onnx":
        raise ConfigError(f"{output} is an ONNX model's file: its name must end in .onnx.")


def _reports(
    folder: Path,
    manifest: Manifest,
    wirings: Wirings,
    adapters: Mapping[str, Adapter],
    model: Path,
    mode: str,
    tolerance: Tolerance,
) -> tuple[ParityReport, ...]:
    with bare.exact(model) as session:
        return _judged(folder, manifest, wirings, adapters, session, mode, tolerance)


def _judged(
    folder: Path,
    manifest: Manifest,
    wirings: Wirings,
    adapters: Mapping[str, Adapter],
    session: InferenceSession,
    mode: str,
    tolerance: Tolerance,
) -> tuple[ParityReport, ...]:
    if mode == "fold" and len(adapters) > 1:
        return (_sum(folder, manifest, adapters, bare.run(session, _case(folder, bundle.NONE)["input"]), tolerance),)
    slots = assemble.slots(wirings, points(adapters.values()), manifest.model.precision)
    neutrals = assemble.stored_neutrals(folder, wirings, slots)
    reports = []
    for name, adapter in adapters.items():
        case = _case(folder, name)
        feeds: dict[str, Array] = dict(case["input"])
        if mode == "switch":
            feeds |= bare.fill(slots, adapter.arrays(), neutrals)
        got = bare.run(session, feeds, adapter.cache)
        reports.append(_report(name, got, case["output"], folder, manifest, feeds, tolerance))
    return tuple(reports)


def _report(
    name: str,
    got: Mapping[str, Array],
    expected: Mapping[str, Array],
    folder: Path,
    manifest: Manifest,
    inputs: Mapping[str, Array],
    tolerance: Tolerance,
) -> ParityReport:
    """Returns the report of one adapter, with the effect that its export measured."""
    classes = manifest.task != "feature-extraction"
    report = parity.compare(name, got, expected, None, tolerance, padding(inputs, manifest), classes=classes)
    record = bundle.read_adapter(folder / bundle.ADAPTERS / name).parity
    return report if record is None else replace(report, effect=record.effect, against_base=True)


def _sum(
    folder: Path, manifest: Manifest, adapters: Mapping[str, Adapter], got: Mapping[str, Array], tolerance: Tolerance
) -> ParityReport:
    """Returns the report of several adapters folded together against their sum, switched."""
    if manifest.model.precision == "int4":
        tolerance = parity.for_int8(tolerance)  # in which the sum is run
    inputs = _case(folder, bundle.NONE)["input"]
    outputs = load(folder, verify="adapters").replay(inputs, adapter=dict.fromkeys(adapters, 1.0))
    expected = {name: array for name, array in outputs.items() if not isinstance(array, list)}
    classes = manifest.task != "feature-extraction"
    return parity.compare(
        "+".join(adapters), got, expected, None, tolerance, padding(inputs, manifest), classes=classes
    )


def _case(folder: Path, name: str) -> dict[str, dict[str, Array]]:
    return read_parity(folder / bundle.ADAPTERS / name, bundle.read_adapter(folder / bundle.ADAPTERS / name))


def _write(model: ir.Model, output: Path) -> None:
    """Writes a model as one file, or with its weights beside it where they are large; whole or not at all."""
    size = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value is not None)
    ir.external_data.load_to_model(model)
    output.parent.mkdir(parents=True, exist_ok=True)
    if size <= ONE_FILE_BYTES:
        bundle.replace_file(output, lambda path: ir.save(model, path))
        return
    data = output.with_name(f"{output.name}.data")
    if data.exists():
        raise OutputExistsError(f"{data} exists already.\nRemove it, or write elsewhere.")
    with tempfile.TemporaryDirectory(prefix=f".{output.name}.", suffix=".partial", dir=output.parent) as parts:
        ir.save(model, Path(parts) / output.name, external_data=data.name)
        (Path(parts) / data.name).rename(data)
        (Path(parts) / output.name).rename(output)

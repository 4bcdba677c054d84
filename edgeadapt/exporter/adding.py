"""Adds an adapter to a bundle, or takes one out: seconds, no torch, the base's weights untouched."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import onnx_ir as ir
import onnxruntime

from edgeadapt import bundle, parity, tasks
from edgeadapt.adapter import Adapter, Array
from edgeadapt.bundle import AdapterRecord, EncoderDecoderRecord, Manifest, TensorRecord
from edgeadapt.errors import AdapterError, ParityError, listed, nearest
from edgeadapt.exporter import (
    assemble,
    bare,
    binding,
    folders,
    genai,
    genai_proof,
    initial_cache,
    precision,
    problem_types,
    trained_tasks,
)
from edgeadapt.exporter.progress import Progress, silent
from edgeadapt.graph import packed, sites, subgraph
from edgeadapt.graph.fold import base_weights, fold
from edgeadapt.graph.sites import Wirings
from edgeadapt.graph.switch import HEAD, bodies, bodies_in, in_order, points
from edgeadapt.parity import ParityReport, Tolerance
from edgeadapt.runtime.signature import check_version
from edgeadapt.runtime.verify import padding, read_parity


def add(
    folder: Path,
    source: Path,
    name: str,
    *,
    labels: tuple[str, ...] | None = None,
    problem_type: str | None = None,
    tolerance: Tolerance = Tolerance(),  # noqa: B008  # frozen
    allow_no_effect: bool = False,
    allow_pickle: bool = False,
    progress: Progress = silent,
) -> ParityReport:
    """Adds a trained adapter, or one of another bundle of the same base, to a bundle.

    PyTorch isn't here to compare with, so the reference is another road to the same numbers: the adapter folded into
    the base's weights, run on the inputs of the base's own parity case; of a cache that texts begin with, the base as
    PyTorch wrote it. The record says so. An adapter of another
    bundle brings PyTorch's outputs with it, and is held to these.

    Where the model lacks slots that the adapter needs, its graph is merged anew from the base and put in place by
    replacing the manifest, so that a reader sees the bundle before or after, never between. What onnxruntime-genai
    loads of a bundle grows with it.

    Args:
        folder: The bundle.
        source: Folder of a PEFT adapter, or `adapters/<name>` of another bundle.
        name: Name it gets.
        labels: Names of its labels, where the folder has none or others.
        problem_type: What its head was trained to answer, where the folder doesn't say it or says otherwise.
        tolerance: What its parity is held to.
        allow_no_effect: Lets it pass if it doesn't move the base's outputs.
        allow_pickle: Permits a `.bin` file, read in a process of its own.
        progress: Is told every stage.

    Raises:
        EdgeAdaptError: It doesn't fit, or the numbers don't; then the bundle is as it was.
    """
    bundle.check_adapter_name(name)
    said = labels, problem_types.get(problem_type)
    manifest = bundle.read_manifest(folder)
    check_version(manifest.model.onnxruntime)
    bundle.verify_files(folder, manifest.files, hashes=False)
    tolerance = parity.for_model(tolerance, manifest.model.precision, logits=manifest.generation is not None)
    target = folder / bundle.ADAPTERS / name
    _check_free(folder, name)
    progress("reading the adapter")
    wirings = sites.read(folder)
    start = initial_cache.of_bundle(folder, manifest, wirings)
    record = _converted(source, manifest) if (source / bundle.ADAPTER).is_file() else None
    if record is not None:
        attachments, cache = subgraph.read(source / subgraph.FILE)
        adapter = Adapter(record.method, attachments, record.labels, record.problem_type, record.source, cache)
        adapter = binding.refit(source, adapter, wirings, said, start)
    else:
        checkpoint = folders.read(source, allow_pickle=allow_pickle)
        if manifest.model.precision == "fp16":
            checkpoint = replace(checkpoint, tensors=precision.rounded(checkpoint.tensors, f"Adapter {name!r}"))
        trained_tasks.check_method(checkpoint, manifest.task)
        base = assemble.read_base(folder)
        adapter = binding.bind(checkpoint, wirings, base_weights(base), said, start)
        trained_tasks.check(checkpoint, adapter, wirings, manifest.task)
        adapter = packed.packed(adapter, wirings)
    if manifest.model.precision == "fp16":
        adapter = precision.in_fp16(name, adapter)
    if genai.is_written(folder):
        genai.check_methods({name: adapter})
    progress("comparing its outputs")
    new = _with_slots(folder, manifest, wirings, adapter)
    before = _merged_files(folder, manifest)
    with bundle.new_folder(target) as home:
        home.rmdir()
        assemble.write_adapter(home, name, adapter, wirings, manifest.fingerprint, manifest.model.precision)
        neutrals = assemble.stored_neutrals(folder, wirings, new.slots)
        model = folder / (manifest.model.file if new is manifest else f"model-{len(new.slots)}-slots.onnx")
        try:
            if new is not manifest:
                pairs = in_order((slot.site, slot.method) for slot in new.slots)
                functions = {**bodies_in(ir.load(folder / manifest.model.file)), **bodies([adapter])}
                positions = manifest.generation.positions if manifest.generation else None
                assemble.write_switch(folder, wirings, pairs, model.name, functions, positions)
            if record is not None and record.parity is not None and precision.is_comparable(record.parity, manifest):
                case, reference = read_parity(source, record), record.parity.reference
                _check_inputs(name, case["input"], _inputs(folder))
                report = _replay(model, new, name, adapter, case, record.parity.effect, neutrals, tolerance)
                inputs, outputs = case["input"], case["output"]
            else:
                road = "the base begun with its cache" if adapter.cache else "its fold"
                inputs, reference = _inputs(folder), f"{road} in onnxruntime {onnxruntime.__version__}"
                report, outputs = _compare(folder, model, new, wirings, name, adapter, inputs, neutrals, tolerance)
            _judge(report, allow_no_effect)
            held = parity.for_int8(tolerance) if manifest.model.precision == "int4" else tolerance
            for graph in _for_genai(folder, model, manifest, new, neutrals):
                weights = home / assemble.WEIGHTS
                _judge(genai_proof.report(graph, name, weights, inputs, outputs, None, held), True)
            if manifest.model.precision == "int4":
                report = _in_int8(model, new, report, adapter, inputs, outputs, neutrals)
            reference = precision.made_with(reference, manifest.model.precision)
            assemble.write_case(home / assemble.PARITY, inputs, outputs, {})
            assemble.add_parity(home, report.record(reference))
            if new is not manifest:
                _commit(folder, manifest, new, model, neutrals)
        finally:
            _sweep(folder, {*before, model.name, bundle.encoder_file(model.name), _grown_graph(new)})
    if bundle.has_index(folder):
        bundle.write_index(folder, bundle.adapter_names(folder))
    return report


def remove(folder: Path, name: str) -> None:
    """Takes an adapter out of a bundle. The model keeps its slots; runs of other adapters fill them with neutrals.

    Raises:
        AdapterError: The bundle has no such adapter.
    """
    bundle.read_manifest(folder)
    names = [each for each in bundle.adapter_names(folder) if each != bundle.NONE]
    if name not in names:
        raise AdapterError(f"The bundle has no adapter {name!r}{nearest(name, names)}.\nIt has: {listed(names)}.")
    if bundle.has_index(folder):
        bundle.write_index(folder, [each for each in names if each != name])
    home = folder / bundle.ADAPTERS / name
    leaving = home.with_name(f".{name}.{os.getpid()}.partial")
    home.rename(leaving)
    shutil.rmtree(leaving)


def _check_free(folder: Path, name: str) -> None:
    taken = [each for each in bundle.adapter_names(folder) if each.lower() == name.lower()]
    if taken:
        raise AdapterError(
            f"The bundle has an adapter {taken[0]!r} already{'' if taken[0] == name else ', other only in case'}.\n"
            "Remove it first, or take another name."
        )


def _converted(source: Path, manifest: Manifest) -> AdapterRecord:
    """Returns the record of an adapter that was converted for another bundle of the same base.

    Raises:
        AdapterError: It was made for another base, is a base itself, or lacks its subgraph.
        BundleError: A file is missing, changed or a link.
    """
    record = bundle.read_adapter(source)
    bundle.verify_files(source, record.files)
    if record.method == bundle.NONE:
        raise AdapterError(f"{source} is the base of a bundle, no adapter.\nGive the folder of an adapter.")
    if record.fingerprint != manifest.fingerprint:
        raise AdapterError.collect(
            f"{source} was made for another base:",
            [f"fingerprint: got {record.fingerprint}, expected {manifest.fingerprint}"],
            "Add it to a bundle of its own base, or train it on this one.",
        )
    if subgraph.FILE not in record.files:
        raise AdapterError(f"{source} has no {subgraph.FILE}: it was packaged for a device.\nUse what export wrote.")
    return record


def _with_slots(folder: Path, manifest: Manifest, wirings: Wirings, adapter: Adapter) -> Manifest:
    """Returns the manifest with the slots that the adapter needs; the same one where it has them all."""
    have = [(slot.site, slot.method) for slot in manifest.slots]
    missing = [pair for pair in points([adapter]) if pair not in have]
    if not missing:
        return manifest
    slots = assemble.slots(wirings, [*have, *missing], manifest.model.precision)
    freed = any(slot.method == HEAD and wirings.sites[slot.site].site.labelled for slot in slots)
    return replace(
        manifest,
        slots=slots,
        outputs=tuple(_freed(each, manifest.task) for each in manifest.outputs) if freed else manifest.outputs,
    )


def _freed(output: TensorRecord, task: str) -> TensorRecord:
    """Returns an output's record with `labels` for its last axis, whose length slots of its head may change."""
    if tasks.get(task).OUTPUTS[output.name][-1] != "labels":
        return output
    return replace(output, shape=(*output.shape[:-1], "labels"))


def _inputs(folder: Path) -> dict[str, Array]:
    home = folder / bundle.ADAPTERS / bundle.NONE
    return read_parity(home, bundle.read_adapter(home))["input"]


def _compare(
    folder: Path,
    model: Path,
    manifest: Manifest,
    wirings: Wirings,
    name: str,
    adapter: Adapter,
    inputs: Mapping[str, Array],
    neutrals: Mapping[str, Array],
    tolerance: Tolerance,
) -> tuple[ParityReport, dict[str, Array]]:
    """Returns the report of the adapter, switched against folded, and the folded outputs.

    What a cache begins with is fed to both: the model that runs, rewritten for speed, is held to the base as it is.
    """
    arrays = adapter.arrays()
    heads = {slot.name for slot in manifest.slots if slot.method == HEAD}
    own = {key: array for key, array in arrays.items() if key in heads and _needed(key, array, manifest, neutrals)}
    with bare.exact(model) as session:
        got = bare.run(session, {**inputs, **bare.fill(manifest.slots, arrays, neutrals)}, adapter.cache)
        plain = bare.run(session, {**inputs, **bare.fill(manifest.slots, own, neutrals)})
    folded = assemble.read_base(folder)
    fold(folded, wirings, [(name, adapter)])
    with bare.scratch(folder, folded, name) as path, bare.exact(path) as session:
        expected = bare.run(session, inputs, adapter.cache)
    classes = manifest.task != "feature-extraction"
    return parity.compare(name, got, expected, plain, tolerance, padding(inputs, manifest), classes=classes), expected


def _check_inputs(name: str, inputs: Mapping[str, Array], own: Mapping[str, Array]) -> None:
    """Refuses an adapter whose parity case has other inputs than this bundle's own."""
    if set(inputs) != set(own):
        raise AdapterError(
            f"Adapter {name!r} was converted for other inputs: got {listed(sorted(inputs))}, expected "
            f"{listed(sorted(own))}.\nAdd it to a bundle of the same task, or add its checkpoint."
        )


def _replay(
    model: Path,
    manifest: Manifest,
    name: str,
    adapter: Adapter,
    case: Mapping[str, Mapping[str, Array]],
    effect: float,
    neutrals: Mapping[str, Array],
    tolerance: Tolerance,
) -> ParityReport:
    """Returns the report of an adapter of another bundle against PyTorch's outputs, which it carries."""
    inputs = dict(case["input"])
    feeds = {**inputs, **bare.fill(manifest.slots, adapter.arrays(), neutrals)}
    with bare.exact(model) as session:
        got = bare.run(session, feeds, adapter.cache)
    classes = manifest.task != "feature-extraction"
    report = parity.compare(name, got, case["output"], None, tolerance, padding(inputs, manifest), classes=classes)
    return replace(report, effect=effect, against_base=True)


def _in_int8(
    model: Path,
    manifest: Manifest,
    report: ParityReport,
    adapter: Adapter,
    inputs: Mapping[str, Array],
    expected: Mapping[str, Array],
    neutrals: Mapping[str, Array],
) -> ParityReport:
    """Returns the report of an adapter as it runs on weights in 4 bits, with the effect that it has in fp32."""
    feeds = {**inputs, **bare.fill(manifest.slots, adapter.arrays(), neutrals)}
    got = bare.run(bare.open_model(model), feeds, adapter.cache)
    tolerance = parity.for_int8(report.tolerance)
    fast = parity.compare(report.name, got, expected, None, tolerance, padding(inputs, manifest))
    return replace(fast, effect=report.effect, against_base=True)


def _needed(slot: str, array: Array, manifest: Manifest, neutrals: Mapping[str, Array]) -> bool:
    """Tells whether the base can only be compared with this part of the adapter's head in place."""
    return slot not in neutrals or neutrals[slot].shape != array.shape


def _judge(report: ParityReport, allow_no_effect: bool) -> None:
    problems = report.failures()
    if report.no_effect and not allow_no_effect:
        problems.append(f"no effect: it moves the outputs by {report.effect:.1e}; --allow-no-effect lets it pass")
    if problems:
        raise ParityError.collect(f"Adapter {report.name!r} fails:", problems, "The bundle is as it was.")


def _for_genai(
    folder: Path, model: Path, old: Manifest, new: Manifest, neutrals: Mapping[str, Array]
) -> tuple[Path, ...]:
    """Returns the graph that onnxruntime-genai will load, written anew where slots came in; nothing without one."""
    if not genai.is_written(folder):
        return ()
    if new is old:
        return (folder / genai.graph_name(folder),)
    genai.write_graph(folder, model, new, neutrals, _grown_graph(new))
    return (folder / _grown_graph(new),)


def _grown_graph(manifest: Manifest) -> str:
    return f"genai-{len(manifest.slots)}-slots.onnx"


def _commit(folder: Path, old: Manifest, new: Manifest, model: Path, neutrals: Mapping[str, Array]) -> None:
    """Puts a merged graph in place: the manifest that names it is replaced last, in one step.

    What onnxruntime-genai loads begins at a file that can't change together with the manifest: meanwhile no manifest
    lists it, so that it is whole for both at every moment.
    """
    grown = _stored(new) != _stored(old)
    stored = assemble.write_neutrals(folder, neutrals, len(new.slots)) if grown else old.model.neutrals
    replaced = {*_merged_files(folder, old), *genai.files(folder)}
    files = {name: record for name, record in old.files.items() if name not in replaced}
    made = [name for name in (model.name, stored) if name]
    needed = assemble.needed_runtime(model)
    new = replace(new, model=replace(new.model, file=model.name, neutrals=stored, onnxruntime=needed))
    if isinstance(new.generation, EncoderDecoderRecord):
        encoder = replace(new.generation.encoder, file=bundle.encoder_file(model.name))
        new = replace(new, generation=replace(new.generation, encoder=encoder))
        made.append(encoder.file)
    if genai.is_written(folder):
        unlisted = genai.files(folder)
        meanwhile = {name: record for name, record in old.files.items() if name not in unlisted}
        bundle.write_manifest(folder, replace(old, files=meanwhile))
        genai.point_to(folder, _grown_graph(new))
        made += genai.files(folder)
    files |= bundle.record_files(folder, made)
    bundle.write_manifest(folder, replace(new, files=files))


def _stored(manifest: Manifest) -> set[str]:
    return {slot.name for slot in manifest.slots if slot.neutral == "stored"}


def _merged_files(folder: Path, manifest: Manifest) -> set[str]:
    generation = manifest.generation
    encoder = generation.encoder.file if isinstance(generation, EncoderDecoderRecord) else None
    own = {name for name in (manifest.model.file, manifest.model.neutrals, encoder) if name}
    return own | {name for name in genai.files(folder) if name != genai.CONFIG}


def _sweep(folder: Path, merged: set[str]) -> None:
    """Removes what the bundle doesn't use: the graph that was replaced, or the one that wasn't put in place."""
    for name in merged - _merged_files(folder, bundle.read_manifest(folder)):
        with suppress(OSError):  # a spare file harms nobody, and on Windows nobody can remove one that is in use
            (folder / name).unlink(missing_ok=True)

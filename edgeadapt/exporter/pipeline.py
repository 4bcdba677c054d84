"""The story of an export: base, graph, adapters, bundle, proof."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import onnxruntime

from edgeadapt import bundle, parity, tasks
from edgeadapt.adapter import Adapter
from edgeadapt.errors import ConfigError, EdgeAdaptError, UnsupportedError
from edgeadapt.exporter import (
    assemble,
    binding,
    folders,
    genai,
    genai_proof,
    initial_cache,
    preprocess,
    problem_types,
    trained_tasks,
)
from edgeadapt.exporter import checkpoint as checkpoints
from edgeadapt.exporter import precision as precisions
from edgeadapt.exporter.checkpoint import Checkpoint
from edgeadapt.exporter.genai import Runtime
from edgeadapt.exporter.precision import Precision
from edgeadapt.exporter.progress import Progress, silent
from edgeadapt.graph import packed
from edgeadapt.graph.fold import base_weights
from edgeadapt.graph.switch import bodies, points
from edgeadapt.parity import ParityReport, Tolerance
from edgeadapt.runtime import load
from edgeadapt.runtime.signature import is_older

if TYPE_CHECKING:
    from edgeadapt.exporter.base import Base
    from edgeadapt.exporter.cases import Case
    from edgeadapt.exporter.modules import Modules
    from edgeadapt.exporter.trace import Trace

EXPORTING = ">=1.23"
"""The ONNX Runtime that an export takes, whose quantiser and operators of opset 23 it uses; bundles may need less."""


@dataclass(frozen=True, slots=True)
class AdapterSource:
    """An adapter to export, with what its folder doesn't say about its head, or says otherwise.

    Attributes:
        folder: Its folder.
        labels: Names for the head's labels, in order.
        problem_type: What the head was trained to answer, as transformers' `config.problem_type` spells it.
        as_lora: The rank of the LoRAs that stand in for its changes of weights, as near as that rank can come; None
            leaves the adapter as it is, exactly.
    """

    folder: Path
    labels: tuple[str, ...] | None = None
    problem_type: str | None = None
    as_lora: int | None = None


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What `export` was asked for, beside base and adapters; its docstring has the words."""

    task: str | None
    opset: int | None
    precision: Precision
    runtime: Runtime | None
    tolerance: Tolerance
    allow_no_effect: bool


@dataclass(frozen=True, slots=True)
class Exported:
    """A finished bundle.

    Attributes:
        path: Its folder.
        reports: Parity of the base, of every adapter and of mixed rows.
        notes: What a user should know about how it was written.
    """

    path: Path
    reports: tuple[ParityReport, ...]
    notes: tuple[str, ...]


def export(
    base: str | Path,
    adapters: Mapping[str, str | Path | AdapterSource | Modules],
    output: str | Path,
    *,
    task: str | None = None,
    opset: int | None = None,
    precision: Precision = "fp32",
    runtime: Runtime | None = None,
    tolerance: Tolerance = Tolerance(),  # noqa: B008  # frozen
    allow_no_effect: bool = False,
    allow_pickle: bool = False,
    progress: Progress = silent,
) -> Exported:
    """Exports a base and its adapters into one bundle, and proves it against PyTorch.

    Args:
        base: Folder or hub id of a transformers model.
        adapters: Folder of every adapter by the name it gets, or an `AdapterSource`; or modules of one's own, a
            mapping of site to `torch.nn.Module`. Such a module is called with what leaves the site, `(batch, n, out)`,
            or, if it takes two values, with what enters and what leaves it, and returns what takes its place.
        output: The bundle's folder; it must not exist.
        task: One of `edgeadapt.tasks.names()`; taken from the adapters, then from the base, where it isn't given.
        opset: ONNX opset to write, such as 18 for ONNX Runtime from 1.20 on; the newest that the installed one loads
            where it isn't given.
        precision: How the base's weights are stored: `"fp16"` takes half the space and computes in fp16, adapters too,
            which is for GPUs; `"int4"` takes a fifth to a seventh, for text generation, and adapters stay in fp32.
        runtime: What else loads the bundle: `"genai"` for onnxruntime-genai, which runs decoders.
        tolerance: What the parity gate holds every adapter to.
        allow_no_effect: Lets adapters pass that don't move the base's outputs.
        allow_pickle: Permits adapters in `.bin` files, which are read in a process of their own.
        progress: Is told every stage.

    Raises:
        EdgeAdaptError: Something can't be done exactly; then nothing is left at `output`.

    Example:
        >>> exported = export("all-MiniLM-L6-v2", {"spam": "adapters/spam"}, "bundle")  # doctest: +SKIP
        >>> [report.name for report in exported.reports]  # doctest: +SKIP
        ['none', 'spam']
    """
    if is_older(onnxruntime.__version__, EXPORTING):
        raise UnsupportedError(
            f"An export needs onnxruntime {EXPORTING}, and {onnxruntime.__version__} is installed.\n"
            "Update it here: a bundle of --opset 18 runs where 1.20 is."
        )
    precisions.check(precision)
    genai.check_runtime(runtime)
    precisions.check_runtime(precision, runtime)
    own = {name: each for name, each in adapters.items() if isinstance(each, Mapping)}
    sources = _sources({name: each for name, each in adapters.items() if not isinstance(each, Mapping)}, list(adapters))
    with bundle.new_folder(Path(output)) as folder, tempfile.TemporaryDirectory() as spare:
        progress("reading adapters")
        read = _read(sources, allow_pickle=allow_pickle)
        if own:
            from edgeadapt.exporter import modules

            for name, each in own.items():
                modules.check(name, each)
        wanted = _Wanted(task, opset, precision, runtime, tolerance, allow_no_effect)
        exported = _export(str(base), sources, own, read, folder, Path(spare), wanted, progress)
    return Exported(Path(output), *exported)


def _sources(adapters: Mapping[str, str | Path | AdapterSource], names: Sequence[str]) -> dict[str, AdapterSource]:
    """Returns the sources of adapters in folders; all `names`, those of other adapters too, must do as folders."""
    problems = []
    spelled: dict[str, str] = {}
    for name in names:
        first = spelled.setdefault(name.lower(), name)
        if first != name:
            problems.append(f"{name!r} differs from {first!r} only in case.")
        try:
            bundle.check_adapter_name(name)
        except EdgeAdaptError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError.collect("Adapter names become folder names, and these can't:", problems)
    sources = {
        name: each if isinstance(each, AdapterSource) else AdapterSource(Path(each)) for name, each in adapters.items()
    }
    problems = [
        f"{name}: {each.problem_type!r} {problem}"
        for name, each in sources.items()
        if each.problem_type is not None and (problem := problem_types.problem(each.problem_type))
    ]
    if problems:
        raise ConfigError.collect("Adapters were given problem types that there are not:", problems)
    return sources


def _read(sources: Mapping[str, AdapterSource], *, allow_pickle: bool) -> dict[str, Checkpoint]:
    """Returns all checkpoints, or all that is wrong with them."""
    found, errors = {}, []
    for name, source in sources.items():
        try:
            found[name] = folders.read(source.folder, allow_pickle=allow_pickle)
            if checkpoints.is_read(found[name]):
                checkpoints.readings(found[name])
            else:
                from edgeadapt.exporter import merged

                merged.check(found[name])
        except EdgeAdaptError as error:
            errors.append(error)
    _raise_all(errors)
    return found


def _raise_all(errors: Sequence[EdgeAdaptError]) -> None:
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise type(errors[0])("\n\n".join(str(error) for error in errors))


def _export(
    source: str,
    sources: Mapping[str, AdapterSource],
    own: Mapping[str, Modules],
    checkpoint_of: Mapping[str, Checkpoint],
    folder: Path,
    spare: Path,
    wanted: _Wanted,
    progress: Progress,
) -> tuple[tuple[ParityReport, ...], tuple[str, ...]]:
    from edgeadapt.exporter import base as bases
    from edgeadapt.exporter import cases, decoding, forward, fp16, gate, genai_tokens, int4, live, modules, reference
    from edgeadapt.exporter import manifest as manifests
    from edgeadapt.exporter import trace as traces

    progress("loading the base")
    name = _task(wanted.task, checkpoint_of, source)
    if wanted.precision == "int4":
        precisions.check_task(name)
    if wanted.runtime is not None:
        genai.check_task(name)
    with bases.quiet():
        opened = bases.load(source, name)
        preprocessor = preprocess.load_preprocessing(source)
        writing = _writing_notes(opened)
        case = cases.case(opened, preprocessor)
        if wanted.runtime is not None:
            genai.check_inputs(case.axes)
        outputs, fingerprint = tasks.get(name).OUTPUTS, bases.fingerprint(opened)
        own_weights, whole = opened, None
        if wanted.precision == "fp16":
            progress("rounding its weights to fp16")
            checkpoint_of = {each: fp16.round_checkpoint(each, found) for each, found in checkpoint_of.items()}
            opened = fp16.round_weights(opened, spare)
        progress("writing the base as ONNX")
        traced = traces.trace(opened, case.example, case.axes, case.outputs, wanted.opset)
        if wanted.precision == "int4":
            progress("storing its weights in 4 bits")
            whole = forward.run(opened, case.inputs, list(outputs))
            opened = int4.round_weights(opened, traced.model, traced.wirings, spare)
        elif wanted.precision == "fp16":
            whole, _ = reference.base_outputs(own_weights, traced.wirings, case.inputs, list(outputs))
        assemble.write_base(folder, traced.model, traced.wirings, wanted.precision)
        progress("converting adapters")
        weights = base_weights(assemble.read_base(folder))
        start = initial_cache.of_axes(case.axes, decoding.positions(opened), folder, traced.wirings)
        bound = _bind(sources, own, checkpoint_of, opened, traced, weights, case, start)
        if wanted.runtime is not None:
            genai.check_methods(bound)
        progress("running PyTorch for reference")
        plain, probes = reference.base_outputs(opened, traced.wirings, case.inputs, list(outputs))
        bench = live.Bench(opened, traced.wirings, weights, case.inputs, list(outputs))
        lives = {
            each: live.run(each, checkpoint_of[each], adapter, sources[each].as_lora, bench)
            for each, adapter in bound.items()
            if each not in own
        }
        for each, given in own.items():
            lives[each] = live.Live(bound[each], modules.outputs(given, opened, case.inputs, list(outputs)), ())
        progress("writing the bundle")
        adapters = {each: packed.packed(found.adapter, traced.wirings) for each, found in lives.items()}
        if wanted.precision == "fp16":
            adapters = {each: precisions.in_fp16(each, adapter) for each, adapter in adapters.items()}
        pairs = points(adapters.values())
        functions, positions = bodies(adapters.values()), decoding.positions(opened)
        assemble.write_switch(folder, traced.wirings, pairs, functions=functions, positions=positions)
        manifest = manifests.manifest(opened, traced, case, folder, pairs, fingerprint, preprocessor, wanted.precision)
        homes = folder / bundle.ADAPTERS
        assemble.write_none(homes / bundle.NONE, fingerprint)
        for each, adapter in adapters.items():
            assemble.write_adapter(homes / each, each, adapter, traced.wirings, fingerprint, wanted.precision)
        notes = list(traced.notes)
        if wanted.runtime is not None:
            neutrals = assemble.stored_neutrals(folder, traced.wirings, manifest.slots)
            genai.write(folder, manifest, neutrals, opened.model.config)
            notes += genai_tokens.write(preprocessor, manifest.tokenizer, folder)
        assemble.write_manifest(folder, manifest)
    progress("comparing ONNX Runtime with PyTorch")
    probes = assemble.as_slots(probes, manifest.slots)
    expected = gate.Expected(case.inputs, plain, probes, {each: found.outputs for each, found in lives.items()})
    reports = gate.judge(
        load(folder, verify="adapters"), expected, wanted.tolerance, allow_no_effect=wanted.allow_no_effect
    )
    by_name = {report.name: report for report in reports}
    if wanted.runtime is not None:
        reports = (*reports, *genai_proof.judge(folder, expected, wanted.tolerance))
    if wanted.precision == "fp16" and whole is not None:
        reports = (fp16.rounding(whole, plain), *reports)
    elif whole is not None:
        precisions.run_in_int8(folder, manifest)
        fast = gate.judge(
            load(folder, verify="adapters"), expected, parity.for_int8(wanted.tolerance), allow_no_effect=True
        )
        by_name = {report.name: report for report in fast}
        named = (replace(report, name=f"{report.name} (int8)") for report in fast)
        reports = (int4.rounding(whole, plain), *reports, *named)
    for each in (bundle.NONE, *adapters):
        results = plain if each == bundle.NONE else lives[each].outputs.adapted
        assemble.write_case(homes / each / assemble.PARITY, case.inputs, results, probes if each == bundle.NONE else {})
        made_with = lives[each].made_with if each in lives else reference.versions()
        record = by_name[each].record(precisions.made_with(made_with, wanted.precision))
        assemble.add_parity(homes / each, record)
    notes += [*writing, *(note for found in lives.values() for note in found.notes)]
    if not case.real:
        notes.append("the base has no tokenizer: parity was measured on random tokens")
    return reports, tuple(notes)


def _task(task: str | None, checkpoint_of: Mapping[str, Checkpoint], source: str) -> str:
    """Returns the task that was asked for, else the one the adapters were trained for, else the base's own.

    Raises:
        ConfigError: The adapters were trained for different tasks, or nothing tells the task.
        UnsupportedError: edgeadapt has no such task.
    """
    if task is not None:
        return tasks.get(task).NAME
    trained = {found for each in checkpoint_of.values() if (found := trained_tasks.task_of(each)) is not None}
    if len(trained) > 1:
        raise ConfigError(
            f"The adapters were trained for {' and '.join(sorted(trained))}.\nGive one task, or export them apart."
        )
    from edgeadapt.exporter import base as bases

    if trained:
        found = trained.pop()
        # PEFT's type says of Whisper what it says of T5.
        return bases.spoken(source, found) if found in trained_tasks.READING else found
    return tasks.get(bases.infer_task(source)).NAME


def _bind(
    sources: Mapping[str, AdapterSource],
    own: Mapping[str, Modules],
    checkpoint_of: Mapping[str, Checkpoint],
    opened: Base,
    traced: Trace,
    weights: binding.BaseWeight,
    case: Case,
    start: initial_cache.Start | None,
) -> dict[str, Adapter]:
    """Returns all adapters bound to the base, or all that doesn't fit."""
    from edgeadapt.exporter import merged, modules

    found, errors = {}, []
    for name, checkpoint in checkpoint_of.items():
        said = sources[name].labels, problem_types.get(sources[name].problem_type)
        try:
            trained_tasks.check_method(checkpoint, opened.task)
            if checkpoints.is_read(checkpoint):
                found[name] = binding.bind(checkpoint, traced.wirings, weights, said, start)
            else:
                found[name] = merged.bind(opened, traced.wirings, checkpoint, said)
            trained_tasks.check(checkpoint, found[name], traced.wirings, opened.task)
        except EdgeAdaptError as error:
            errors.append(error)
    for name, given in own.items():
        try:
            found[name] = modules.bind(name, given, opened, traced.wirings, case.inputs, traced.opset)
        except EdgeAdaptError as error:
            errors.append(error)
    _raise_all(errors)
    return found


def _writing_notes(opened: Base) -> tuple[str, ...]:
    """Returns what a user should know of how an encoder-decoder writes; what can't be done is refused here."""
    from edgeadapt.exporter import encoding, guidance, hearing

    if not tasks.get(opened.task).CACHED or not encoding.is_one(opened):
        return ()
    guidance.rules(opened, speech=hearing.is_one(opened))
    return guidance.notes(opened)

"""Puts a bundle together on disk: models, adapters' folders, manifest. No torch is needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import onnx_ir as ir
import onnxruntime

from edgeadapt import bundle, methods
from edgeadapt.adapter import NORMS, UNBIASED, Adapter, Array, Attachment
from edgeadapt.bundle import AdapterRecord, Manifest, ModelRecord, Neutral, ParityRecord, Slot
from edgeadapt.graph import half_precision, half_storage, halves, subgraph
from edgeadapt.graph.fold import base_weights
from edgeadapt.graph.optimise import optimise
from edgeadapt.graph.requirement import release, requirement
from edgeadapt.graph.sites import Wirings
from edgeadapt.graph.switch import HEAD, Bodies, switch
from edgeadapt.runtime.decoder import virtual_tokens

BASE = "base.onnx"
MODEL = "model.onnx"
DATA = "model.onnx.data"
WEIGHTS = "weights.onnx_adapter"
PARITY = "parity.npz"
INLINE_BYTES = 256  # smaller initializers stay in the graph file, where shape inference can see them


def write_base(folder: Path, model: ir.Model, wirings: Wirings, precision: str = "fp32") -> None:
    """Writes the base, its weights in a file of their own, and its wiring."""
    if precision == "fp16":
        half_storage.store(model)
    ir.save(model, folder / BASE, external_data=DATA, size_threshold_bytes=INLINE_BYTES)
    wirings.write(folder)


def read_base(folder: Path) -> ir.Model:
    """Returns the base of a bundle, with weights in fp32 to work on, however they are stored."""
    model = ir.load(folder / BASE)
    half_storage.widen(model)
    return model


def finish(model: ir.Model, positions: int | None) -> None:
    """Makes of a base, or of what was made of it, the model that runs: rewritten for speed, in its own precision.

    Raises:
        UnsupportedError: A weight that was folded is beyond fp16's range.
    """
    optimise(model, positions, evaluate)
    if half_storage.is_widened(model):
        half_precision.narrow(model)


def write_switch(
    folder: Path,
    wirings: Wirings,
    pairs: Iterable[tuple[str, str]],
    target: str = MODEL,
    functions: Bodies = MappingProxyType({}),
    positions: int | None = None,
) -> None:
    """Writes the switchable model from the base alone; both read the same file of weights.

    What a rewriting of it makes anew, such as a table of cosines, is in the model's own file. Where the base is an
    encoder with its decoder, the decoder is at `target` and the encoder beside it (`bundle.encoder_file`).
    """
    model = read_base(folder)
    switch(model, wirings, pairs, functions)
    finish(model, positions)
    save(model, folder / target)


def save(model: ir.Model, path: Path) -> tuple[Path, ...]:
    """Writes a model, or the halves of one, and returns the files; weights that lie in fp16 are read from there."""
    if half_storage.is_widened(model):
        half_storage.store(model)
    if not halves.has_halves(model):
        ir.save(model, path)
        return (path,)
    beside = path.with_name(bundle.encoder_file(path.name))
    encoder, decoder = halves.part(model)
    ir.save(encoder, beside)
    ir.save(decoder, path)
    return path, beside


def evaluate(model: ir.Model, inputs: Mapping[str, Array]) -> list[Array]:
    """Runs a small graph.

    Raises:
        ValueError: It can't be run.
    """
    try:
        session = onnxruntime.InferenceSession(
            ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"]
        )
        return [np.asarray(array) for array in session.run(None, dict(inputs))]
    except Exception as error:  # ONNX Runtime's exceptions have no root of their own
        raise ValueError(str(error)) from error


def slot_dtype(param: str, precision: str) -> str:
    """Returns what an array of a param is stored and fed in."""
    return "float16" if precision == "fp16" and param != half_precision.IDS else "float32"


def slots(wirings: Wirings, pairs: Iterable[tuple[str, str]], precision: str = "fp32") -> tuple[Slot, ...]:
    """Returns the records of all slots that these pairs of site and method need, open heads first."""
    opened = [(name, HEAD) for name, wiring in wirings.sites.items() if wiring.open]
    records = []
    for name, method in dict.fromkeys((*opened, *pairs)):
        wiring = wirings.at(name)
        module = methods.get(method)
        neutral = module.neutral(wiring.site)
        for param, shape in module.shapes(wiring.site).items():
            if neutral is not None:
                own: Neutral | str | None = Neutral(neutral[param].shape, float(neutral[param].flat[0]))
            else:
                own = None if wiring.open else "stored"
            dtype = slot_dtype(param, precision)
            records.append(Slot(f"{name}.{param}", method, name, param, dtype, shape, own))  # type: ignore[arg-type]
    return tuple(records)


def as_slots(arrays: Mapping[str, Array], records: Iterable[Slot]) -> dict[str, Array]:
    """Returns arrays by slot in the dtypes of their slots."""
    dtypes = {slot.name: slot.dtype for slot in records}
    return {name: array.astype(dtypes[name], copy=False) for name, array in arrays.items()}


def write_neutrals(folder: Path, arrays: Mapping[str, Array], slot_count: int) -> str | None:
    """Writes the stored neutrals of a model with this many slots; returns the file's name, or None without any.

    A model that grows slots gets a new file under a new name, so that the manifest that names it changes all at once.
    """
    if not arrays:
        return None
    name = f"neutrals-{slot_count}-slots.onnx_adapter"
    write_weights(folder / name, arrays)
    return name


def stored_neutrals(folder: Path, wirings: Wirings, records: Sequence[Slot]) -> dict[str, Array]:
    """Returns the base's own weights for every slot whose neutral they are."""
    dtypes = {slot.name: slot.dtype for slot in records if slot.neutral == "stored"}
    names = list(dict.fromkeys(slot.site for slot in records if slot.neutral == "stored"))
    if not names:
        return {}
    base = base_weights(read_base(folder))
    arrays = {}
    for name in names:
        wiring = wirings.at(name)
        weight, bias = base(wiring)
        width = wiring.site.out_features
        arrays[f"{name}.weight"] = weight.reshape(1, 1, -1) if wiring.site.kind in NORMS else weight[None]
        if wiring.site.kind not in UNBIASED:
            arrays[f"{name}.bias"] = np.zeros((1, 1, width), np.float32) if bias is None else bias.reshape(1, 1, -1)
    return {name: np.ascontiguousarray(array, dtypes.get(name, np.float32)) for name, array in arrays.items()}


def write_weights(path: Path, arrays: Mapping[str, Array]) -> None:
    """Writes arrays in ONNX Runtime's own container for adapters."""
    file = onnxruntime.AdapterFormat()
    file.set_adapter_version(1)
    file.set_model_version(1)
    file.set_parameters(
        {name: onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
    )
    file.export_adapter(str(path))


def write_case(
    path: Path, inputs: Mapping[str, Array], outputs: Mapping[str, Array], probes: Mapping[str, Array]
) -> None:
    """Writes a parity case: inputs, the reference's outputs, and arrays for slots that the base can't fill."""
    arrays = {f"input/{name}": array for name, array in inputs.items()}
    arrays |= {f"output/{name}": array for name, array in outputs.items()}
    arrays |= {f"probe/{name}": array for name, array in probes.items()}
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]  # its stub takes a name for its one option


def write_adapter(
    folder: Path, name: str, adapter: Adapter, wirings: Wirings, fingerprint: str, precision: str = "fp32"
) -> None:
    """Writes an adapter's folder, for the time being without its parity.

    In fp16, its arrays are stored so in both files; its subgraph computes in fp32.
    """
    folder.mkdir(parents=True)
    arrays = adapter.arrays()
    write_weights(
        folder / WEIGHTS, {each: array.astype(_dtype(each, precision), copy=False) for each, array in arrays.items()}
    )
    alone = subgraph.build(adapter, wirings)
    if precision == "fp16":
        half_storage.store(alone)
    ir.save(alone, folder / subgraph.FILE)
    facts: dict[str, dict[str, dict[str, int]]] = {}
    for each in adapter.attachments:
        facts.setdefault(each.site, {})[each.method] = _rank(each, wirings)
    if adapter.cache:
        facts[bundle.CACHE] = {adapter.method: {"rank": virtual_tokens(adapter.cache)}}
    record = AdapterRecord(
        format=bundle.FORMAT,
        name=name,
        method=adapter.method,
        fingerprint=fingerprint,
        sites=facts,
        labels=adapter.labels,
        problem_type=adapter.problem_type,
        source=dict(adapter.source),
        parity=None,
        files=bundle.record_files(folder, (WEIGHTS, subgraph.FILE)),
    )
    bundle.write_adapter(folder, record)


def _dtype(name: str, precision: str) -> str:
    return slot_dtype(name.rpartition(".")[2], precision)


def _rank(attachment: Attachment, wirings: Wirings) -> dict[str, int]:
    """Returns the length of an attachment's free dimension, or nothing where its method has none."""
    shapes = methods.get(attachment.method).shapes(wirings.at(attachment.site).site)
    lengths = [
        attachment.params[param].shape[shape.index("rank")] for param, shape in shapes.items() if "rank" in shape
    ]
    return {"rank": lengths[0]} if lengths else {}


def write_none(folder: Path, fingerprint: str) -> None:
    """Writes the folder of the base without an adapter, for the time being without its parity."""
    folder.mkdir(parents=True)
    bundle.write_adapter(
        folder, AdapterRecord(bundle.FORMAT, bundle.NONE, bundle.NONE, fingerprint, {}, None, None, {}, None, {})
    )


def add_parity(folder: Path, parity: ParityRecord) -> None:
    """Writes an adapter's parity, and its case, into its record."""
    record = bundle.read_adapter(folder)
    files = {**record.files, **bundle.record_files(folder, (PARITY,))}
    bundle.write_adapter(folder, replace(record, parity=parity, files=files))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes the manifest, with all files of the bundle's own folder."""
    names = sorted(path.name for path in folder.iterdir() if path.is_file() and path.name != bundle.MANIFEST)
    bundle.write_manifest(folder, replace(manifest, files=bundle.record_files(folder, names)))


def model_record(folder: Path, opset: int, neutrals: str | None, precision: str) -> ModelRecord:
    """Returns the record of the switchable model that is written in a bundle's folder."""
    return ModelRecord(MODEL, neutrals, precision, opset, needed_runtime(folder / MODEL))


def needed_runtime(model: Path) -> str:
    """Returns the ONNX Runtime that a switchable model needs, with the encoder before it where it has one."""
    paths = [path for path in (model, model.with_name(bundle.encoder_file(model.name))) if path.is_file()]
    return requirement([ir.load(path) for path in paths], release(onnxruntime.__version__))


def read_subgraphs(folder: Path, names: Iterable[str]) -> dict[str, Adapter]:
    """Returns adapters of a bundle from their subgraphs alone."""
    found = {}
    for name in names:
        home = folder / bundle.ADAPTERS / name
        record = bundle.read_adapter(home)
        attachments, cache = subgraph.read(home / subgraph.FILE)
        found[name] = Adapter(record.method, attachments, record.labels, record.problem_type, record.source, cache)
    return found

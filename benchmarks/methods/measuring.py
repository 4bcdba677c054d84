"""Exports every method onto every kind of base, and measures how near ONNX Runtime comes to what is right."""

from __future__ import annotations

import importlib.util
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import facts
from benchmarks.methods import exact, making
from benchmarks.methods.cases import FAMILIES, Case, Library
from benchmarks.methods.zoo import LIBRARIES

Arrays = Mapping[str, NDArray[Any]]


def libraries() -> list[Library]:
    """Returns the libraries to compare with that are here: AdapterHub's where it is, else PEFT, and PyTorch alone."""
    return ["adapters"] if importlib.util.find_spec("adapters") is not None else ["peft", "torch"]


def measure(library: Library, minilm: Path, families: tuple[str, ...] = FAMILIES) -> dict[str, Any]:
    """Returns errors and effects of every method of a library on every family."""
    rows: dict[str, dict[str, Any]] = {}
    for family in families:
        cases = [case for case in LIBRARIES[library] if family in case.families]
        print(f"{library}: {family}, {len(cases)} methods", flush=True)
        with tempfile.TemporaryDirectory() as scratch, _quiet():
            base = making.base(family, Path(scratch), minilm)
            for number, together in enumerate(_bundles(cases)):
                home = Path(scratch) / str(number)
                for title, found in _bundle(library, family, together, base, home).items():
                    rows.setdefault(title, {})[family] = found
    packages = ("onnxruntime", "torch", "transformers", *([] if library == "torch" else [library]))
    versions = ", ".join(f"{name} {version(name).partition('+')[0]}" for name in packages)
    return {"library": library, "versions": versions, "rows": rows, "machine": facts()}


def _bundles(cases: list[Case]) -> list[list[Case]]:
    """Returns the cases by bundle: those of one task that can share one, and each of the others."""
    shared = [[case for case in cases if not case.apart and case.head == head] for head in (False, True)]
    return [each for each in (*shared, *([case] for case in cases if case.apart)) if each]


def _bundle(library: Library, family: str, cases: list[Case], base: Path, home: Path) -> dict[str, dict[str, Any]]:
    """Returns what was found of every method of a bundle: alone, in a batch with the others, and folded."""
    import edgeadapt
    from edgeadapt import bundle
    from edgeadapt.exporter.merging import merge
    from edgeadapt.exporter.pipeline import export
    from edgeadapt.parity import Tolerance
    from edgeadapt.runtime.verify import read_parity

    home.mkdir()
    names = {f"a{number}": case for number, case in enumerate(cases)}
    sources = {name: making.adapter(library, case, family, base, home / name) for name, case in names.items()}
    tolerance = Tolerance(max_abs=1e-3, effect_fraction=1e-3)  # what is over the usual one shall be seen on the page
    task = cases[0].task(family)
    exported = export(base, sources, home / "bundle", task=task, tolerance=tolerance, allow_pickle=True)  # our own
    reports = {report.name: report for report in exported.reports}
    session = edgeadapt.load(exported.path)
    stored, found = {}, {}
    for name, case in names.items():
        folder = exported.path / bundle.ADAPTERS / name
        record = bundle.read_adapter(folder)
        stored[name] = read_parity(folder, record)
        (folded,) = merge(exported.path, [name], home / f"{name}.onnx", mode="fold", tolerance=tolerance)
        (home / f"{name}.onnx").unlink()
        found[name] = {
            "error": reports[name].max_abs_error,
            "folded": folded.max_abs_error,
            "effect": reports[name].effect,
            "forms": sorted({form for forms in record.sites.values() for form in forms}),
            "trained": making.trained(sources[name]),
            "stored": _stored(folder) or making.trained(sources[name]),
        }
        if not case.head:
            inputs, wanted = stored[name]["input"], stored[name]["output"]["last_hidden_state"]
            right = exact.outputs(library, case, base, sources[name], inputs)
            kept = _kept(inputs, wanted)
            got = np.asarray(session.run(inputs, adapter=name)["last_hidden_state"])
            found[name] |= {
                "runtime_to_exact": float(np.abs(got - right)[kept].max()),
                "torch_to_exact": float(np.abs(wanted - right)[kept].max()),
            }
    for name, error in _mixed(session, stored, whole=not cases[0].head).items():
        found[name]["mixed"] = error
    return {case.title: found[name] for name, case in names.items()}


def _stored(folder: Path) -> int:
    """Returns how many numbers a bundle holds for an adapter; 0 where they are a module's, inside its functions."""
    import onnxruntime

    params = onnxruntime.AdapterFormat.read_adapter(str(folder / "weights.onnx_adapter")).get_parameters()
    if any("module_on" in name for name in params):
        return 0
    return sum(int(np.prod(value.shape())) for value in params.values())


def _mixed(session: Any, stored: Mapping[str, Mapping[str, Arrays]], *, whole: bool) -> dict[str, float]:
    """Returns each adapter's error in batches in which every row has another one; all its rows were once its own.

    Args:
        session: The bundle.
        stored: What PyTorch gave each adapter for the same inputs.
        whole: The base has an answer of its own, so that rows without an adapter can be among them.
    """
    names = [*stored, *([None] if whole else [])]
    inputs = next(iter(stored.values()))["input"]
    batch = len(next(iter(inputs.values())))
    errors = dict.fromkeys(stored, 0.0)
    for turn in range(len(names)):
        rows = [names[(turn + row) % len(names)] for row in range(batch)]
        for output, got in session.run(inputs, adapter=rows).items():
            for row, name in enumerate(rows):
                if name is not None:
                    wanted = stored[name]["output"][output]
                    kept = _kept(inputs, wanted)[row]
                    errors[name] = max(errors[name], float(np.abs(got[row] - wanted[row])[kept].max()))
    return errors


def _kept(inputs: Arrays, output: NDArray[Any]) -> NDArray[np.bool_]:
    """Returns which places of an output are no padding, `(batch,)` or `(batch, n)`."""
    mask = inputs.get("attention_mask")
    if mask is None or mask.shape != output.shape[:2]:
        return np.ones(output.shape[:1], np.bool_)
    return np.asarray(mask == 1)


@contextmanager
def _quiet() -> Iterator[None]:
    import logging
    import warnings

    from tests import tiny

    logging.getLogger("adapters").setLevel(logging.ERROR)  # it warns whenever the plain base is run
    with warnings.catch_warnings(), tiny.quiet():
        warnings.simplefilter("ignore")
        yield


def write(result: dict[str, Any], folder: Path) -> Path:
    """Writes what `measure` found into `folder` as `methods-<library>.json`."""
    path = folder / f"methods-{result['library']}.json"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1, default=float) + "\n", encoding="utf-8")
    return path

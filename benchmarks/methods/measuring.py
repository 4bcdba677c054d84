"""Exports every method onto every kind of base, and keeps what the parity gate found."""

from __future__ import annotations

import importlib.util
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.machine import facts
from benchmarks.methods.zoo import FAMILIES, LIBRARIES, Case

TASK = "feature-extraction"


def libraries() -> list[str]:
    """Returns the libraries to compare with that are here: AdapterHub's where it is, else PEFT."""
    return ["adapters"] if importlib.util.find_spec("adapters") is not None else ["peft"]


def measure(library: str, minilm: Path) -> dict[str, Any]:
    """Returns errors and effects of every method of a library on every family."""
    rows: dict[str, dict[str, Any]] = {}
    for family in FAMILIES:
        cases = [case for case in LIBRARIES[library] if family in case.families]
        print(f"{library}: {family}, {len(cases)} methods", flush=True)
        with tempfile.TemporaryDirectory() as scratch:
            base = _base(family, Path(scratch), minilm)
            for title, found in _family(library, family, cases, base, Path(scratch)).items():
                rows.setdefault(title, {})[family] = found
    packages = ("onnxruntime", "torch", "transformers", library)
    versions = ", ".join(f"{name} {version(name).partition('+')[0]}" for name in packages)
    return {"library": library, "versions": versions, "rows": rows, "machine": facts()}


def _base(family: str, scratch: Path, minilm: Path) -> Path:
    from tests import tiny

    return minilm if family == "minilm" else tiny.base(scratch / "base", family)


def _family(library: str, family: str, cases: list[Case], base: Path, scratch: Path) -> dict[str, dict[str, Any]]:
    """Returns what was found of every method: alone, in a batch whose rows have all the others, and folded."""
    from edgeadapt.exporter.merging import merge
    from edgeadapt.exporter.pipeline import export

    names = {case.title: f"a{number}" for number, case in enumerate(cases)}
    with _quiet():
        folders = {
            names[case.title]: _adapter(library, family, case, base, scratch / names[case.title]) for case in cases
        }
        exported = export(base, folders, scratch / "bundle", task=TASK, allow_pickle=True)  # our own
    reports = {report.name: report for report in exported.reports}
    found = {}
    for case in cases:
        name = names[case.title]
        (folded,) = merge(exported.path, [name], scratch / f"{name}.onnx", mode="fold")
        (scratch / f"{name}.onnx").unlink()
        own = reports[name]
        bytes_ = (exported.path / "adapters" / name / "weights.onnx_adapter").stat().st_size
        found[case.title] = {
            "error": own.max_abs_error,
            "folded": folded.max_abs_error,
            "mixed": reports["mixed rows"].max_abs_error,
            "effect": own.effect,
            "bytes": bytes_,
        }
    return found


def _adapter(library: str, family: str, case: Case, base: Path, folder: Path) -> Path:
    from tests import hub, tiny

    config = case.make(family)
    if library == "adapters":
        return hub.adapter(base, folder, config)
    return tiny.peft_adapter(base, folder, config, TASK)


@contextmanager
def _quiet() -> Iterator[None]:
    import warnings

    from tests import tiny

    with warnings.catch_warnings(), tiny.quiet():
        warnings.simplefilter("ignore")
        yield


def write(result: dict[str, Any], folder: Path) -> Path:
    """Writes what `measure` found into `folder` as `methods-<library>.json`."""
    path = folder / f"methods-{result['library']}.json"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1, default=float) + "\n", encoding="utf-8")
    return path

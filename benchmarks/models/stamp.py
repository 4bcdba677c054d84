"""Makes a folder anew where what was made earlier is not what would be made now."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path

import onnxruntime

from benchmarks.settings import ROOT

# What decides the files of a bundle; the runtime and the command line only read them.
_CODE = ("adapter.py", "parity.py", "bundle", "exporter", "graph", "methods", "tasks")
_PACKAGES = ("torch", "transformers", "peft", "optimum", "onnx-ir", "onnxscript")
_STAMP = "made-from.sha256"


def make_current(
    folder: Path, sources: Iterable[Path], make: Callable[[Path], None], packages: tuple[str, ...] = ()
) -> None:
    """Sees to it that `folder` holds what `make` makes from `sources` with the code and packages of now.

    Args:
        folder: Removed and made again where it is out of date, or was left half-made.
        sources: Files and folders that decide the content, besides edgeadapt's code.
        make: Is given the folder, empty.
        packages: What decides it besides the packages that every export needs.
    """
    stamp = _digest([*(ROOT / "edgeadapt" / name for name in _CODE), *sources], packages)
    path = folder / _STAMP
    if path.is_file() and path.read_text(encoding="utf-8") == stamp:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    make(folder)
    path.write_text(stamp, encoding="utf-8")


def _digest(sources: Iterable[Path], packages: tuple[str, ...]) -> str:
    versions = "\n".join(f"{name} {version(name)}" for name in (*_PACKAGES, *packages))
    digest = hashlib.sha256(f"{versions}\nonnxruntime {onnxruntime.__version__}".encode())
    for source in sources:
        for path in sorted(source.rglob("*")) if source.is_dir() else [source]:
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"\n{path.relative_to(source.parent).as_posix()}\n".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()

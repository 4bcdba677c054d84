"""Bundles that load as others do, and look otherwise: names at their limits, other spellings of the JSON, stray files.

All but one are of `tests.runtime.tiny_bundle`, whose model is ONNX text and whose reference is numpy in float64.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeadapt import bundle as bundles
from edgeadapt.exporter.packaging import package
from tests.conformance.bundles import EXTRA
from tests.runtime.tiny_bundle import arrays, build, write_adapter

NAMES = ("0", "9..9", "A.b_c-D", "Zebra", "a-", "com10", "con-fidence", "none2", "nul_", "x" * 64)
"""Names at the limits of what an adapter may be called, sorted by their bytes."""

_COMMA, _COLON = "\r\n , ", "\t:\n "
_SPELLINGS = {
    f'"fill"{_COLON}0.0': f'"fill"{_COLON}0E+0',
    f'"cosine"{_COLON}1.0': f'"cosine"{_COLON}10.0e-1',
    f'"tolerance"{_COLON}1e-05': f'"tolerance"{_COLON}0.00001',
    "lora_A": "lor\\u0061_\\u0041",
    "graph/": "graph\\/",
}
"""Numbers with other fractions and exponents, and escapes that nothing forces."""

LABELS = ("n\u00f6", "vielleicht \U0001f937", 'd/"a"')


def tiny(folder: Path) -> None:
    """A base with a head; the other variants, and most broken bundles, are this one, changed."""
    build(folder, "stored")
    extra = folder.parent.parent / EXTRA
    write_adapter(extra / "firm", "firm", arrays(6, 21, labels=4, bias=True))
    write_adapter(extra / "brief", "brief", arrays(1, 22))
    write_adapter(extra / "nameless", "nameless", arrays(2, 23, labels=2), labels=None)
    write_adapter(extra / "renames", "renames", arrays(1, 24), labels=("nein", "mag sein", "ja"))
    write_adapter(extra / "foreign", "foreign", arrays(1, 22), fingerprint=f"sha256:{'6' * 64}")


def tiny_headless(folder: Path) -> None:
    """A base without a head."""
    build(folder, "open")


def tiny_hidden(folder: Path) -> None:
    """A model without labels."""
    build(folder, "absent")


def tiny_passes(folder: Path) -> None:
    """As `tiny`, with one slot of several that takes one array for the whole batch."""
    build(folder, "stored", bias_rows=1)


def names(folder: Path) -> None:
    """Adapters with names at their limits."""
    build(folder, "absent")
    for old in ("polite", "short", "formal"):
        shutil.rmtree(folder / "adapters" / old)
    for seed, name in enumerate(NAMES):
        write_adapter(folder / "adapters" / name, name, arrays(1 + seed % 4, 30 + seed, bias=seed % 2 == 0))


def respelled(folder: Path) -> None:
    """The JSON in another spelling that means the same, files in folders, an adapter under another name than before."""
    build(folder, "stored")
    (folder / "graph" / "deep").mkdir(parents=True)
    (folder / "model.onnx").rename(folder / "graph" / "model.onnx")
    (folder / "neutrals.onnx_adapter").rename(folder / "graph" / "deep" / "n e u.onnx_adapter")
    (folder / "graph" / "empty").write_bytes(b"")
    (folder / "adapters" / "spam").rename(folder / "adapters" / "ham")
    files = bundles.record_files(folder, ["graph/model.onnx", "graph/deep/n e u.onnx_adapter", "graph/empty"])
    document = json.loads((folder / "edgeadapt.json").read_text("utf-8"))
    document["model"] |= {
        "file": "graph/model.onnx",
        "neutrals": "graph/deep/n e u.onnx_adapter",
        "onnxruntime": ">=1.9.100",  # compared number by number: as text it is newer than 1.20
    }
    document["files"] = {name: {"sha256": each.sha256, "bytes": each.bytes} for name, each in files.items()}
    document["labels"] = list(LABELS)
    (folder / "edgeadapt.json").write_text(_respelled(document), "utf-8", newline="")
    record = folder / "adapters" / "polite" / "adapter.json"
    record.write_text(_respelled(json.loads(record.read_text("utf-8"))), "utf-8", newline="")


def _respelled(document: Any) -> str:
    text = json.dumps(_reversed(document), ensure_ascii=True, separators=(_COMMA, _COLON))
    for old, new in _SPELLINGS.items():
        text = text.replace(old, new)
    return f" \n\t{text}\r\n\n"


def _reversed(value: Any) -> Any:
    """Returns the same JSON with the keys of every object in the opposite order; the order of lists means something."""
    if isinstance(value, dict):
        return {key: _reversed(value[key]) for key in reversed(value)}
    return [_reversed(each) for each in value] if isinstance(value, list) else value


def strewn(folder: Path) -> None:
    """Beside what belongs there: folders of interrupted writes, files that nothing lists, and links among these."""
    build(folder, "stored")
    (folder / "notes.txt").write_text("nothing lists this")
    (folder / "elsewhere").symlink_to("nowhere")
    adapters = folder / "adapters"
    (adapters / ".spam.123.abc.partial").mkdir()
    (adapters / ".spam.123.abc.partial" / "adapter.json").write_text("{")
    (adapters / ".DS_Store").write_bytes(b"\0")
    (adapters / "README").write_text("a file in adapters/ is no adapter")
    (adapters / "spam" / "notes.txt").write_text("nothing lists this")


def linked(folder: Path) -> None:
    """`tiny`, reached through a link, which a bundle's own folder may be."""
    folder.symlink_to("tiny")


def ort_format(folder: Path) -> None:
    """`classifiers`, packaged: the model in ONNX Runtime's own format, beside it what no list names."""
    source = folder.with_name("classifiers")
    manifest = bundles.read_manifest(package(source, folder, ort_format=True).path)
    # It asks for the ONNX Runtime that wrote it; older ones read this model, and their loaders are to be asked, too.
    oldest = bundles.read_manifest(source).model.onnxruntime
    bundles.write_manifest(folder, replace(manifest, model=replace(manifest.model, onnxruntime=oldest)))


VARIANTS: Mapping[str, Callable[[Path], None]] = {
    "tiny": tiny,
    "tiny-headless": tiny_headless,
    "tiny-hidden": tiny_hidden,
    "tiny-passes": tiny_passes,
    "names": names,
    "respelled": respelled,
    "strewn": strewn,
    "linked": linked,
    "ort-format": ort_format,
}
"""A bundle's name to what writes it."""

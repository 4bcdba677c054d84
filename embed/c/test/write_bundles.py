"""Writes the bundles that the C tests run: `python embed/c/test/write_bundles.py OUT`, from the repository's root."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from edgeadapt.bundle import RulesRecord, read_manifest, record_files, write_manifest
from tests.runtime.tiny_bundle import build


def _write_encoder(folder: Path) -> None:
    """Writes a bundle whose manifest has an encoder; its models are never opened."""
    build(folder, "absent")
    path = folder / "edgeadapt.json"
    manifest = json.loads(path.read_text())
    cache = [{"name": name, "dtype": "float32", "shape": ["batch", 1, "past", 1]} for name in ("0.key", "0.value")]
    manifest["inputs"] += _renamed(cache, "past_key_values.") + _renamed(cache, "encoder_key_values.")
    manifest["outputs"] += _renamed(cache, "present.")
    encoder = {"file": "model.onnx", "inputs": [], "outputs": _renamed(cache, "encoded."), "positions": None}
    rules = RulesRecord(1.0, 0, 0, 0, None, (), (), ())
    manifest["generation"] = {
        "eos_ids": [1],
        "positions": None,
        "start_ids": [0],
        "rules": asdict(rules),
        "encoder": encoder,
        "speech": None,
    }
    path.write_text(json.dumps(manifest | {"format": "1.1"}))
    read_manifest(folder)


def _write_newer(folder: Path) -> None:
    """Writes a bundle for an ONNX Runtime that there is not; what it calls a model is none."""
    build(folder, "absent")
    (folder / "model.onnx").write_bytes(b"no model")
    manifest = read_manifest(folder)
    files = {**manifest.files, **record_files(folder, ["model.onnx"])}
    write_manifest(folder, replace(manifest, model=replace(manifest.model, onnxruntime=">=1.100"), files=files))


def _renamed(tensors: list[dict[str, Any]], prefix: str) -> list[dict[str, Any]]:
    return [tensor | {"name": prefix + tensor["name"]} for tensor in tensors]


def main() -> None:
    """Writes one bundle of each kind of head, others that are refused, and a broken adapter."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} FOLDER")
    out = Path(sys.argv[1])
    build(out / "open")
    build(out / "stored", "stored")
    build(out / "absent", "absent")
    build(out / "passes", "stored", bias_rows=1)
    _write_encoder(out / "encoder")
    _write_newer(out / "newer")
    # An adapter whose file was changed after its sha256 was taken.
    broken = out / "broken" / "spam"
    shutil.copytree(out / "open" / "adapters" / "spam", broken)
    weights = bytearray((broken / "weights.onnx_adapter").read_bytes())
    weights[-1] ^= 1
    (broken / "weights.onnx_adapter").write_bytes(weights)


if __name__ == "__main__":
    main()

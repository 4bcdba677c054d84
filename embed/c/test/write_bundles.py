"""Writes the bundles that the C tests run: `python embed/c/test/write_bundles.py OUT`, from the repository's root."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from tests.runtime.tiny_bundle import build


def main() -> None:
    """Writes one bundle of each kind of head, one whose biases can't differ between rows, and a broken adapter."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} FOLDER")
    out = Path(sys.argv[1])
    build(out / "open")
    build(out / "stored", "stored")
    build(out / "absent", "absent")
    build(out / "passes", "stored", bias_rows=1)
    # An adapter whose file was changed after its sha256 was taken.
    broken = out / "broken" / "spam"
    shutil.copytree(out / "open" / "adapters" / "spam", broken)
    weights = bytearray((broken / "weights.onnx_adapter").read_bytes())
    weights[-1] ^= 1
    (broken / "weights.onnx_adapter").write_bytes(weights)


if __name__ == "__main__":
    main()

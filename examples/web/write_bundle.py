"""Writes the bundle of the page: a real model with adapters of three methods, that of `make demo`.

`python examples/web/write_bundle.py MODEL OUT`, where MODEL is the folder of all-MiniLM-L6-v2.
"""

from __future__ import annotations

import sys
from pathlib import Path

import edgeadapt
from edgeadapt.exporter.adding import add

ADAPTERS = Path(__file__).resolve().parents[1] / "adapters"
EXPORTED = ("spam", "intents", "reviews", "tones")
ADDED = "banking"
"""Of another library, which is added to the finished bundle."""


def main() -> None:
    """Writes it; nothing may be at OUT."""
    model, out = Path(sys.argv[1]), Path(sys.argv[2])
    edgeadapt.export(model, {name: ADAPTERS / name for name in EXPORTED}, out)
    add(out, ADAPTERS / ADDED, ADDED)


if __name__ == "__main__":
    main()

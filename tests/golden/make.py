"""Writes the golden bundle. Run once for each format version; a bundle that is there is never written again.

python -m tests.golden.make
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from edgeadapt.bundle import FORMAT
from edgeadapt.exporter.pipeline import AdapterSource, export
from tests import tiny

HERE = Path(__file__).parent
SMALL: dict[str, Any] = {
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "max_position_embeddings": 32,
}


def main() -> None:
    """Exports a BERT of one layer with two adapters of other ranks and label counts."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        base = tiny.base(folder / "base", **SMALL)
        spam = tiny.lora_adapter(base, folder / "spam", rank=2, targets=["query"], num_labels=2, seed=1)
        mood = tiny.lora_adapter(base, folder / "mood", rank=3, targets=["query", "value"], num_labels=3, seed=2)
        adapters = {
            "spam": AdapterSource(spam, ("ham", "spam")),
            "mood": AdapterSource(mood, ("negative", "neutral", "positive")),
        }
        export(base, adapters, HERE / f"bundle-{FORMAT}")


if __name__ == "__main__":
    main()

"""Fixtures for all tests. The environment is set before anything imports ONNX Runtime or transformers."""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# Wide enough that no table of the command line is cut, and no colours in it.
os.environ.update(COLUMNS="200", NO_COLOR="1", TERM="dumb")

from pathlib import Path
from typing import Any

import pytest

from tests import tiny

TINY_ADAPTERS: dict[str, dict[str, Any]] = {
    "spam": {"rank": 4, "targets": ["query", "value"], "num_labels": 2, "seed": 1},
    "intents": {"rank": 2, "targets": ["query", "key", "dense"], "num_labels": 5, "seed": 2},
}
TINY_LABELS = {"spam": ("ham", "spam")}


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of 2 layers and 32 dimensions without a head, with its tokenizer. Read-only."""
    return tiny.base(tmp_path_factory.mktemp("tiny") / "base")


@pytest.fixture(scope="session")
def tiny_adapters(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two text classifiers for `tiny_base`, of different ranks, targets and label counts, by name. Read-only."""
    parent = tmp_path_factory.mktemp("tiny-adapters")
    return {name: tiny.lora_adapter(tiny_base, parent / name, **options) for name, options in TINY_ADAPTERS.items()}


@pytest.fixture(scope="session")
def tiny_bundle(tiny_base: Path, tiny_adapters: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny_base` with `tiny_adapters` as a bundle. Read-only: copy it to change it."""
    from edgeadapt.exporter.pipeline import AdapterSource, export

    sources = {name: AdapterSource(folder, TINY_LABELS.get(name)) for name, folder in tiny_adapters.items()}
    return export(tiny_base, sources, tmp_path_factory.mktemp("tiny-bundle") / "bundle").path


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of the real all-MiniLM-L6-v2, which `make` gets; the test is skipped where it is not."""
    folder = Path(__file__).resolve().parents[1] / ".models" / "all-MiniLM-L6-v2"
    if not (folder / "config.json").is_file():
        pytest.skip("no .models/all-MiniLM-L6-v2: `make test` gets it")
    return folder

"""Classifiers that the exporter's tests add to bundles, and the bundles."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edgeadapt.exporter.pipeline import export
from tests import tiny
from tests.exporter.classifiers import CASES


@pytest.fixture(scope="session")
def adapters(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every adapter of `CASES`. Read-only."""
    parent = tmp_path_factory.mktemp("adapters")
    return {
        name: tiny.lora_adapter(tiny_base, parent / name, rank=3, num_labels=4, seed=9, **options)
        for name, options in CASES.items()
    }


@pytest.fixture
def home(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the bundle, to change."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


@pytest.fixture(scope="session")
def headed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base with a trained head of 3 labels, an adapter that keeps it, in a bundle, and one with a head of 5.

    Read-only.
    """
    folder = tmp_path_factory.mktemp("headed")
    base = tiny.base(folder / "base", task="text-classification", num_labels=3)
    tiny.lora_adapter(base, folder / "keeps", "feature-extraction", targets=["query"])
    tiny.lora_adapter(base, folder / "brings", targets=["query"], num_labels=5)
    export(base, {"keeps": folder / "keeps"}, folder / "bundle", task="text-classification")
    return folder

"""Bundles written by earlier versions load, verify, mix, grow and merge."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import edgeadapt
from edgeadapt.exporter.merging import merge
from edgeadapt.runtime.verify import verify

BUNDLES = sorted(Path(__file__).parent.glob("bundle-*"))
TEXTS = ["win a free prize now", "the parcel never arrived"]


@pytest.mark.parametrize("folder", BUNDLES, ids=lambda folder: folder.name)
def test_a_golden_bundle_says_what_it_said(folder: Path) -> None:
    session = edgeadapt.load(folder)

    assert set(session.adapters) == {"spam", "mood"}
    for name in (None, "spam", "mood"):
        report = verify(session, name)
        assert report.passed
        assert report.max_abs_error < 1e-5
        assert name is None or report.effect > max(1e-3, 1000 * report.max_abs_error)


@pytest.mark.parametrize("folder", BUNDLES, ids=lambda folder: folder.name)
def test_rows_of_a_golden_bundle_mix(folder: Path) -> None:
    pipe = edgeadapt.pipeline(folder)

    mixed = pipe(TEXTS, adapter=["spam", "mood"])

    assert mixed[0]["label"] in {"ham", "spam"}
    assert mixed[1]["label"] in {"negative", "neutral", "positive"}
    alone = [pipe(text, adapter=name)[0] for text, name in zip(TEXTS, ("spam", "mood"), strict=True)]
    for one, other in zip(mixed, alone, strict=True):
        assert one["label"] == other["label"]
        assert one["score"] == pytest.approx(other["score"], abs=1e-6)


@pytest.mark.parametrize("folder", BUNDLES, ids=lambda folder: folder.name)
def test_a_golden_bundle_folds(folder: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(folder, bundle)

    (report,) = merge(bundle, ["mood"], tmp_path / "mood.onnx", mode="fold")

    assert report.passed
    assert (tmp_path / "mood.onnx").is_file()
    assert np.isfinite(report.effect)


def test_there_is_a_golden_bundle_of_this_format() -> None:
    from edgeadapt.bundle import FORMAT

    assert f"bundle-{FORMAT}" in {folder.name for folder in BUNDLES}

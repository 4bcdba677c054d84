"""A real Pfeiffer bottleneck of AdapterHub on a real model: added without PyTorch, and against the live library."""

from __future__ import annotations

import importlib
import importlib.util
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgeadapt
from edgeadapt.exporter.adding import add
from edgeadapt.exporter.pipeline import export
from tests import tiny
from tests.real.conftest import ADAPTERS, BANKING
from tests.real.test_minilm import TEXTS, batch

pytestmark = pytest.mark.real

MAX_ERROR = 2e-5  # of logits up to 15: some steps of fp32
QUESTION = "I have been waiting for my new card for two weeks now."


def test_it_is_added_to_a_bundle_of_loras_and_shares_a_batch_with_them(minilm_bundle: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(minilm_bundle, tmp_path / "bundle"))

    report = add(bundle, BANKING, "banking")

    assert report.effect > 1
    assert report.max_abs_error < 1e-5 * report.effect
    classify = edgeadapt.pipeline(bundle)
    rows = classify([QUESTION, QUESTION, "Play some jazz"], adapter=["banking", "spam", "intents"])
    assert [row["label"] for row in rows] == ["card_arrival", "ham", "PlayMusic"]


@pytest.mark.skipif(importlib.util.find_spec("adapters") is None, reason="AdapterHub's library needs transformers 4")
def test_it_says_what_the_live_library_says(minilm: Path, tmp_path: Path) -> None:
    import torch

    adapters: Any = importlib.import_module("adapters")
    with tiny.quiet(), torch.no_grad():
        model = adapters.AutoAdapterModel.from_pretrained(minilm).eval()
        model.load_adapter(str(BANKING), use_safetensors=True, set_active=True)
        inputs = {name: torch.from_numpy(array) for name, array in batch(minilm).items()}
        live = model(**inputs).logits.numpy()

    made = export(minilm, {"banking": BANKING, "spam": ADAPTERS["spam"]}, tmp_path / "bundle")

    session = edgeadapt.load(made.path)
    got = session.run(batch(minilm), adapter="banking")["logits"]
    mixed = session.run(batch(minilm), adapter=["banking", "spam"] * (len(TEXTS) // 2))["logits"]
    assert np.abs(np.asarray(got) - live).max() <= MAX_ERROR
    for row in range(0, len(TEXTS), 2):
        assert np.abs(mixed[row] - live[row]).max() <= MAX_ERROR
    report = next(report for report in made.reports if report.name == "banking")
    assert report.max_abs_error < 0.001 * report.effect

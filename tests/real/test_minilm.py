"""The main job on a real model: real adapters of PEFT, single, mixed and folded, against live PyTorch and PEFT."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import edgeadapt
from edgeadapt.exporter.adding import add, remove
from edgeadapt.exporter.merging import merge
from edgeadapt.exporter.packaging import package
from edgeadapt.runtime.verify import verify
from tests import tiny
from tests.real.conftest import ADAPTERS

pytestmark = pytest.mark.real

MAX_ERROR = 1e-5
TEXTS = (
    "Congratulations! You have been selected for a cash prize, call 08001234567 now.",
    "ok see you at 7",
    "Book a table for four at an Italian place near the station tomorrow evening, and please make it a quiet one.",
    "what's the weather like in Lisbon",
    "The zip broke after a week and support never answered any of my three mails about it.",
    "Great value, would buy again!",
)
WITHOUT_TORCH = """
import sys
from pathlib import Path
from edgeadapt.exporter.adding import add
add(Path(sys.argv[1]), Path(sys.argv[2]), "again")
assert "torch" not in sys.modules
"""
LABELS = {"spam": 2, "intents": 7, "reviews": 2, "tones": 3}


def batch(minilm: Path) -> dict[str, np.ndarray]:
    """Returns real sentences of several lengths, padded to the longest."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(minilm)
    encoded = tokenizer(list(TEXTS), padding=True, return_tensors="np")
    return {name: array.astype(np.int64) for name, array in encoded.items()}


@pytest.fixture(scope="module")
def live(minilm: Path) -> dict[str, np.ndarray]:
    """PEFT's logits for every adapter, loaded as any user of PEFT would."""
    import peft
    import torch
    import transformers

    inputs = {name: torch.from_numpy(array) for name, array in batch(minilm).items()}
    logits = {}
    for name, folder in ADAPTERS.items():
        with tiny.quiet(), torch.no_grad():
            base = transformers.AutoModelForSequenceClassification.from_pretrained(minilm, num_labels=LABELS[name])
            logits[name] = peft.PeftModel.from_pretrained(base, folder).eval()(**inputs).logits.numpy()
    return logits


@pytest.mark.parametrize("name", sorted(ADAPTERS))
def test_an_adapter_says_what_peft_says(
    name: str, minilm: Path, minilm_bundle: Path, live: dict[str, np.ndarray]
) -> None:
    got = edgeadapt.load(minilm_bundle).run(batch(minilm), adapter=name)["logits"]

    assert np.abs(np.asarray(got) - live[name]).max() <= MAX_ERROR


def test_every_row_of_a_mixed_batch_says_what_peft_says(
    minilm: Path, minilm_bundle: Path, live: dict[str, np.ndarray]
) -> None:
    names = [sorted(ADAPTERS)[row % len(ADAPTERS)] for row in range(len(TEXTS))]

    got = edgeadapt.load(minilm_bundle).run(batch(minilm), adapter=names)["logits"]

    for row, name in enumerate(names):
        assert got[row].shape == (LABELS[name],)
        assert np.abs(got[row] - live[name][row]).max() <= MAX_ERROR


@pytest.mark.parametrize("name", sorted(ADAPTERS))
def test_a_folded_adapter_says_what_peft_says(
    name: str, minilm: Path, minilm_bundle: Path, live: dict[str, np.ndarray], tmp_path: Path
) -> None:
    import onnxruntime

    merge(minilm_bundle, [name], tmp_path / "folded.onnx", mode="fold")

    session = onnxruntime.InferenceSession(tmp_path / "folded.onnx", providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], batch(minilm))
    assert np.abs(logits - live[name]).max() <= MAX_ERROR


def test_the_device_can_verify_all_of_it(minilm_bundle: Path) -> None:
    session = edgeadapt.load(minilm_bundle)

    reports = [verify(session, name) for name in (None, *session.adapters)]

    assert [report.name for report in reports] == ["none", *sorted(ADAPTERS)]
    assert all(report.passed and report.max_abs_error <= MAX_ERROR for report in reports)
    assert all(report.effect > 1 for report in reports[1:])


def test_an_adapter_is_taken_out_and_added_again_without_pytorch(
    minilm: Path, minilm_bundle: Path, live: dict[str, np.ndarray], tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(minilm_bundle, bundle)
    remove(bundle, "reviews")

    report = add(bundle, ADAPTERS["reviews"], "reviews")

    assert report.max_abs_error <= MAX_ERROR < 1 < report.effect
    got = edgeadapt.load(bundle).run(batch(minilm), adapter="reviews")["logits"]
    assert np.abs(np.asarray(got) - live["reviews"]).max() <= MAX_ERROR
    subprocess.run([sys.executable, "-c", WITHOUT_TORCH, bundle, ADAPTERS["spam"]], check=True)


def test_a_package_in_ort_format_answers_with_the_same_bits(minilm: Path, minilm_bundle: Path, tmp_path: Path) -> None:
    made = package(minilm_bundle, tmp_path / "app", ort_format=True, strip_parity=True)
    assert [report.max_abs_error for report in made.reports] == [0.0] * (len(ADAPTERS) + 2)
    before, after = edgeadapt.load(minilm_bundle), edgeadapt.load(made.path)
    rows = [*ADAPTERS, *list(ADAPTERS)[:2]]
    for adapter in (*ADAPTERS, rows):
        expected, got = (session.run(batch(minilm), adapter=adapter)["logits"] for session in (before, after))
        assert [row.tobytes() for row in got] == [row.tobytes() for row in expected]
    assert sum(made.after.values()) < sum(made.before.values())

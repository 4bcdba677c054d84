"""`edgeadapt verify`: 0 where all agree, 1 where an adapter doesn't, 2 where the bundle can't be used."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeadapt.bundle import read_adapter, record_files, write_adapter
from tests.cli.conftest import Invoke


def spoil(home: Path, **arrays: np.ndarray) -> None:
    """Puts arrays of its own into an adapter's parity case, and the sha256 that goes with them into its record."""
    with np.load(home / "parity.npz") as case:
        stored = dict(case)
    np.savez(home / "parity.npz", **{**stored, **{name.replace("__", "/"): array for name, array in arrays.items()}})
    record = read_adapter(home)
    write_adapter(home, replace(record, files={**record.files, **record_files(home, ("parity.npz",))}))


def test_a_good_bundle_passes(tiny_bundle: Path, invoke: Invoke) -> None:
    result = invoke("verify", tiny_bundle)
    assert result.stdout.splitlines()[-1] == "all 3 passed"
    assert [line.split()[0] for line in result.stdout.splitlines() if line.rstrip().endswith(" passed")][:3] == [
        "none", "intents", "spam",
    ]  # fmt: skip


def test_json_has_the_figures(tiny_bundle: Path, invoke: Invoke) -> None:
    report = json.loads(invoke("verify", tiny_bundle, "--json").stdout)
    assert (report["provider"], report["passed"], report["failures"]) == ("cpu", True, [])
    assert [each["name"] for each in report["adapters"]] == ["none", "intents", "spam"]
    for each in report["adapters"]:
        assert 0 <= each["max_abs_error"] <= each["tolerance"] == 1e-4
        assert each["passed"]
    assert report["adapters"][1]["effect"] > 0.1


@pytest.mark.parametrize("as_json", [False, True])
def test_an_adapter_that_differs_fails_with_exit_code_1(as_json: bool, bundle: Path, invoke: Invoke) -> None:
    home = bundle / "adapters" / "spam"
    with np.load(home / "parity.npz") as case:
        spoil(home, output__logits=case["output/logits"] + np.float32(0.5))
    result = invoke("verify", bundle, *(["--json"] if as_json else []), code=1)
    if as_json:
        report = json.loads(result.stdout)
        assert [each["passed"] for each in report["adapters"]] == [True, True, False]
        assert not report["passed"]
        assert report["failures"][0].startswith("spam: the max abs error is 0.5")
    else:
        assert "failed: spam: the max abs error is 0.5, expected at most 0.0001" in result.stdout
        assert result.stdout.splitlines()[-1] == "failed"


def test_outputs_of_another_shape_fail_with_exit_code_1(bundle: Path, invoke: Invoke) -> None:
    spoil(bundle / "adapters" / "spam", output__logits=np.zeros((2, 9), np.float32))
    result = invoke("verify", bundle, "--json", code=1)
    assert json.loads(result.stdout)["failures"][0].startswith("spam: ")


@pytest.mark.parametrize(
    ("spoilt", "message"),
    [
        ("model.onnx.data", "sha256"),
        ("adapters/spam/weights.onnx_adapter", "sha256"),
        ("adapters/none/parity.npz", "sha256"),
    ],
)
def test_a_changed_file_exits_with_2(spoilt: str, message: str, bundle: Path, invoke: Invoke) -> None:
    path = bundle / spoilt
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    told = invoke("verify", bundle, code=2).stderr
    assert Path(spoilt).name in told
    assert message in told


def test_a_missing_file_exits_with_2(bundle: Path, invoke: Invoke) -> None:
    (bundle / "adapters" / "spam" / "parity.npz").unlink()
    assert "parity.npz" in invoke("verify", bundle, code=2).stderr


def test_a_folder_that_is_no_bundle_exits_with_2(tmp_path: Path, invoke: Invoke) -> None:
    assert "is not a bundle" in invoke("verify", tmp_path, code=2).stderr


def test_a_newer_bundle_exits_with_2(bundle: Path, invoke: Invoke) -> None:
    path = bundle / "edgeadapt.json"
    path.write_text(path.read_text().replace('"format": "1.0"', '"format": "2.0"'))
    assert "newer edgeadapt" in invoke("verify", bundle, code=2).stderr

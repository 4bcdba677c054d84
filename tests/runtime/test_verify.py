"""The stored proof, run again."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgeadapt import bundle
from edgeadapt.bundle import TensorRecord
from edgeadapt.errors import AdapterError, BundleError
from edgeadapt.parity import Tolerance
from edgeadapt.runtime import load
from edgeadapt.runtime import verify as module
from edgeadapt.runtime.verify import padding, verify
from tests.runtime.tiny_bundle import A, B, TinyBundle, write_adapter


def replace_case(own: TinyBundle, name: str, path: Path) -> None:
    """Puts another `parity.npz` into an adapter's folder, listed as it is."""
    folder = own.path / "adapters" / name
    path.replace(folder / "parity.npz")
    document = json.loads((folder / "adapter.json").read_bytes())
    record = bundle.record_files(folder, ["parity.npz"])["parity.npz"]
    document["files"]["parity.npz"] = {"bytes": record.bytes, "sha256": record.sha256}
    (folder / "adapter.json").write_text(json.dumps(document))


@pytest.mark.parametrize("kind", ["headless", "headed", "encoder", "whole_batch"])
def test_every_adapter_and_the_base_pass(kind: str, request: pytest.FixtureRequest) -> None:
    session = load(request.getfixturevalue(kind).path)
    for name in (None, *session.adapters):
        report = verify(session, name)
        assert report.passed, report.failures()
        assert report.name == (name or "none")
        assert report.tolerance.max_abs == 1e-5
        assert report.effect == (1.0 if name else 0.0)
        assert report.against_base == (name is not None)


def test_numbers_that_differ_fail(own: TinyBundle, tmp_path: Path) -> None:
    with np.load(own.path / "adapters" / "spam" / "parity.npz") as stored:
        arrays = dict(stored)
    arrays["output/logits"][0, 0] += 0.5
    np.savez(tmp_path / "case.npz", allow_pickle=False, **arrays)
    replace_case(own, "spam", tmp_path / "case.npz")
    session = load(own.path)
    report = verify(session, "spam")
    assert not report.passed
    assert report.max_abs_error == pytest.approx(0.5, rel=1e-3)
    assert verify(session, "spam", Tolerance(max_abs=1.0, effect_fraction=1.0)).passed


def test_other_weights_fail(own: TinyBundle, tmp_path: Path) -> None:
    weights = {**own.adapters["short"], B: own.adapters["short"][B] * np.float32(1.01)}
    case = dict(np.load(own.path / "adapters" / "short" / "parity.npz"))
    session = load(own.path)
    session.add_adapter(write_adapter(tmp_path / "new", "new", weights, case=case))
    assert not verify(session, "new").passed
    assert A in weights


def test_an_adapter_without_a_case(own: TinyBundle, tmp_path: Path) -> None:
    session = load(own.path)
    session.add_adapter(write_adapter(tmp_path / "new", "new", own.adapters["short"]))
    with pytest.raises(BundleError, match=r"has no parity\.npz"):
        verify(session, "new")
    with pytest.raises(AdapterError, match="There is no adapter 'nwe'"):
        verify(session, "nwe")


def test_a_case_that_changed_since_it_was_loaded(own: TinyBundle) -> None:
    session = load(own.path)
    (own.path / "adapters" / "spam" / "parity.npz").write_bytes(b"")
    with pytest.raises(BundleError, match=r"parity\.npz: has 0 bytes"):
        verify(session, "spam")


def test_cases_that_are_none(own: TinyBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = tmp_path / "case.npz"
    bad.write_bytes(b"no archive")
    replace_case(own, "spam", bad)
    np.savez(bad, pickled=np.array([object()], dtype=object), allow_pickle=True)
    replace_case(own, "polite", bad)
    np.savez(bad, **{"other/x": np.zeros(1)}, allow_pickle=False)
    replace_case(own, "short", bad)
    with zipfile.ZipFile(bad, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("input/x.npy", bytes(1 << 20))
    replace_case(own, "none", bad)
    monkeypatch.setattr(module, "_MOST_BYTES", 1 << 19)
    session = load(own.path)
    for name in (None, "spam", "polite", "short"):
        with pytest.raises(BundleError, match=r"parity\.npz can't be read"):
            verify(session, name)
    with pytest.raises(BundleError, match="it unpacks to 1048576 bytes, and more than 524288 are refused"):
        verify(session, None)


def test_padding_is_left_out_of_outputs_by_token(headed: TinyBundle) -> None:
    from dataclasses import replace

    axes = ("batch", "sequence")
    manifest = replace(
        load(headed.path).manifest,
        inputs=(TensorRecord("attention_mask", "int64", axes),),
        outputs=(TensorRecord("hidden", "float32", (*axes, 6)), TensorRecord("logits", "float32", ("batch", 2))),
    )
    masks = padding({"attention_mask": np.array([[1, 1, 0]])}, manifest)
    assert list(masks) == ["hidden"]
    np.testing.assert_array_equal(masks["hidden"], [[True, True, False]])

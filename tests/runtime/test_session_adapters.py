"""Adapters that come and go while a session lives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeadapt.errors import AdapterError, BundleError
from edgeadapt.runtime import Session
from tests.runtime.tiny_bundle import (
    BIAS,
    HEAD_BIAS,
    HEAD_WEIGHT,
    A,
    Arrays,
    B,
    TinyBundle,
    arrays,
    inputs,
    write_adapter,
)


def float64(own: Arrays) -> Arrays:
    return {**own, A: own[A].astype(np.float64)}


def with_nan(own: Arrays) -> Arrays:
    broken = own[B].copy()
    broken[0, 0, 0] = np.nan
    return {**own, B: broken}


REFUSED: list[tuple[Arrays, dict[str, Any], str]] = [
    (arrays(2, 1), {"fingerprint": f"sha256:{'6' * 64}"}, f"base: got sha256:{'6' * 64}, expected sha256:{'5' * 64}"),
    ({**arrays(2, 1), "encoder.fc.magnitude": np.ones((1, 6), np.float32)}, {}, "has no slots encoder.fc.magnitude"),
    ({**arrays(2, 1), A: np.zeros((1, 8, 2), np.float32)}, {}, "lora_A: got (1, 8, 2), expected (rows, 4, rank)"),
    ({**arrays(2, 1), A: np.zeros((4, 2), np.float32)}, {}, "lora_A: got (4, 2), expected (rows, 4, rank)"),
    (
        {**arrays(2, 1), A: np.zeros((2, 4, 2), np.float32)},
        {},
        "lora_A: got (2, 4, 2), expected (rows, 4, rank) with 1",
    ),
    (float64(arrays(2, 1)), {}, "lora_A: got float64, expected float32"),
    ({**arrays(2, 1), A: arrays(3, 1)[A]}, {"sites": {}}, "rank: 3 in encoder.fc.lora_A, 2 in encoder.fc.lora_B"),
    ({A: arrays(2, 1)[A]}, {}, "rank: 2 in encoder.fc.lora_A, 1 in encoder.fc.lora_B (the neutral)"),
    (
        {**arrays(2, 1, labels=2), HEAD_BIAS: np.zeros((1, 1, 4), np.float32)},
        {},
        "labels: 2 in classifier.weight, 4 in classifier.bias",
    ),
    (arrays(2, 1, labels=2), {"labels": ("a", "b", "c")}, "labels: 3 names in adapter.json, 2 columns in the head"),
    (arrays(2, 1), {"labels": ("a", "b")}, "labels: 2 names in adapter.json, 3 columns in the head"),
    (
        arrays(2, 1),
        {"sites": {"encoder.fc": {"lora": {"rank": 7}}}},
        "lora_A: rank 7 in adapter.json, 2 in its array",
    ),
    (with_nan(arrays(2, 1)), {}, "lora_B: holds NaN or infinity"),
]


@pytest.mark.parametrize(("own", "changed", "problem"), REFUSED, ids=[problem for _, _, problem in REFUSED])
def test_an_adapter_that_does_not_fit(
    session: Session, tmp_path: Path, own: Arrays, changed: dict[str, Any], problem: str
) -> None:
    before, fed = session.adapters, inputs()
    outputs = session.run(fed, "spam")
    folder = write_adapter(tmp_path / "new", "new", own, **changed)
    with pytest.raises(AdapterError) as caught:
        session.add_adapter(folder)
    first, *problems, _ = str(caught.value).splitlines()
    assert first == "Adapter 'new' does not fit the model:"
    assert any(problem in line for line in problems)
    assert session.adapters == before
    np.testing.assert_array_equal(session.run(fed, "spam")["logits"], outputs["logits"])


def test_everything_that_does_not_fit_is_said_at_once(session: Session, tmp_path: Path) -> None:
    own = {**with_nan(arrays(2, 1)), BIAS: np.zeros((1, 6), np.float32), "decoder.fc.lora_A": np.zeros(1, np.float32)}
    folder = write_adapter(tmp_path / "new", "new", own, fingerprint=f"sha256:{'6' * 64}")
    with pytest.raises(AdapterError) as caught:
        session.add_adapter(folder)
    assert str(caught.value).splitlines() == [
        "Adapter 'new' does not fit the model:",
        f"  fingerprint of the base: got sha256:{'6' * 64}, expected sha256:{'5' * 64}",
        "  the model has no slots decoder.fc.lora_A",
        "  encoder.fc.lora_B: holds NaN or infinity",
        "  encoder.fc.bias_delta: got (1, 6), expected (rows, 1, 6)",
        "Export it from the base it was trained on.",
        "`edgeadapt add` the checkpoint to this bundle: it gives the model the slots that are missing.",
    ]


def test_an_adapter_without_the_head_that_the_base_lacks(headless: TinyBundle, tmp_path: Path) -> None:
    from edgeadapt.runtime import load

    folder = write_adapter(tmp_path / "new", "new", arrays(2, 1))
    with pytest.raises(AdapterError, match=r"classifier\.weight: missing, and the base has no value for it"):
        load(headless.path).add_adapter(folder)


def test_an_added_adapter_runs_and_changes_no_other(session: Session, headed: TinyBundle, tmp_path: Path) -> None:
    fed = inputs()
    before = session.run(fed, ["spam", "polite", None])
    own = arrays(5, 9, labels=4)
    session.add_adapter(write_adapter(tmp_path / "new", "new", own))
    session.add_adapter(tmp_path / "new", "other")
    assert list(session.adapters) == ["polite", "short", "spam", "new", "other"]
    assert session.adapters["other"].name == "other"
    wanted = TinyBundle(headed.path, headed.base, {"new": own}).expected(fed["x"][1], "new")["logits"]
    for choice in ("new", "other", ["spam", "new", None]):
        np.testing.assert_allclose(session.run(fed, choice)["logits"][1], wanted, atol=1e-5)
    for got, row in zip(session.run(fed, ["spam", "polite", None])["logits"], before["logits"], strict=True):
        np.testing.assert_array_equal(got, row)


def test_a_name_that_is_taken_or_no_name(session: Session, headed: TinyBundle, tmp_path: Path) -> None:
    folder = headed.path / "adapters" / "spam"
    with pytest.raises(AdapterError, match="There is an adapter 'spam' already"):
        session.add_adapter(folder)
    for name in ("none", "../spam", "NUL", ""):
        with pytest.raises(AdapterError, match="Not a name for an adapter"):
            session.add_adapter(folder, name)


def test_the_base_is_no_adapter(session: Session, headed: TinyBundle) -> None:
    with pytest.raises(AdapterError, match="is the base of a bundle, no adapter"):
        session.add_adapter(headed.path / "adapters" / "none", "other")


def test_a_folder_that_is_damaged(session: Session, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"holds no adapter\.json"):
        session.add_adapter(tmp_path / "nothing")
    folder = write_adapter(tmp_path / "new", "new", arrays(2, 1))
    weights = folder / "weights.onnx_adapter"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(BundleError, match=r"weights\.onnx_adapter: has the sha256"):
        session.add_adapter(folder)
    weights.unlink()
    with pytest.raises(BundleError, match=r"weights\.onnx_adapter: is missing"):
        session.add_adapter(folder)


def test_removing(session: Session) -> None:
    session.run(inputs(), ["spam", "polite", "short"])
    session.remove_adapter("spam")
    assert list(session.adapters) == ["polite", "short"]
    with pytest.raises(AdapterError, match="There is no adapter 'spam'"):
        session.run(inputs(), "spam")
    with pytest.raises(AdapterError, match="There is no adapter 'spam'"):
        session.remove_adapter("spam")
    with pytest.raises(AdapterError, match="'none' is the base itself"):
        session.remove_adapter("none")


def test_another_adapter_under_a_name_that_was_removed(session: Session, tmp_path: Path) -> None:
    fed = inputs()
    rows: list[Any] = ["spam", "polite", {"spam": 0.5, "short": 0.5}]
    before = session.run(fed, rows)
    session.remove_adapter("spam")
    session.add_adapter(write_adapter(tmp_path / "new", "new", arrays(2, 9, labels=2)), "spam")
    after = session.run(fed, rows)
    np.testing.assert_array_equal(after["logits"][1], before["logits"][1])
    for row in (0, 2):
        assert np.abs(after["logits"][row] - before["logits"][row]).max() > 0.01


def test_an_adapters_head_keeps_its_shape_beside_wider_ones(session: Session) -> None:
    weight = session.adapter("spam").filling.arrays[HEAD_WEIGHT]
    session.run(inputs(), ["spam", "polite", None])
    assert weight.shape == (1, 6, 2)

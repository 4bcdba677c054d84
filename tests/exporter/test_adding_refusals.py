"""Adapters that a bundle refuses, by name, number or file: it stays as it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeadapt import bundle
from edgeadapt.errors import (
    AdapterError,
    BindingError,
    BundleError,
    CheckpointError,
    EdgeAdaptError,
    ParityError,
    PickleError,
)
from edgeadapt.exporter.adding import add, remove
from edgeadapt.exporter.merging import merge
from edgeadapt.parity import Tolerance
from tests.exporter import WEIGHTS, altered, snapshot, zeroed
from tests.exporter.classifiers import MAX_ERROR, all_verify


def test_only_an_adapter_that_is_there_is_removed(home: Path) -> None:
    before = snapshot(home)

    with pytest.raises(AdapterError, match=r"no adapter 'spma' \(did you mean 'spam'\?\)\.\nIt has: intents, spam\."):
        remove(home, "spma")
    with pytest.raises(AdapterError, match="no adapter 'none'"):
        remove(home, "none")
    with pytest.raises(BundleError, match=r"holds no edgeadapt\.json"):
        remove(home.parent, "spam")
    assert snapshot(home) == before


def test_a_bundle_for_a_newer_onnx_runtime_is_refused(home: Path, adapters: dict[str, Path]) -> None:
    manifest = bundle.read_manifest(home)
    bundle.write_manifest(home, replace(manifest, model=replace(manifest.model, onnxruntime=">=99.1")))
    before = snapshot(home)

    with pytest.raises(BundleError, match=r"The bundle needs onnxruntime >=99\.1, and "):
        add(home, adapters["query"], "new")
    with pytest.raises(BundleError, match=r"The bundle needs onnxruntime >=99\.1, and "):
        merge(home, ["spam"], home.parent / "spam.onnx", mode="fold")

    assert snapshot(home) == before
    assert [path.name for path in home.parent.iterdir()] == ["bundle"]


NAMES = [
    ("spam", "The bundle has an adapter 'spam' already.\nRemove it first, or take another name."),
    ("Spam", "The bundle has an adapter 'spam' already, other only in case."),
    ("none", "Not a name for an adapter: 'none' means the base itself."),
    ("None", "Not a name for an adapter: 'None' differs from 'none'"),
    ("../x", "Not a name for an adapter: '../x' is not 1 to 64 of the characters"),
    ("a/b", "Not a name for an adapter: 'a/b' is not 1 to 64"),
    ("", "Not a name for an adapter: '' is not 1 to 64"),
    ("con", "Not a name for an adapter: 'con' is a device on Windows."),
    ("x.", "Not a name for an adapter: 'x.' ends with a dot"),
    (".x", "Not a name for an adapter: '.x' is not 1 to 64"),
]


@pytest.mark.parametrize(("name", "message"), NAMES, ids=[name or "empty" for name, _ in NAMES])
def test_a_name_that_is_taken_or_unsafe_is_refused(
    name: str, message: str, home: Path, adapters: dict[str, Path]
) -> None:
    before = snapshot(home.parent)

    with pytest.raises(AdapterError) as caught:
        add(home, adapters["query"], name)

    assert str(caught.value).startswith(message)
    assert snapshot(home.parent) == before


def with_nan(folder: Path, target: Path) -> Path:
    return altered(folder, target, lambda tensors: {name: array * np.nan for name, array in tensors.items()})


def pickled(folder: Path, target: Path) -> Path:
    altered(folder, target)
    (target / WEIGHTS).rename(target / "adapter_model.bin")
    return target


BROKEN: dict[str, tuple[Callable[[Path, Path], Path], type[EdgeAdaptError], str]] = {
    "NaN": (with_nan, CheckpointError, "holds NaN or Inf"),
    "a pickle": (pickled, PickleError, "is a pickle"),
    "a lora_B that is missing": (
        lambda folder, target: altered(
            folder, target, lambda all_of: {n: a for n, a in all_of.items() if "0.attention.self.query.lora_B" not in n}
        ),
        BindingError,
        "got lora_A alone",
    ),
    "no effect": (lambda folder, target: altered(folder, target, zeroed), ParityError, "no effect: it moves"),
    "not a folder": (lambda folder, target: target, CheckpointError, "is not a folder"),
}


@pytest.mark.parametrize("case", sorted(BROKEN))
@pytest.mark.parametrize("slots", ["query", "embeddings"])
def test_an_adapter_that_is_refused_leaves_the_bundle_as_it_was(
    case: str, slots: str, home: Path, adapters: dict[str, Path], tmp_path: Path
) -> None:
    change, kind, message = BROKEN[case]
    source = change(adapters[slots], tmp_path / "broken")
    before = snapshot(home)

    with pytest.raises(kind) as caught:
        add(home, source, "new")

    assert type(caught.value) is kind
    assert message in str(caught.value)
    assert snapshot(home) == before
    assert sorted(path.name for path in (home / "adapters").iterdir()) == ["intents", "none", "spam"]


@pytest.mark.parametrize("case", ["query", "embeddings"])
def test_an_adapter_with_no_effect_passes_where_it_may(
    case: str, home: Path, adapters: dict[str, Path], tmp_path: Path
) -> None:
    report = add(home, altered(adapters[case], tmp_path / "zero", zeroed), "zero", allow_no_effect=True)

    assert report.no_effect
    assert report.effect < MAX_ERROR
    assert all_verify(home)


@pytest.mark.parametrize("case", ["query", "embeddings"])
def test_numbers_beyond_the_tolerance_leave_the_bundle_as_it_was(
    case: str, home: Path, adapters: dict[str, Path]
) -> None:
    before = snapshot(home)

    with pytest.raises(ParityError, match=r"(?s)Adapter 'new' fails:.*max abs error.*The bundle is as it was"):
        add(home, adapters[case], "new", tolerance=Tolerance(max_abs=1e-12))

    assert snapshot(home) == before

"""Where the arrays of an adapter's file lie, reading them from there, and a file that goes or changes meanwhile."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from edgeadapt.errors import BundleError
from edgeadapt.runtime import container
from edgeadapt.runtime.container import Places, places_of, read_places
from edgeadapt.runtime.layout import layout, side_by_side
from tests.runtime.tiny_bundle import arrays, write_arrays

OTHERS = [None, b"", b"\x04", b"\xff" * 64]
IDS = ["gone", "empty", "short", "other"]


def random_arrays(seed: int) -> dict[str, Any]:
    """Returns arrays of all sizes and kinds, empty ones among them."""
    random = np.random.default_rng(seed)
    kinds = (np.float32, np.float16, np.int64, np.int8)
    shapes = [tuple(random.integers(0 if seed % 2 else 1, 6, random.integers(1, 5))) for _ in range(60)]
    return {
        f"{'x' * int(random.integers(1, 90))}.{index}": random.integers(-9, 9, shape).astype(kinds[index % len(kinds)])
        for index, shape in enumerate(shapes)
    }


def read_by_onnxruntime(path: Path) -> dict[str, Any]:
    file = ort.AdapterFormat.read_adapter(str(path))
    return {name: value.numpy().copy() for name, value in file.get_parameters().items()}


@pytest.mark.parametrize("many", [500, 7, 1])
@pytest.mark.parametrize("seed", range(6))
def test_read_from_where_they_lie(seed: int, many: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, own = tmp_path / "weights.onnx_adapter", random_arrays(seed)
    write_arrays(path, own)
    monkeypatch.setattr(container, "_GROUP", many)
    found = read_places(path, places_of(path, read_by_onnxruntime(path)), side_by_side)
    assert set(found) == set(own)
    for name, array in own.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_read_where_the_system_has_no_such_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, own = tmp_path / "weights.onnx_adapter", random_arrays(2)
    write_arrays(path, own)
    monkeypatch.delattr(os, "preadv")
    found = read_places(path, places_of(path, own), side_by_side)
    for name, array in own.items():
        np.testing.assert_array_equal(found[name], array)


def test_arrays_that_lie_in_each_other(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(range(16)))
    kind = np.dtype(np.uint8)
    own = layout({"a": ((9,), kind), "b": ((2, 2), kind), "c": ((5,), kind)})
    assert list(own.numbers) == ["a", "c", "b"]
    found = read_places(tmp_path / "file", Places(own, ((2, 0), (4, 2), (6, 1))), side_by_side)
    assert {name: array.ravel().tolist() for name, array in found.items()} == {
        "a": [*range(2, 11)],
        "b": [*range(4, 8)],
        "c": [*range(6, 11)],
    }


@pytest.mark.parametrize("content", OTHERS, ids=IDS)
def test_a_file_that_is_another_one_by_now(content: bytes | None, tmp_path: Path) -> None:
    path, own = tmp_path / "weights.onnx_adapter", arrays(2, 1, labels=3)
    write_arrays(path, own)
    places = places_of(path, own)
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BundleError, match="changed while it was read"):
        places_of(path, own)
    with pytest.raises(BundleError, match="changed while it was read"):
        read_places(path, places, side_by_side)


def test_other_arrays_than_were_read(tmp_path: Path) -> None:
    path, own = tmp_path / "weights.onnx_adapter", arrays(2, 1)
    write_arrays(path, arrays(3, 1))
    with pytest.raises(BundleError, match="it holds other arrays now"):
        places_of(path, own)

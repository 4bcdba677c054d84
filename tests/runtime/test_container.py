"""How many arrays a file of an adapter holds, and a file that goes or changes before it is looked at."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeadapt.errors import BundleError
from edgeadapt.runtime.container import array_count
from tests.runtime.tiny_bundle import arrays, write_adapter


@pytest.mark.parametrize("labels", [None, 3])
def test_the_count(labels: int | None, tmp_path: Path) -> None:
    own = arrays(2, 1, labels=labels)
    folder = write_adapter(tmp_path / "spam", "spam", own)
    assert array_count(folder / "weights.onnx_adapter") == len(own)


@pytest.mark.parametrize("content", [None, b"", b"\x04", b"\xff" * 64], ids=["gone", "empty", "short", "other"])
def test_a_file_that_is_another_one_by_now(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "weights.onnx_adapter"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BundleError, match="changed while it was read"):
        array_count(path)

"""`edgeadapt.json` and `adapter.json`: exact bytes, and what is refused around the records themselves."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgeadapt import bundle
from edgeadapt.bundle import AdapterRecord, FileRecord, Manifest, ModelRecord, Neutral, Slot, TensorRecord
from edgeadapt.errors import BundleError

EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_manifest_has_exactly_these_bytes(tmp_path: Path) -> None:
    tiny = Manifest(
        format=bundle.FORMAT,
        producer="edgeadapt 0.1.0",
        task="fill-mask",
        model_type="tiny",
        fingerprint=f"sha256:{EMPTY_SHA256}",
        model=ModelRecord("model.onnx", None, "fp32", 23, ">=1.23"),
        inputs=(TensorRecord("x", "int64", ("batch", 4)),),
        outputs=(TensorRecord("y", "float32", ()),),
        slots=(Slot("q.lora_A", "lora", "q", "lora_A", "float32", ("rows", 4, "rank"), Neutral((1, 4, 1), 0)),),
        labels=("ü",),
        problem_type="regression",
        tokenizer=None,
        image=None,
        generation=None,
        files={"model.onnx.data": FileRecord(0, EMPTY_SHA256), "model.onnx": FileRecord(0, EMPTY_SHA256)},
    )
    bundle.write_manifest(tmp_path, tiny)
    expected = f"""{{
  "format": "1.0",
  "producer": "edgeadapt 0.1.0",
  "task": "fill-mask",
  "model_type": "tiny",
  "fingerprint": "sha256:{EMPTY_SHA256}",
  "model": {{"file": "model.onnx", "neutrals": null, "precision": "fp32", "opset": 23, "onnxruntime": ">=1.23"}},
  "inputs": [{{"name": "x", "dtype": "int64", "shape": ["batch", 4]}}],
  "outputs": [{{"name": "y", "dtype": "float32", "shape": []}}],
  "slots": [
    {{
      "name": "q.lora_A",
      "method": "lora",
      "site": "q",
      "param": "lora_A",
      "dtype": "float32",
      "shape": ["rows", 4, "rank"],
      "neutral": {{"shape": [1, 4, 1], "fill": 0.0}}
    }}
  ],
  "labels": ["ü"],
  "problem_type": "regression",
  "tokenizer": null,
  "image": null,
  "generation": null,
  "files": {{
    "model.onnx": {{"bytes": 0, "sha256": "{EMPTY_SHA256}"}},
    "model.onnx.data": {{"bytes": 0, "sha256": "{EMPTY_SHA256}"}}
  }}
}}
"""
    assert (tmp_path / "edgeadapt.json").read_bytes() == expected.encode()


def test_what_is_written_is_read_back_equal(tmp_path: Path, manifest: Manifest, adapter: AdapterRecord) -> None:
    bundle.write_manifest(tmp_path, manifest)
    bundle.write_adapter(tmp_path, adapter)
    assert bundle.read_manifest(tmp_path) == manifest
    assert bundle.read_adapter(tmp_path) == adapter


def test_writing_again_gives_the_same_bytes(tmp_path: Path, adapter: AdapterRecord) -> None:
    bundle.write_adapter(tmp_path, adapter)
    first = (tmp_path / "adapter.json").read_bytes()
    bundle.write_adapter(tmp_path, bundle.read_adapter(tmp_path))
    assert (tmp_path / "adapter.json").read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == ["adapter.json"]


def test_a_whole_number_is_good_where_a_number_is_asked_for(tmp_path: Path, adapter: AdapterRecord) -> None:
    bundle.write_adapter(tmp_path, adapter)
    text = (tmp_path / "adapter.json").read_text("utf-8")
    (tmp_path / "adapter.json").write_text(text.replace('"cosine": 1.0', '"cosine": 1'), "utf-8")
    parity = bundle.read_adapter(tmp_path).parity
    assert parity is not None
    assert type(parity.cosine) is float


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"format": "1.1"}, "newer edgeadapt"),
        ({"method": ""}, r"\$.method: expected text that is not empty"),
        ({"labels": ["a"], "name": "../up"}, r"\$.name: expected a safe name"),
        ({"source": {"alpha": math.nan}}, "can't be written"),
        ({"source": {"path": Path("x")}}, "can't be written"),
        ({"files": {}}, r"\$.sites: weights.onnx_adapter is not in"),
    ],
)
def test_nothing_is_written_that_would_not_be_read(
    tmp_path: Path, adapter: AdapterRecord, changes: dict[str, Any], problem: str
) -> None:
    with pytest.raises(BundleError, match=problem):
        bundle.write_adapter(tmp_path, replace(adapter, **changes))
    assert list(tmp_path.iterdir()) == []


NEWER = "was written by a newer edgeadapt: its format is {}, this one reads 1.1."


@pytest.mark.parametrize("version", ["1.2", "1.10", "2.0", "10.0"])
def test_a_newer_format_is_refused_by_name_before_its_keys(tmp_path: Path, version: str) -> None:
    (tmp_path / "edgeadapt.json").write_text(f'{{"format": "{version}", "unknown": 1}}')
    with pytest.raises(BundleError, match=re.escape(NEWER.format(version))) as caught:
        bundle.read_manifest(tmp_path)
    assert "unknown" not in str(caught.value)


@pytest.mark.parametrize(
    "document", ["{}", "[]", "null", '"1.0"', '{"format": 1.0}', '{"format": "1"}', '{"format": "1.00"}']
)
def test_what_has_no_format_is_refused(tmp_path: Path, document: str) -> None:
    (tmp_path / "edgeadapt.json").write_text(document)
    with pytest.raises(BundleError, match="has no bundle format"):
        bundle.read_manifest(tmp_path)


def test_an_older_format_that_never_was_is_refused(tmp_path: Path) -> None:
    (tmp_path / "edgeadapt.json").write_text('{"format": "0.9"}')
    with pytest.raises(BundleError, match="never released"):
        bundle.read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"format": "1.0", "format": "1.0"}', "the key 'format' stands twice"),
        ('{"format": "1.0", "source": {"a": 1, "a": 2}}', "the key 'a' stands twice"),
        ('{"format": NaN}', "NaN is not a JSON number"),
        ('{"format": Infinity}', "Infinity is not a JSON number"),
        ('{"format": -Infinity}', "-Infinity is not a JSON number"),
        ('{"format": 1e999}', "the number 1e999 is too large"),
        ('{"format": "\\ud800"}', "half of a surrogate pair"),
        ("[" * 100_000, "nested too deeply"),
        ("{", "is not JSON"),
        ("", "is not JSON"),
        ("\ufeff{}", "is not JSON"),
        ('{"format": "1.0"} trailing', "is not JSON"),
    ],
)
def test_what_is_not_strictly_json_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "adapter.json").write_text(text, "utf-8")
    with pytest.raises(BundleError, match=re.escape(problem)):
        bundle.read_adapter(tmp_path)


def test_what_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "adapter.json").write_bytes(b'{"format": "1.0", "name": "sp\xe4m"}')
    with pytest.raises(BundleError, match="is not UTF-8"):
        bundle.read_adapter(tmp_path)


def test_a_huge_document_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "edgeadapt.json").open("wb") as file:
        file.truncate((64 << 20) + 1)
    with pytest.raises(BundleError, match="has 67108865 bytes, and more than 67108864 are refused unread"):
        bundle.read_manifest(tmp_path)


def test_a_missing_document_says_what_the_folder_is_not(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"is not a bundle: it holds no edgeadapt\.json"):
        bundle.read_manifest(tmp_path)
    with pytest.raises(BundleError, match=r"is not an adapter's folder: it holds no adapter\.json"):
        bundle.read_adapter(tmp_path / "missing")


@pytest.mark.parametrize(
    "put",
    [
        lambda path, other: path.symlink_to(other),
        lambda path, other: path.hardlink_to(other),
        lambda path, other: path.mkdir(),
        lambda path, other: os.mkfifo(path),
    ],
    ids=["symlink", "hardlink", "folder", "pipe"],
)
def test_a_document_must_be_a_file_of_its_own(
    tmp_path: Path, adapter: AdapterRecord, put: Callable[[Path, Path], None]
) -> None:
    (tmp_path / "elsewhere").mkdir()
    bundle.write_adapter(tmp_path / "elsewhere", adapter)
    put(tmp_path / "adapter.json", tmp_path / "elsewhere" / "adapter.json")
    with pytest.raises(BundleError, match="is a link or no regular file"):
        bundle.read_adapter(tmp_path)

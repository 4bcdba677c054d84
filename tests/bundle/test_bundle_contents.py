"""What a file of a bundle is for, and the index of its adapters."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgeadapt import bundle
from edgeadapt.bundle import ChatRecord, GenerationRecord, Manifest, Part


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("model.onnx", "model"),
        ("model.onnx.data", "model"),
        ("any other file", "model"),
        ("neutrals.onnx_adapter", "neutrals"),
        ("tokenizer.json", "texts"),
        ("chat_template.jinja", "texts"),
        ("base.onnx", "tools"),
        ("model-12-slots.onnx", "tools"),
        ("sites.json", "tools"),
        ("genai.onnx", "genai"),
        ("genai-12-slots.onnx", "genai"),
        ("genai_config.json", "genai"),
        ("tokenizer_config.json", "genai"),
    ],
)
def test_the_manifest_and_names_tell_what_a_file_is_for(name: str, part: Part, manifest: Manifest) -> None:
    generation = GenerationRecord((2,), None, ChatRecord("chat_template.jinja", {}))
    assert bundle.part(name, replace(manifest, generation=generation)) == part


def test_what_the_manifest_names_goes_before_what_tools_call_theirs(manifest: Manifest) -> None:
    model = replace(manifest.model, file="base.onnx", neutrals="sites.json")
    named = replace(manifest, model=model)
    assert bundle.models(named) == ("base.onnx",)
    assert [bundle.part(name, named) for name in ("base.onnx", "sites.json", "model.onnx")] == [
        "model",
        "neutrals",
        "tools",
    ]


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("adapter.json", "documents"),
        ("weights.onnx_adapter", "adapters"),
        ("parity.npz", "parity"),
        ("subgraph.onnx", "tools"),
        ("notes", "tools"),
    ],
)
def test_an_adapters_files(name: str, part: Part) -> None:
    assert bundle.adapter_part(name) == part


def test_an_index_has_the_names_sorted_without_the_base(tmp_path: Path) -> None:
    (tmp_path / "adapters").mkdir()
    assert not bundle.has_index(tmp_path)
    bundle.write_index(tmp_path, ["b", "none", "Z", "a"])
    assert bundle.has_index(tmp_path)
    assert (tmp_path / "adapters" / "index.json").read_bytes() == b'["Z", "a", "b"]\n'
    bundle.write_index(tmp_path, ["none"])
    assert json.loads((tmp_path / "adapters" / "index.json").read_text()) == []
    assert bundle.adapter_names(tmp_path) == []

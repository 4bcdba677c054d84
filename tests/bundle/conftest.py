"""A manifest and an adapter's record that use every kind of value, with the documents that they are written as."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgeadapt import bundle
from edgeadapt.bundle import (
    AdapterRecord,
    FileRecord,
    ImageRecord,
    Manifest,
    ModelRecord,
    Neutral,
    ParityRecord,
    Slot,
    TensorRecord,
    TokenizerRecord,
)

DIGEST = "0123456789abcdef" * 4


@pytest.fixture
def manifest() -> Manifest:
    return Manifest(
        format="1.0",
        producer="edgeadapt 0.1.0",
        task="text-classification",
        model_type="bert",
        fingerprint=f"sha256:{DIGEST}",
        model=ModelRecord("model.onnx", "neutrals.onnx_adapter", "fp32", 23, ">=1.23"),
        inputs=(TensorRecord("input_ids", "int64", ("batch", "sequence")),),
        outputs=(TensorRecord("logits", "float32", ("batch", "labels")),),
        slots=(
            Slot("q.lora_A", "lora", "q", "lora_A", "float32", ("rows", 8, "rank"), Neutral((1, 8, 1), 0.0)),
            Slot("q.bias", "bias", "q", "bias", "float32", (1, 1, 8), Neutral((1, 1, 8), 0.0)),
            Slot("head.weight", "modules_to_save", "head", "weight", "float32", ("rows", 8, "labels"), None),
            Slot("norm.bias", "modules_to_save", "norm", "bias", "float32", ("rows", 1, 8), "stored"),
        ),
        labels=None,
        problem_type=None,
        tokenizer=TokenizerRecord("tokenizer.json", 512, "right", 0, "[PAD]", 0, None),
        image=ImageRecord(
            224, 224, {"shortest_edge": 256}, 3, (224, 224), 1 / 255, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
        ),
        generation=None,
        files={
            "model.onnx": FileRecord(10, DIGEST),
            "model.onnx.data": FileRecord(0, DIGEST),
            "neutrals.onnx_adapter": FileRecord(20, DIGEST),
            "tokenizer.json": FileRecord(1 << 40, DIGEST),
        },
    )


@pytest.fixture
def adapter() -> AdapterRecord:
    return AdapterRecord(
        format="1.0",
        name="spam",
        method="lora",
        fingerprint=f"sha256:{DIGEST}",
        sites={"q": {"lora": {"rank": 8}, "bias": {}}, "head": {"modules_to_save": {}}},
        labels=("ham", "späm"),
        problem_type="single_label_classification",
        source={
            "kind": "peft",
            "alpha": 16,
            "nested": {"targets": ["q", "v"], "dropout": 0.1, "none": None},
            "long": "x" * 200,
        },
        parity=ParityRecord("torch 2.13.0", 1.4e-06, 5.1, 1.0, None, 0.0001),
        files={"parity.npz": FileRecord(3, DIGEST), "weights.onnx_adapter": FileRecord(2, DIGEST)},
    )


@pytest.fixture
def manifest_document(manifest: Manifest, tmp_path: Path) -> Any:
    bundle.write_manifest(tmp_path, manifest)
    return json.loads((tmp_path / "edgeadapt.json").read_bytes())


@pytest.fixture
def adapter_document(adapter: AdapterRecord, tmp_path: Path) -> Any:
    bundle.write_adapter(tmp_path, adapter)
    return json.loads((tmp_path / "adapter.json").read_bytes())

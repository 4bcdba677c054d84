"""What is wrong with a bundle is said when it is loaded, and before anything runs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeadapt import bundle
from edgeadapt.errors import AdapterError, BundleError, ConfigError
from edgeadapt.runtime import load, loading
from edgeadapt.runtime.signature import check_version
from tests.runtime.tiny_bundle import NEUTRALS, TinyBundle, arrays, inputs, write_adapter, write_arrays


def rewrite(own: TinyBundle, change: Any) -> None:
    """Changes the manifest's JSON."""
    path = own.path / "edgeadapt.json"
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document))


def damage(path: Path) -> None:
    """Changes a byte and keeps the size."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"holds no edgeadapt\.json"):
        load(tmp_path)


def test_a_path_as_text(headed: TinyBundle) -> None:
    assert load(str(headed.path)).path == headed.path


@pytest.mark.parametrize("verify", ["all", "adapters"])
@pytest.mark.parametrize("name", ["model.onnx", "adapters/spam/weights.onnx_adapter", "adapters/none/parity.npz"])
def test_a_changed_file(own: TinyBundle, name: str, verify: Any) -> None:
    damage(own.path / name)
    with pytest.raises(BundleError, match=f"{Path(name).name}: has the sha256"):
        load(own.path, verify=verify).check()


def test_large_files_are_hashed_only_where_all_are(own: TinyBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    (own.path / "large.data").write_bytes(bytes(100_000))
    manifest = bundle.read_manifest(own.path)
    rewrite(
        own,
        lambda document: document["files"].update(
            {"large.data": {"bytes": 100_000, "sha256": "0" * 64}},
        ),
    )
    assert "large.data" not in manifest.files
    with pytest.raises(BundleError, match=r"large\.data: has the sha256"):
        load(own.path, verify="adapters")
    monkeypatch.setattr(loading, "_LARGE", 90_000)
    load(own.path, verify="adapters")
    with pytest.raises(BundleError, match=r"large\.data: has the sha256"):
        load(own.path)
    (own.path / "large.data").write_bytes(bytes(99_999))
    with pytest.raises(BundleError, match=r"large\.data: has 99999 bytes, expected 100000"):
        load(own.path, verify="adapters")
    load(own.path, verify="none")


def test_links(own: TinyBundle, tmp_path: Path) -> None:
    weights = own.path / "adapters" / "spam" / "weights.onnx_adapter"
    os.link(weights, tmp_path / "elsewhere")
    with pytest.raises(BundleError, match=r"weights\.onnx_adapter: is a hard link"):
        load(own.path, verify="adapters").check()
    weights.unlink()
    weights.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match=r"weights\.onnx_adapter: is a symbolic link"):
        load(own.path).check()


def test_all_adapters_that_dont_fit_are_named(own: TinyBundle) -> None:
    write_adapter(own.path / "adapters" / "first", "first", arrays(2, 1), fingerprint=f"sha256:{'6' * 64}")
    with pytest.raises(AdapterError, match="Adapter 'first' does not fit the model:\n  fingerprint"):
        load(own.path).check()
    write_adapter(own.path / "adapters" / "second", "second", arrays(2, 1), labels=("one",))
    with pytest.raises(AdapterError) as caught:
        load(own.path).check()
    assert str(caught.value).startswith("2 adapters of the bundle can't be used:\n  Adapter 'first' does not fit")
    assert "\n  Adapter 'second' does not fit" in str(caught.value)


def test_an_adapters_folder_gives_it_its_name(own: TinyBundle) -> None:
    (own.path / "adapters" / "spam").rename(own.path / "adapters" / "ham")
    session = load(own.path)
    assert list(session.adapters) == ["ham", "polite", "short"]
    assert session.adapters["ham"].name == "ham"


def test_a_bundle_without_its_base(own: TinyBundle) -> None:
    (own.path / "adapters" / "none").rename(own.path / "adapters" / ".none")
    with pytest.raises(BundleError, match="lacks adapters/none"):
        load(own.path)


def test_stored_neutrals_that_are_missing_or_spare(own: TinyBundle) -> None:
    write_arrays(own.path / NEUTRALS, {"classifier.weight": own.base["classifier.weight"], **arrays(1, 1)})
    with pytest.raises(AdapterError) as caught:
        load(own.path, verify="none")
    assert "the model has no slots encoder.fc.lora_A, encoder.fc.lora_B" in str(caught.value)
    assert "classifier.bias: missing, and the base has no value for it" in str(caught.value)


def test_weights_that_onnx_runtime_cant_read(own: TinyBundle) -> None:
    folder = own.path / "adapters" / "spam"
    (folder / "weights.onnx_adapter").write_bytes(b"no adapter" * 10)
    record = bundle.read_adapter(folder)
    rewritten = {**record.files, **bundle.record_files(folder, ["weights.onnx_adapter"])}
    document = json.loads((folder / "adapter.json").read_bytes())
    document["files"] = {name: {"bytes": each.bytes, "sha256": each.sha256} for name, each in rewritten.items()}
    (folder / "adapter.json").write_text(json.dumps(document))
    with pytest.raises(BundleError, match=r"can't read .*weights\.onnx_adapter"):
        load(own.path).check()


def test_a_model_that_is_none(own: TinyBundle) -> None:
    (own.path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(BundleError, match="can't open"):
        load(own.path, verify="none")


def test_a_model_that_is_another(own: TinyBundle) -> None:
    def change(document: dict[str, Any]) -> None:
        document["inputs"][0]["dtype"] = "int64"
        document["inputs"][0]["shape"] = ["batch", "sequence"]
        document["outputs"][1]["name"] = "scores"
        del document["slots"][2]

    rewrite(own, change)
    with pytest.raises(BundleError) as caught:
        load(own.path)
    assert str(caught.value).splitlines() == [
        "model.onnx is not the model that edgeadapt.json describes:",
        "  x: the model has float32, the manifest int64",
        "  x: the model has (batch, sequence, 4), the manifest (batch, sequence)",
        "  encoder.fc.bias_delta: an input that the manifest has not",
        "  scores: the model has no such output",
        "  logits: an output that the manifest has not",
        "Copy the bundle again, or export it again.",
    ]


def test_a_bundle_for_a_newer_onnx_runtime_is_refused_before_its_model_is_looked_at(own: TinyBundle) -> None:
    rewrite(own, lambda document: document["model"].update(onnxruntime=">=99.1"))
    (own.path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(BundleError, match=r"needs onnxruntime >=99\.1, and .* is installed"):
        load(own.path)


@pytest.mark.parametrize(
    ("required", "installed"),
    [(">=1.23", "1.23.0"), (">=1.9", "1.23"), (">=1.100", "2.0.1"), (">=1.23.1", "1.24.0rc1")],
)
def test_versions_that_are_new_enough(required: str, installed: str) -> None:
    check_version(required, installed)


@pytest.mark.parametrize(
    ("required", "installed"), [(">=1.23.1", "1.23.0"), (">=1.23", "1.9.2"), (">=2.0", "1.99"), (">=1.100", "1.32.0")]
)
def test_versions_that_are_too_old(required: str, installed: str) -> None:
    with pytest.raises(BundleError, match="Update it"):
        check_version(required, installed)


def test_options_without_a_meaning(headed: TinyBundle) -> None:
    with pytest.raises(ConfigError, match=r"verify: got 'al', expected .* \(did you mean 'all'\?\)"):
        load(headed.path, verify="al")  # type: ignore[arg-type]
    for threads in (0, -1, 1.5):
        with pytest.raises(ConfigError, match="threads: got"):
            load(headed.path, threads=threads)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="provider_options are for a GPU"):
        load(headed.path, provider_options={"device_id": 1})
    with pytest.raises(ConfigError, match=r"memory: got 'lo', expected .* \(did you mean 'low'\?\)"):
        load(headed.path, memory="lo")  # type: ignore[arg-type]
    for size in (0, -1, "lots", "0MB", 1.5, True):
        with pytest.raises(ConfigError, match="adapter_memory: got"):
            load(headed.path, adapter_memory=size)  # type: ignore[arg-type]


def test_threads_change_no_number(headed: TinyBundle) -> None:
    fed = inputs()
    one, two = (load(headed.path, threads=threads).run(fed, "spam")["logits"] for threads in (1, 2))
    np.testing.assert_array_equal(one, two)

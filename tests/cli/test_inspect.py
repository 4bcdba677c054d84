"""`edgeadapt inspect`: base, sites and adapters, as tables and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

from edgeadapt.bundle import read_adapter, read_manifest
from tests.cli.conftest import Invoke


def test_tables_name_base_sites_and_adapters(tiny_bundle: Path, invoke: Invoke) -> None:
    rows = [line.split() for line in invoke("inspect", tiny_bundle).stdout.splitlines()]
    assert ["base"] in rows and ["sites"] in rows and ["adapters"] in rows
    assert ["task", "text-classification"] in rows
    assert ["bert.encoder.layer.*.attention.self.query", "2", "lora"] in rows
    assert ["classifier", "1", "modules_to_save"] in rows
    spam = next(row for row in rows if row[:1] == ["spam"])
    # Four sites for query and value of two layers, and the head.
    assert spam[1:5] == ["lora", "4", "5", "2"]
    assert next(row for row in rows if row[:1] == ["none"])[1:5] == ["none", "-", "0", "-"]


def test_json_has_the_records_figures(tiny_bundle: Path, invoke: Invoke) -> None:
    document = json.loads(invoke("inspect", tiny_bundle, "--json").stdout)
    manifest, record = read_manifest(tiny_bundle), read_adapter(tiny_bundle / "adapters" / "spam")
    assert document["base"]["fingerprint"] == manifest.fingerprint
    assert document["base"]["task"] == "text-classification"
    assert set(document["sites"]) == {slot.site for slot in manifest.slots}
    assert set(document["adapters"]) == {"none", "spam", "intents"}
    spam = document["adapters"]["spam"]
    assert spam["labels"] == ["ham", "spam"]
    assert spam["ranks"] == [4]
    assert spam["bytes"] == sum(each.bytes for each in record.files.values())
    assert record.parity is not None
    assert spam["parity"]["effect"] == record.parity.effect
    assert spam["source"]["kind"] == "peft"


def test_problem_types_are_shown(bundle: Path, third_adapter: Path, invoke: Invoke) -> None:
    invoke("add", bundle, third_adapter, "--name", "third", "--problem-type", "multi_label_classification")

    rows = [line.split() for line in invoke("inspect", bundle).stdout.splitlines()]
    assert next(row for row in rows if row[:1] == ["third"])[4:6] == ["3", "multi_label_classification"]
    assert next(row for row in rows if row[:1] == ["spam"])[4:6] == ["2", "-"]
    adapters = json.loads(invoke("inspect", bundle, "--json").stdout)["adapters"]
    assert adapters["third"]["problem_type"] == "multi_label_classification"
    assert adapters["spam"]["problem_type"] is None


def test_a_missing_file_is_refused(bundle: Path, invoke: Invoke) -> None:
    (bundle / "model.onnx.data").unlink()
    assert "model.onnx.data" in invoke("inspect", bundle, code=2).stderr


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path, invoke: Invoke) -> None:
    assert "is not a bundle" in invoke("inspect", tmp_path, "--json", code=2).stderr

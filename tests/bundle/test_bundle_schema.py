"""The JSON Schemas say what the records say: the same keys, the same refusals."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from edgeadapt import adapter, bundle
from edgeadapt.bundle import (
    AdapterRecord,
    ChatRecord,
    EncoderDecoderRecord,
    EncoderRecord,
    FileRecord,
    GenerationRecord,
    ImageRecord,
    Manifest,
    ModelRecord,
    Neutral,
    ParityRecord,
    RulesRecord,
    Slot,
    SpeechRecord,
    TensorRecord,
    TokenizerRecord,
)
from edgeadapt.bundle.names import name_problem, path_problem
from edgeadapt.bundle.records import DTYPES
from edgeadapt.tasks import _runner
from tests.bundle.test_bundle_rules import ADAPTER_RULES, MANIFEST_RULES, changed

BUNDLE = json.loads((files("edgeadapt") / "schema" / "bundle.schema.json").read_text("utf-8"))
ADAPTER = json.loads((files("edgeadapt") / "schema" / "adapter.schema.json").read_text("utf-8"))

RECORDS = [
    (BUNDLE, Manifest),
    (BUNDLE["$defs"]["file"], FileRecord),
    (BUNDLE["$defs"]["model"], ModelRecord),
    (BUNDLE["$defs"]["tensor"], TensorRecord),
    (BUNDLE["$defs"]["slot"], Slot),
    (BUNDLE["$defs"]["neutral"], Neutral),
    (BUNDLE["$defs"]["tokenizer"], TokenizerRecord),
    (BUNDLE["$defs"]["image"], ImageRecord),
    (BUNDLE["$defs"]["generation"], GenerationRecord),
    (BUNDLE["$defs"]["chat"], ChatRecord),
    (BUNDLE["$defs"]["encoder_decoder"], EncoderDecoderRecord),
    (BUNDLE["$defs"]["encoder"], EncoderRecord),
    (BUNDLE["$defs"]["rules"], RulesRecord),
    (BUNDLE["$defs"]["speech"], SpeechRecord),
    (ADAPTER, AdapterRecord),
    (ADAPTER["$defs"]["file"], FileRecord),
    (ADAPTER["$defs"]["parity"], ParityRecord),
]
PATHS = ["a", "a/b.c", "a b", "ü", ".hidden", "a..b", "..a", "console", "con1", "com", "com10", "x/company"]
UNSAFE_PATHS = [
    "",
    "/a",
    "a/",
    "a//b",
    "..",
    "a/../b",
    "./a",
    "a/.",
    "a\\b",
    "C:",
    "C:a",
    "a\0",
    "a\nb",
    "a*",
    "a.",
    "a /b",
]
UNSAFE_PATHS += ["con", "CON", "x/nul.txt", "Com1.a.b", "lpt9", "aux/x", 'a"b', "a|b", "a<b", "a>b", "a?b", "a\x7f"]
NAMES = ["a", "A", "0", "spam-v2", "a.b_c", "a" * 64, "none", "none2", "console", "com", "a..b"]
UNSAFE_NAMES = [
    "",
    ".a",
    "-a",
    "_a",
    "a.",
    "a" * 65,
    "a b",
    "ü",
    "a/b",
    "..",
    "None",
    "NONE",
    "con",
    "Nul",
    "com1",
    "prn.x",
]


@pytest.mark.parametrize("schema", [BUNDLE, ADAPTER])
def test_the_schema_is_one(schema: Any) -> None:
    Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(("schema", "record"), RECORDS)
def test_schema_and_record_have_the_same_keys(schema: Any, record: Any) -> None:
    names = [field.name for field in fields(record)]
    assert list(schema["properties"]) == names
    assert schema["required"] == names
    assert schema["additionalProperties"] is False


def test_schema_and_records_know_the_same_dtypes() -> None:
    assert tuple(BUNDLE["$defs"]["dtype"]["enum"]) == DTYPES


def test_all_know_the_same_problem_types() -> None:
    """The layers can't share the type: adapters and tasks know nothing of bundles."""
    expected = get_args(bundle.ProblemType)
    assert get_args(adapter.ProblemType) == get_args(_runner.ProblemType) == expected
    assert BUNDLE["properties"]["problem_type"]["enum"] == ADAPTER["properties"]["problem_type"]["enum"]
    assert ADAPTER["properties"]["problem_type"]["enum"] == [*expected, None]


def test_both_schemas_describe_files_alike() -> None:
    assert BUNDLE["$defs"]["file"] == ADAPTER["$defs"]["file"]
    assert BUNDLE["$defs"]["path"] == ADAPTER["$defs"]["path"]


def test_what_is_written_is_valid(manifest_document: Any, adapter_document: Any) -> None:
    Draft202012Validator(BUNDLE).validate(manifest_document)
    Draft202012Validator(ADAPTER).validate(adapter_document)


@pytest.mark.parametrize(("path", "value", "problem"), MANIFEST_RULES)
def test_the_schema_refuses_what_the_manifest_reader_refuses(
    manifest_document: Any, path: tuple[str | int, ...], value: Any, problem: str
) -> None:
    assert not Draft202012Validator(BUNDLE).is_valid(changed(manifest_document, path, value)), problem


@pytest.mark.parametrize(("path", "value", "problem"), ADAPTER_RULES)
def test_the_schema_refuses_what_the_adapter_reader_refuses(
    adapter_document: Any, path: tuple[str | int, ...], value: Any, problem: str
) -> None:
    assert not Draft202012Validator(ADAPTER).is_valid(changed(adapter_document, path, value)), problem


def test_the_schema_refuses_a_newer_format(manifest_document: Any, adapter_document: Any) -> None:
    assert not Draft202012Validator(BUNDLE).is_valid(manifest_document | {"format": "1.1"})
    assert not Draft202012Validator(BUNDLE).is_valid(manifest_document | {"format": "1.2"})
    assert not Draft202012Validator(ADAPTER).is_valid(adapter_document | {"format": "1.1"})


def test_the_base_has_no_sites(adapter_document: Any) -> None:
    base = adapter_document | {"name": "none", "method": "none"}
    assert not Draft202012Validator(ADAPTER).is_valid(base)
    assert Draft202012Validator(ADAPTER).is_valid(base | {"sites": {}})


@pytest.mark.parametrize("path", PATHS + UNSAFE_PATHS)
def test_paths_are_judged_alike(path: str) -> None:
    assert bool(path_problem(path)) == (path in UNSAFE_PATHS)
    assert Draft202012Validator(BUNDLE["$defs"]["path"]).is_valid(path) == (path in PATHS)


@pytest.mark.parametrize("name", NAMES + UNSAFE_NAMES)
def test_names_are_judged_alike(name: str) -> None:
    assert bool(name_problem(name)) == (name in UNSAFE_NAMES)
    assert Draft202012Validator(ADAPTER["$defs"]["name"]).is_valid(name) == (name in NAMES)


def test_the_examples_of_the_specification_are_valid(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "bundle-format.md").read_text("utf-8")
    manifest, adapter = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    Draft202012Validator(BUNDLE).validate(json.loads(manifest))
    Draft202012Validator(ADAPTER).validate(json.loads(adapter))
    (tmp_path / "edgeadapt.json").write_text(manifest, "utf-8")
    (tmp_path / "adapter.json").write_text(adapter, "utf-8")
    assert len(bundle.read_manifest(tmp_path).slots) == 4
    assert bundle.read_adapter(tmp_path).labels == ("ham", "spam")


def test_the_specification_names_every_key() -> None:
    page = (Path(__file__).parents[2] / "docs" / "bundle-format.md").read_text("utf-8")
    keys = {field.name for _, record in RECORDS for field in fields(record)}
    assert [key for key in keys if not re.search(rf'["`.]{key}["`]', page)] == []

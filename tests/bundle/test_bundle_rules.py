"""Every rule of the format, broken alone: the error has one line, which names the place."""

from __future__ import annotations

import copy
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from edgeadapt import bundle
from edgeadapt.errors import BundleError

GONE = object()
DIGEST = "0123456789abcdef" * 4
FILE = {"bytes": 1, "sha256": DIGEST}
PROBLEM_TYPES = "'regression' or 'single_label_classification' or 'multi_label_classification' or null"

# Where, what stands there instead, and the one problem that makes. These the JSON Schema refuses, too.
MANIFEST_RULES: list[tuple[tuple[str | int, ...], Any, str]] = [
    (("extra",), 1, "$.extra: unknown key"),
    (("task",), GONE, "$.task: missing"),
    (("labels",), GONE, "$.labels: missing"),
    (("task",), 1, "$.task: expected text, got 1"),
    (("task",), "", "$.task: expected text that is not empty, got ''"),
    (("producer",), None, "$.producer: expected text, got null"),
    (("model_type",), [], "$.model_type: expected text, got []"),
    (("fingerprint",), DIGEST, f"$.fingerprint: expected 'sha256:' and 64 lowercase hex digits, got '{DIGEST[:56]}..."),
    (("model",), "model.onnx", "$.model: expected an object, got 'model.onnx'"),
    (("model", "size"), 1, "$.model.size: unknown key"),
    (("model", "opset"), True, "$.model.opset: expected a whole number, got true"),
    (("model", "opset"), 23.5, "$.model.opset: expected a whole number, got 23.5"),
    (("model", "opset"), 0, "$.model.opset: expected a number of 1 or more, got 0"),
    (
        ("model", "onnxruntime"),
        "1.23",
        "$.model.onnxruntime: expected '>=' and a version, such as '>=1.23', got '1.23'",
    ),
    (("inputs",), {}, "$.inputs: expected a list, got {}"),
    (("inputs", 0), [], "$.inputs[0]: expected an object, got []"),
    (("inputs", 0, "dtype"), "int65", "$.inputs[0].dtype: expected one of bool, float16,"),
    (("inputs", 0, "shape", 0), -1, "$.inputs[0].shape[0]: expected a number of 0 or more, got -1"),
    (("inputs", 0, "shape", 0), "", "$.inputs[0].shape[0]: expected text that is not empty, got ''"),
    (("inputs", 0, "shape", 0), None, "$.inputs[0].shape[0]: expected a whole number or text, got null"),
    (("outputs",), [], "$.outputs: is empty"),
    (("slots", 0, "shape", 2), "labls", "$.slots[0].shape[2]: expected a whole number or 'rows' or 'rank' or 'labels'"),
    (
        ("slots", 1, "shape"),
        [2, 1, 8],
        "$.slots[1] (q.bias): expected 'rows' or 1 as the first dimension, got [2, 1, 8]",
    ),
    (("slots", 3, "shape"), [], "$.slots[3] (norm.bias): expected 'rows' or 1 as the first dimension, got []"),
    (
        ("slots", 2, "shape"),
        ["rows", "rows"],
        "$.slots[2] (head.weight): expected 'rows' only as the first dimension, got ['rows', 'rows']",
    ),
    (("slots", 0, "neutral"), "kept", "$.slots[0].neutral: expected an object or 'stored' or null, got 'kept'"),
    (("slots", 0, "neutral", "fill"), "0", "$.slots[0].neutral.fill: expected a number, got '0'"),
    (("slots", 0, "neutral", "fill"), False, "$.slots[0].neutral.fill: expected a number, got false"),
    (("slots", 0, "neutral", "shape", 0), 0, "$.slots[0].neutral.shape[0]: expected a number of 1 or more, got 0"),
    (("labels",), [], "$.labels: expected one label or more, got []"),
    (("labels",), "ab", "$.labels: expected a list or null, got 'ab'"),
    (("labels",), ["a", 1], "$.labels[1]: expected text, got 1"),
    (("problem_type",), "multi-label", f"$.problem_type: expected {PROBLEM_TYPES}, got 'multi-label'"),
    (("problem_type",), GONE, "$.problem_type: missing"),
    (("tokenizer", "padding_side"), "middle", "$.tokenizer.padding_side: expected 'right' or 'left', got 'middle'"),
    (("tokenizer", "max_length"), 0, "$.tokenizer.max_length: expected a number of 1 or more, got 0"),
    (("tokenizer", "pad_id"), -1, "$.tokenizer.pad_id: expected a number of 0 or more, got -1"),
    (("image", "resize"), {"longest_edge": 8}, "$.image.resize: expected the keys height and width, or shortest_edge"),
    (("image", "resize"), {"height": 8}, "$.image.resize: expected the keys height and width, or shortest_edge"),
    (("image", "resample"), 6, "$.image.resample: expected PIL's code of a filter, 0 to 5, got 6"),
    (("image", "crop"), [224], "$.image.crop: expected 2 members, got 1"),
    (("image", "crop"), [1, 2, 3], "$.image.crop: expected 2 members, got 3"),
    (("image", "std", 0), 0.0, "$.image.std[0]: expected a number over 0, got 0.0"),
    (
        ("files", "../up"),
        FILE,
        "$.files[\"../up\"] (the key): expected a relative path with / and no '..', got '../up'",
    ),
    (("files", "model.onnx", "bytes"), -1, '$.files["model.onnx"].bytes: expected a number of 0 or more, got -1'),
    (("files", "model.onnx", "sha256"), DIGEST.upper(), '$.files["model.onnx"].sha256: expected a sha256 of 64'),
    (("files", "edgeadapt.json"), FILE, "$.files: lists edgeadapt.json, which can't hold its own sha256"),
    (("files", "adapters/a/x"), FILE, "$.files: lists adapters/a/x, which belongs into that adapter's adapter.json"),
]

ADAPTER_RULES: list[tuple[tuple[str | int, ...], Any, str]] = [
    (("extra",), 1, "$.extra: unknown key"),
    (("parity",), GONE, "$.parity: missing"),
    (("name",), "sp/am", "$.name: expected a safe name for an adapter, got 'sp/am'"),
    (("name",), "none", "$.method: expected 'none' for the adapter 'none' alone, got 'lora' for 'none'"),
    (("method",), "none", "$.method: expected 'none' for the adapter 'none' alone, got 'none' for 'spam'"),
    (("sites", "q"), {"lora": 8}, "$.sites.q.lora: expected an object, got 8"),
    (("sites", "q", "lora", "alpha"), 8, "$.sites.q.lora: expected only 'rank', got {"),
    (("sites", "q", "lora", "rank"), 0, "$.sites.q.lora.rank: expected a number of 1 or more, got 0"),
    (("sites", "past_key_values"), {}, "$.sites.past_key_values: expected one method with a rank"),
    (("sites", "past_key_values"), {"prefix": {}}, "$.sites.past_key_values: expected one method with a rank"),
    (("sites", "q", ""), {}, "$.sites.q[\"\"] (the key): expected text that is not empty, got ''"),
    (("problem_type",), 1, f"$.problem_type: expected {PROBLEM_TYPES}, got 1"),
    (("problem_type",), GONE, "$.problem_type: missing"),
    (("source",), [], "$.source: expected an object, got []"),
    (("parity", "tolerance"), None, "$.parity.tolerance: expected a number, got null"),
    (("parity", "top1_agreement"), "1", "$.parity.top1_agreement: expected a number or null, got '1'"),
    (("parity", "speed"), 1, "$.parity.speed: unknown key"),
    (("files", "a\\b"), FILE, "$.files[\"a\\\\b\"] (the key): expected a relative path with / and no '..'"),
    (("files", "adapter.json"), FILE, "$.files: lists adapter.json, which can't hold its own sha256"),
    (("files", "weights.onnx_adapter"), GONE, "$.sites: weights.onnx_adapter is not in $.files"),
]

# Rules between fields, which a JSON Schema can't say.
MANIFEST_AGREEMENTS: list[tuple[tuple[str | int, ...], Any, str]] = [
    (("files", "model.onnx"), GONE, "$.model.file: model.onnx is not in $.files"),
    (("files", "neutrals.onnx_adapter"), GONE, "$.model.neutrals: neutrals.onnx_adapter is not in $.files"),
    (("model", "neutrals"), None, "$.model.neutrals: is null, and slots have stored neutrals"),
    (("files", "tokenizer.json"), GONE, "$.tokenizer.file: tokenizer.json is not in $.files"),
    (("slots", 1, "name"), "q.lora_A", "$.inputs and $.slots: the name q.lora_A stands twice"),
    (("slots", 1, "name"), "input_ids", "$.inputs and $.slots: the name input_ids stands twice"),
    (("outputs", 1), {"name": "logits", "dtype": "bool", "shape": []}, "$.outputs: the name logits stands twice"),
    (
        ("slots", 0, "neutral", "shape"),
        [1, 8],
        "$.slots[0] (q.lora_A): its neutral has the shape [1, 8], expected [1, 8, 'rank']",
    ),
    (
        ("slots", 0, "neutral", "shape"),
        [2, 8, 1],
        "$.slots[0] (q.lora_A): its neutral has the shape [2, 8, 1], expected [1, 8, 'rank']",
    ),
    (
        ("slots", 1, "neutral", "shape", 2),
        9,
        "$.slots[1] (q.bias): its neutral has the shape [1, 1, 9], expected [1, 1, 8]",
    ),
    (("image", "mean"), [0.5], "$.image: expected a mean and a std for each of 1, 3 or 4 channels, got 1 and 3"),
]


def changed(document: Any, path: tuple[str | int, ...], value: Any) -> Any:
    """Returns a copy of `document` with `value` at `path`, or with nothing there."""
    document = copy.deepcopy(document)
    *parents, last = path
    place = document
    for key in parents:
        place = place[key]
    if value is GONE:
        del place[last]
    elif isinstance(place, list) and last == len(place):
        place.append(value)
    else:
        place[last] = value
    return document


def problems(caught: pytest.ExceptionInfo[BundleError]) -> list[str]:
    return [line.strip() for line in str(caught.value).splitlines() if line.startswith("  ")]


@pytest.mark.parametrize(("path", "value", "problem"), MANIFEST_RULES + MANIFEST_AGREEMENTS)
def test_a_manifest_that_breaks_one_rule(
    tmp_path: Path, manifest_document: Any, path: tuple[str | int, ...], value: Any, problem: str
) -> None:
    (tmp_path / "edgeadapt.json").write_text(json.dumps(changed(manifest_document, path, value)))
    with pytest.raises(BundleError, match=r"breaks the bundle format 1\.0") as caught:
        bundle.read_manifest(tmp_path)
    (line,) = problems(caught)
    assert line.startswith(problem)


@pytest.mark.parametrize(("path", "value", "problem"), ADAPTER_RULES)
def test_an_adapter_that_breaks_one_rule(
    tmp_path: Path, adapter_document: Any, path: tuple[str | int, ...], value: Any, problem: str
) -> None:
    (tmp_path / "adapter.json").write_text(json.dumps(changed(adapter_document, path, value)))
    with pytest.raises(BundleError, match=r"breaks the bundle format 1\.0") as caught:
        bundle.read_adapter(tmp_path)
    (line,) = problems(caught)
    assert line.startswith(problem)


def test_the_base_has_no_sites(tmp_path: Path, adapter_document: Any) -> None:
    document = adapter_document | {"name": "none", "method": "none"}
    (tmp_path / "adapter.json").write_text(json.dumps(document))
    with pytest.raises(BundleError, match=r"\$.sites: expected {} for the adapter 'none'"):
        bundle.read_adapter(tmp_path)
    (tmp_path / "adapter.json").write_text(json.dumps(document | {"sites": {}, "files": {}}))
    assert bundle.read_adapter(tmp_path).name == "none"


def test_a_whole_number_is_a_number_as_far_as_a_double_goes(tmp_path: Path, adapter_document: Any) -> None:
    document = changed(adapter_document, ("parity", "effect"), 10**300)
    (tmp_path / "adapter.json").write_text(json.dumps(document))
    assert bundle.read_adapter(tmp_path).parity.effect == 1e300  # type: ignore[union-attr]
    document = changed(adapter_document, ("parity", "effect"), 10**400)
    (tmp_path / "adapter.json").write_text(json.dumps(document))
    with pytest.raises(BundleError, match=r"\$\.parity\.effect: expected a number, got 1000"):
        bundle.read_adapter(tmp_path)


def test_long_values_are_cut_and_short_ones_are_not(tmp_path: Path, adapter_document: Any) -> None:
    document = adapter_document | {"method": 123, "fingerprint": "x" * 59}
    (tmp_path / "adapter.json").write_text(json.dumps(document))
    with pytest.raises(BundleError) as caught:
        bundle.read_adapter(tmp_path)
    assert problems(caught) == [
        "$.method: expected text, got 123",
        f"$.fingerprint: expected 'sha256:' and 64 lowercase hex digits, got '{'x' * 56}...",
    ]


def test_all_problems_are_told_at_once(tmp_path: Path, manifest_document: Any) -> None:
    document = manifest_document
    for path, value, _ in (rule for rule in MANIFEST_RULES if rule[0][0] in ("extra", "producer", "fingerprint")):
        document = changed(document, path, value)
    (tmp_path / "edgeadapt.json").write_text(json.dumps(document))
    with pytest.raises(BundleError) as caught:
        bundle.read_manifest(tmp_path)
    assert [line.split(":")[0] for line in problems(caught)] == ["$.extra", "$.producer", "$.fingerprint"]


CHAT = {"file": "chat_template.jinja", "tokens": {"bos_token": "<s>"}}
DECODER = {"eos_ids": [2], "positions": 128, "chat": CHAT}
# As above, for a decoder with a cache.
DECODER_RULES: list[tuple[tuple[str | int, ...], Any, str]] = [
    (("generation", "eos_ids"), [-1], "$.generation.eos_ids[0]: expected a number of 0 or more, got -1"),
    (("generation", "positions"), 0, "$.generation.positions: expected a number of 1 or more, got 0"),
    (("generation", "chat"), GONE, "$.generation.chat: missing"),
    (("generation", "chat"), "x", "$.generation.chat: expected an object or null, got 'x'"),
    (("generation", "chat", "file"), "../x", "$.generation.chat.file: expected a relative path with / and no '..'"),
    (("generation", "chat", "tokens"), {"eos_token": 2}, "$.generation.chat.tokens.eos_token: expected text, got 2"),
    (("generation", "chat", "tokens"), {"": "x"}, '$.generation.chat.tokens[""] (the key): expected text that is not'),
]
DECODER_AGREEMENTS: list[tuple[tuple[str | int, ...], Any, str]] = [
    (("files", "chat_template.jinja"), GONE, "$.generation.chat.file: chat_template.jinja is not in $.files"),
    (("tokenizer",), None, "$.generation.chat: is there, and $.tokenizer is null"),
    (("outputs", 1), GONE, "$.outputs: lacks present.0.key"),
    (("inputs", 1), GONE, "$.inputs: lacks past_key_values.0.key"),
]


@pytest.fixture
def decoder_document(manifest_document: Any) -> Any:
    document = copy.deepcopy(manifest_document)
    axes = ["batch", 4, "past", 8]
    document["inputs"].append({"name": "past_key_values.0.key", "dtype": "float32", "shape": axes})
    document["outputs"].append({"name": "present.0.key", "dtype": "float32", "shape": axes})
    return document | {"generation": DECODER, "files": document["files"] | {"chat_template.jinja": FILE}}


def test_a_decoder_s_manifest_is_read(tmp_path: Path, decoder_document: Any) -> None:
    for chat in (CHAT, None):
        document = decoder_document | {"generation": DECODER | {"chat": chat}}
        (tmp_path / "edgeadapt.json").write_text(json.dumps(document))
        generation = bundle.read_manifest(tmp_path).generation
        assert isinstance(generation, bundle.GenerationRecord) and generation.eos_ids == (2,)
        assert generation.chat == (bundle.ChatRecord("chat_template.jinja", {"bos_token": "<s>"}) if chat else None)


@pytest.mark.parametrize(("path", "value", "problem"), DECODER_RULES + DECODER_AGREEMENTS)
def test_a_decoder_s_manifest_that_breaks_one_rule(
    tmp_path: Path, decoder_document: Any, path: tuple[str | int, ...], value: Any, problem: str
) -> None:
    (tmp_path / "edgeadapt.json").write_text(json.dumps(changed(decoder_document, path, value)))
    with pytest.raises(BundleError, match=r"breaks the bundle format 1\.0") as caught:
        bundle.read_manifest(tmp_path)
    (line,) = problems(caught)
    assert line.startswith(problem)


@pytest.mark.parametrize(("path", "value", "problem"), DECODER_RULES)
def test_the_schema_refuses_what_the_reader_of_decoders_refuses(
    decoder_document: Any, path: tuple[str | int, ...], value: Any, problem: str
) -> None:
    schema = json.loads((files("edgeadapt") / "schema" / "bundle.schema.json").read_text("utf-8"))
    Draft202012Validator(schema).validate(decoder_document)
    assert not Draft202012Validator(schema).is_valid(changed(decoder_document, path, value)), problem


RULED: dict[str, Any] = {
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "min_length": 0,
    "min_new_tokens": 0,
    "forced_bos_token_id": None,
    "forced_eos_token_ids": [],
    "suppress_tokens": [],
    "begin_suppress_tokens": [],
}


@pytest.fixture
def encoder_document(decoder_document: Any) -> Any:
    """A manifest with an encoder, whose decoder takes the keys of one layer."""
    axes = ["batch", 4, "source", 8]
    encoder = {
        "file": "model.encoder.onnx",
        "inputs": [{"name": "input_ids", "dtype": "int64", "shape": ["batch", "source"]}],
        "outputs": [{"name": "encoded.0.key", "dtype": "float32", "shape": axes}],
        "positions": None,
    }
    document = json.loads(json.dumps(decoder_document))
    document["inputs"].append({"name": "encoder_key_values.0.key", "dtype": "float32", "shape": axes})
    document["files"]["model.encoder.onnx"] = FILE
    generation = {"eos_ids": [2], "positions": None, "start_ids": [0], "rules": RULED, "encoder": encoder}
    return document | {"format": "1.1", "generation": generation | {"speech": None}}


def test_a_manifest_with_an_encoder_is_read(tmp_path: Path, encoder_document: Any) -> None:
    (tmp_path / "edgeadapt.json").write_text(json.dumps(encoder_document))
    manifest = bundle.read_manifest(tmp_path)
    assert isinstance(manifest.generation, bundle.EncoderDecoderRecord)
    bundle.write_manifest(tmp_path, manifest)
    assert bundle.read_manifest(tmp_path) == manifest


ENCODER_RULES: list[tuple[tuple[str | int, ...], Any, str]] = [
    (("format",), "1.0", "$.format: '1.1' is for a generation with an encoder, and for nothing else"),
    (("generation", "start_ids"), [], "$.generation.start_ids: expected one token or more, got []"),
    (
        ("generation", "rules", "repetition_penalty"),
        0.0,
        "$.generation.rules.repetition_penalty: expected a number over 0, got 0.0",
    ),
    (("generation", "encoder", "file"), "other.onnx", "$.generation.encoder.file: other.onnx is not in $.files"),
    (("generation", "encoder", "outputs", 0, "name"), "other", "$.generation.encoder.outputs: lacks encoded.0.key"),
]


@pytest.mark.parametrize(("path", "value", "problem"), ENCODER_RULES)
def test_an_encoder_s_manifest_that_breaks_one_rule(
    tmp_path: Path, encoder_document: Any, path: tuple[str | int, ...], value: Any, problem: str
) -> None:
    (tmp_path / "edgeadapt.json").write_text(json.dumps(changed(encoder_document, path, value)))
    with pytest.raises(BundleError) as caught:
        bundle.read_manifest(tmp_path)
    assert problems(caught) == [problem]


def test_the_newer_format_has_an_encoder(tmp_path: Path, decoder_document: Any) -> None:
    (tmp_path / "edgeadapt.json").write_text(json.dumps(decoder_document | {"format": "1.1"}))
    with pytest.raises(BundleError, match=r"\$.format: '1.1' is for a generation with an encoder"):
        bundle.read_manifest(tmp_path)

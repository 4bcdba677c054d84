"""A bundle that onnxruntime-genai loads: its own greedy tokens are ours, with every adapter and without one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

import edgeadapt
from edgeadapt import bundle
from edgeadapt.adapter import Adapter, Array, Attachment
from edgeadapt.errors import BundleError, ConfigError, ParityError, UnsupportedError
from edgeadapt.exporter import assemble, genai, genai_proof
from edgeadapt.exporter.adding import add, remove
from edgeadapt.exporter.pipeline import Exported, export
from edgeadapt.exporter.precision import Precision
from tests import tiny
from tests.exporter import snapshot
from tests.tasks import decoders

og = pytest.importorskip("onnxruntime_genai", reason="onnxruntime-genai 0.18 needs Python 3.11")

NEW = 12
PROMPTS = [[20, 30, 40, 50, 60, 25, 35, 45], [70, 80, 90], [100, 110, 120, 130, 140]]
NAMES = (None, "wide", "narrow")
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"num_key_value_heads": 2, "pad_token_id": 20},  # a token that the prompts have
    "qwen2": {"num_key_value_heads": 2},
    "gpt2": {"eos_token_id": [3, 50256]},
    "mistral": {"num_key_value_heads": 2, "sliding_window": 6},
    "bloom": {},
}
"""Caches of both kinds, windows, no positions, and special tokens that are odd."""


@dataclass(frozen=True)
class Exports:
    """A family's bundle and adapters."""

    result: Exported
    adapters: dict[str, Path]

    @property
    def path(self) -> Path:
        return self.result.path


def exported(family: str, folder: Path, precision: Precision = "fp32") -> Exports:
    tiny.base(folder / "base", family, "text-generation", **FAMILIES[family])
    turned = {"fan_in_fan_out": True} if family == "gpt2" else {}
    targets = {"wide": "all-linear", "narrow": r".*(q_proj|c_attn|query_key_value)"}
    adapters = {
        name: tiny.lora_adapter(
            folder / "base", folder / name, "text-generation", rank, targets[name], seed=rank, **turned
        )
        for name, rank in (("wide", 4), ("narrow", 2))
    }
    result = export(folder / "base", adapters, folder / "bundle", runtime="genai", precision=precision)
    return Exports(result, adapters)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Exports:
    """A Llama with two adapters. Read-only."""
    return exported("llama", tmp_path_factory.mktemp("llama"))


@pytest.fixture
def home(llama: Exports, tmp_path: Path) -> Path:
    """A copy of its bundle, to change."""
    return Path(shutil.copytree(llama.path, tmp_path / "bundle"))


class Theirs:
    """A bundle in onnxruntime-genai, with all of its adapters."""

    def __init__(self, folder: Path) -> None:
        self.model = og.Model(str(folder))
        self.adapters = og.Adapters(self.model)
        for name in bundle.adapter_names(folder):
            if name != "none":
                self.adapters.load(str(folder / "adapters" / name / "weights.onnx_adapter"), name)

    def generator(self, adapter: str | None, length: int, batch: int = 1) -> Any:
        settings = og.GeneratorParams(self.model)
        settings.set_search_options(max_length=length, batch_size=batch)
        made = og.Generator(self.model, settings)
        if adapter is not None:
            made.set_active_adapter(self.adapters, adapter)
        return made

    def generate(self, rows: Sequence[Sequence[int]], adapter: str | None) -> list[list[int]]:
        """Returns the new tokens of rows of one length."""
        made = self.generator(adapter, len(rows[0]) + NEW, len(rows))
        made.append_tokens(np.array(rows if len(rows) > 1 else rows[0], np.int32))
        while not made.is_done():
            made.generate_next_token()
        return [[int(token) for token in made.get_sequence(row)][len(rows[0]) :] for row in range(len(rows))]


def ours(folder: Path, prompt: list[int], adapter: str | None) -> list[int]:
    """Returns our new tokens, without the one that ended the text, which onnxruntime-genai doesn't give."""
    session = edgeadapt.load(folder)
    (found,) = session.generate([prompt], adapter=adapter, max_new_tokens=NEW)
    ends = session.manifest.generation.eos_ids if session.manifest.generation else ()
    return [int(token) for token in (found[:-1] if found[-1] in ends else found)]


def agree(folder: Path, names: Sequence[str | None] = NAMES) -> bool:
    theirs = Theirs(folder)
    return all(theirs.generate([prompt], name) == [ours(folder, prompt, name)] for name in names for prompt in PROMPTS)


@pytest.mark.parametrize("family", FAMILIES)
def test_its_tokens_are_ours(family: str, tmp_path: Path) -> None:
    found = exported(family, tmp_path)

    assert agree(found.path)
    reports = found.result.reports[-3:]
    assert [report.name for report in reports] == ["none, genai", "wide, genai", "narrow, genai"]
    assert all(report.max_abs_error < 1e-5 for report in reports)
    assert all(report.effect > 0.05 for report in reports[1:])


def test_its_tokens_are_ours_on_weights_in_4_bits(tmp_path: Path) -> None:
    """Proven in fp32 arithmetic, and run in int8 by both."""
    found = exported("llama", tmp_path, "int4")

    proven = [report for report in found.result.reports if report.name.endswith(", genai")]
    assert len(proven) == 3
    assert all(report.max_abs_error < 1e-5 for report in proven)
    levels = {
        node.attributes["accuracy_level"].value
        for node in ir.load(found.path / genai.GRAPH).graph
        if node.op_type == "MatMulNBits"
    }
    assert levels == {4}
    assert agree(found.path)


def test_both_graphs_read_one_file_of_weights(llama: Exports) -> None:
    files = bundle.read_manifest(llama.path).files

    assert {genai.CONFIG, genai.GRAPH} <= set(files)
    bundle.verify_files(llama.path, files)
    theirs, own = (ir.load(llama.path / name).graph.initializers for name in (genai.GRAPH, assemble.MODEL))
    weights = {name for name, value in own.items() if isinstance(value.const_value, ir.ExternalTensor)}
    assert weights
    for name in weights:
        one, other = (found[name].const_value for found in (theirs, own))
        assert isinstance(one, ir.ExternalTensor)
        assert isinstance(other, ir.ExternalTensor)
        assert (one.location, one.offset, one.length) == (other.location, other.offset, other.length)
    assert all(theirs[slot.name].is_graph_input() for slot in bundle.read_manifest(llama.path).slots)


def test_rows_of_a_batch_are_padded_on_the_right(tmp_path: Path) -> None:
    """As onnxruntime-genai's own models want them; the last token is found wherever its row ends."""
    tiny.base(tmp_path / "base", "llama", "text-generation", num_key_value_heads=2)
    path = export(tmp_path / "base", {}, tmp_path / "bundle", runtime="genai").path
    longest = max(map(len, PROMPTS))
    rows = [prompt + [0] * (longest - len(prompt)) for prompt in PROMPTS]

    found = Theirs(path).generate(rows, None)

    for row, prompt in zip(found, PROMPTS, strict=True):
        expected = ours(path, prompt, None)
        assert row[: len(expected)] == expected


def test_a_prompt_comes_in_parts(llama: Exports) -> None:
    made = Theirs(llama.path).generator("wide", 64)
    for part in PROMPTS:
        made.append_tokens(np.array(part, np.int32))
    made.generate_next_token()

    whole = [token for part in PROMPTS for token in part]
    assert made.get_sequence(0)[-1] == ours(llama.path, whole, "wide")[0]


def test_adapters_change_from_text_to_text(llama: Exports) -> None:
    theirs = Theirs(llama.path)

    for name in ("wide", None, "narrow", "wide", None):
        assert theirs.generate([PROMPTS[0]], name) == [ours(llama.path, PROMPTS[0], name)]


def added(llama: Exports, folder: Path, **options: Any) -> Path:
    base = llama.adapters["wide"].parent / "base"
    return tiny.lora_adapter(base, folder, "text-generation", 3, "q_proj", seed=5, **options)


@pytest.mark.parametrize("new_slots", [False, True])
def test_an_adapter_that_is_added_runs_there(new_slots: bool, llama: Exports, home: Path, tmp_path: Path) -> None:
    add(home, added(llama, tmp_path / "new", use_dora=new_slots), "new")

    assert agree(home, (*NAMES, "new"))
    manifest = bundle.read_manifest(home)
    bundle.verify_files(home, manifest.files)
    assert set(genai.files(home)) <= set(manifest.files)
    graphs = {path.name for path in home.glob("*.onnx")}
    assert (genai.graph_name(home) != genai.GRAPH) == new_slots
    assert graphs == {assemble.BASE, manifest.model.file, genai.graph_name(home)}

    remove(home, "wide")
    assert agree(home, (None, "narrow", "new"))


def test_modules_that_were_trained_whole_have_their_own_weights_as_neutrals(llama: Exports, tmp_path: Path) -> None:
    base = llama.adapters["wide"].parent / "base"
    options: dict[str, Any] = {"modules_to_save": ["lm_head"]}
    adapter = tiny.lora_adapter(base, tmp_path / "headed", "text-generation", 2, "q_proj", seed=8, **options)

    path = export(base, {"headed": adapter, "wide": llama.adapters["wide"]}, tmp_path / "bundle", runtime="genai").path

    assert agree(path, (None, "headed", "wide"))


@pytest.mark.parametrize("late", [False, True])
def test_an_interruption_leaves_it_whole_for_both(
    late: bool, llama: Exports, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = added(llama, tmp_path / "new", use_dora=True)
    whole = genai.point_to

    def fail(folder: Path, graph: str) -> None:
        if late:
            whole(folder, graph)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(genai, "point_to", fail)
        with pytest.raises(KeyboardInterrupt):
            add(home, adapter, "new")

    assert agree(home)
    add(home, adapter, "new")
    assert agree(home, (*NAMES, "new"))
    assert set(genai.files(home)) <= set(bundle.read_manifest(home).files)


def test_numbers_that_differ_there_leave_the_bundle_as_it_was(
    llama: Exports, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter, before = added(llama, tmp_path / "new", use_dora=True), snapshot(home)
    whole = genai_proof._logits

    def other(graph: Path, weights: Path | None, inputs: Any) -> Array:
        return whole(graph, None, inputs)  # as if the adapter had not been taken

    monkeypatch.setattr(genai_proof, "_logits", other)
    with pytest.raises(ParityError, match=r"Adapter 'new, genai' fails:"):
        add(home, adapter, "new")
    assert snapshot(home) == before

    base = llama.adapters["wide"].parent / "base"
    with pytest.raises(ParityError, match=r"onnxruntime-genai's graph and PyTorch don't agree:\n  wide, genai: "):
        export(base, {"wide": llama.adapters["wide"]}, tmp_path / "other", runtime="genai")
    assert not (tmp_path / "other").exists()


def test_its_tokenizer_opens_where_it_gives_the_same_tokens(tmp_path: Path) -> None:
    tokenizer = decoders.base(tmp_path / "base", "byte level")
    result = export(tmp_path / "base", {}, tmp_path / "bundle", runtime="genai")

    assert not [note for note in result.notes if "Tokenizer" in note]
    theirs = og.Tokenizer(str(result.path))
    for text in decoders.PROMPTS:
        assert theirs.encode(text).tolist() == tokenizer(text)["input_ids"]
        assert theirs.decode(theirs.encode(text)) == text
    chat = [{"role": "user", "content": "Where is my parcel?"}]
    assert theirs.apply_chat_template(json.dumps(chat), add_generation_prompt=True) == tokenizer.apply_chat_template(
        chat, tokenize=False, add_generation_prompt=True
    )


def test_a_tokenizer_that_it_reads_otherwise_is_left_out(tmp_path: Path) -> None:
    """It puts no `<s>` first, and merges otherwise."""
    decoders.base(tmp_path / "base", "sentence pieces")

    result = export(tmp_path / "base", {}, tmp_path / "bundle", runtime="genai")

    (note,) = [note for note in result.notes if "tokenizer_config.json is left out" in note]
    assert "texts unlike the base's tokenizer" in note
    assert not (result.path / "tokenizer_config.json").exists()


def test_a_tokenizer_that_crashes_it_is_left_out(llama: Exports) -> None:
    """The tiny bases' tokenizer is of whole words, which 0.18 takes for something else."""
    assert any("tokenizer_config.json is left out" in note for note in llama.result.notes)
    assert not (llama.path / "tokenizer_config.json").exists()


def test_other_tasks_are_refused_before_the_base_is_opened(tiny_adapters: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"runs text-generation, and the task is text-classification\."):
        export(tmp_path / "missing", tiny_adapters, tmp_path / "bundle", task="text-classification", runtime="genai")
    assert not (tmp_path / "bundle").exists()


def test_other_runtimes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'gen-ai' is none that .*; did you mean 'genai'\?.*there is genai|'gen-ai'"):
        export(tmp_path / "missing", {}, tmp_path / "bundle", runtime="gen-ai")  # type: ignore[arg-type]


def test_inputs_that_it_does_not_feed_are_refused_all_at_once() -> None:
    cache = {
        f"past_key_values.{layer}.{part}": ("batch", "2", "past", "8") for layer in (0, 1) for part in ("key", "value")
    }
    genai.check_inputs({"input_ids": (), "attention_mask": (), "position_ids": (), "kept_positions": (), **cache})

    other = {
        **cache,
        "past_key_values.1.value": ("batch", "2", "past", "16"),
        "past_key_values.9.key": cache["past_key_values.0.key"],
    }
    with pytest.raises(UnsupportedError) as caught:
        genai.check_inputs({"input_ids": (), "token_type_ids": (), **other})
    assert str(caught.value).splitlines() == [
        "onnxruntime-genai can't run this decoder:",
        "  token_type_ids: an input that it doesn't feed",
        "  the cache: heads x length of 2 x 16, 2 x 8, where it takes one size for all layers",
        "  the cache: layers named past_key_values.9.key, expected 0, 1, 2 and so on",
        "Export it without --runtime genai.",
    ]


def test_tokens_before_a_text_are_refused() -> None:
    def adapter(*methods: str) -> Adapter:
        return Adapter("lora", tuple(Attachment("site", method, {}) for method in methods), None, None, {})

    genai.check_methods({"fine": adapter("lora", "dora", "ia3")})
    with pytest.raises(UnsupportedError, match=r"\n  tuned: prompt\n  wider: lora, prefix\n|\n  wider: prefix\n"):
        genai.check_methods({"tuned": adapter("prompt"), "wider": adapter("lora", "prefix"), "fine": adapter("lora")})


@pytest.mark.parametrize(
    "text", ["", "[]", '{"model": {"decoder": {}}}', '{"model": {"decoder": {"filename": "../x"}}}']
)
def test_a_damaged_configuration_is_refused(text: str, llama: Exports, home: Path, tmp_path: Path) -> None:
    manifest = bundle.read_manifest(home)
    (home / genai.CONFIG).write_text(text)
    files = {**manifest.files, **bundle.record_files(home, [genai.CONFIG])}
    bundle.write_manifest(
        home, bundle.Manifest(**{**{f: getattr(manifest, f) for f in manifest.__slots__}, "files": files})
    )
    before = snapshot(home)

    with pytest.raises(BundleError, match=r"genai_config\.json (is damaged|names no file)"):
        add(home, llama.adapters["wide"], "again")
    assert snapshot(home) == before

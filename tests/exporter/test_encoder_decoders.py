"""Encoders with their decoders: two adapters on all linear layers of both, alone, mixed, folded, writing."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import edgeadapt
from edgeadapt.adapter import Array
from edgeadapt.bundle import EncoderDecoderRecord, read_manifest, write_manifest
from edgeadapt.errors import UnsupportedError
from edgeadapt.exporter import assemble, bare, guidance
from edgeadapt.exporter import base as bases
from edgeadapt.exporter.adding import add
from edgeadapt.exporter.merging import merge
from edgeadapt.exporter.pipeline import Exported, export
from edgeadapt.graph import sites
from tests import tiny

TASK = "text2text-generation"
MAX_ERROR = 1e-5
LEAST_EFFECT = 0.05
NEW = 12
SOURCES = [[20, 30, 40, 50, 60, 25, 35, 3], [70, 80, 3], [100, 110, 120, 130, 140, 3]]
"""Token ids of several lengths, so that shorter rows are padded."""


@dataclass(frozen=True)
class Recipe:
    """A family, with options that make its oddities show."""

    family: str
    config: dict[str, Any] = field(default_factory=dict)
    targets: str = "all-linear"

    def __str__(self) -> str:
        return "-".join([self.family, *self.config, *([] if self.targets == "all-linear" else ["some"])])


RECIPES = [
    Recipe("t5"),
    Recipe(
        "t5",
        {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "initializer_factor": 0.5},
        r".*(EncDecAttention\.[kq]|wi_1)",
    ),
    Recipe("bart"),
    Recipe("mbart"),
    Recipe("marian"),
    Recipe("pegasus"),
]


def exported(recipe: Recipe, folder: Path) -> tuple[Exported, dict[str, Path]]:
    """Exports a tiny encoder-decoder with two adapters of other ranks."""
    tiny.base(folder / "base", recipe.family, TASK, **recipe.config)
    adapters = {
        name: tiny.lora_adapter(folder / "base", folder / name, TASK, rank, recipe.targets, seed=rank)
        for name, rank in (("wide", 4), ("narrow", 2))
    }
    return export(folder / "base", adapters, folder / "bundle"), adapters


def live(base: Path, adapter: Path | None = None) -> Any:
    """Returns transformers' model, with PEFT's adapter where there is one."""
    import peft
    import transformers

    with tiny.quiet():
        model: Any = transformers.AutoModelForSeq2SeqLM.from_pretrained(base).eval()
        return model if adapter is None else peft.PeftModel.from_pretrained(model, str(adapter)).eval()


def generated(model: Any, source: list[int], **options: Any) -> Array:
    """Returns the new tokens of one row, as `transformers.generate` gives them."""
    import torch

    ids = torch.tensor([source])
    settings = {"max_new_tokens": NEW, "do_sample": False, "num_beams": 1, **options}
    with tiny.quiet():
        tokens = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **settings)
    begun = options.get("decoder_input_ids")
    found: Array = tokens[0, 1 if begun is None else begun.shape[1] :].numpy()
    return found


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_an_encoder_decoder_says_what_peft_says(recipe: Recipe, tmp_path: Path) -> None:
    result, adapters = exported(recipe, tmp_path)

    assert [report.name for report in result.reports] == ["none", "wide", "narrow", "mixed rows"]
    for report in result.reports:
        assert report.max_abs_error <= MAX_ERROR
        if report.name != "none":
            assert report.effect >= LEAST_EFFECT
            assert report.max_abs_error < 0.001 * report.effect
    (folded,) = merge(result.path, ["wide"], tmp_path / "wide.onnx", mode="fold")
    assert folded.max_abs_error <= MAX_ERROR
    session = edgeadapt.load(result.path)
    names = ("wide", None, "narrow")
    models = {name: live(tmp_path / "base", adapters[name] if name else None) for name in names}
    ends: list[int] | None
    for ends in (None, []):
        options = {} if ends is None else {"eos_token_id": None}
        mixed = session.generate(SOURCES, adapter=names, max_new_tokens=NEW, eos=ends)
        for got, source, name in zip(mixed, SOURCES, names, strict=True):
            np.testing.assert_array_equal(got, generated(models[name], source, **options))


@pytest.fixture(scope="module", params=["t5", "bart"])
def one(request: Any, tmp_path_factory: Any) -> tuple[Path, dict[str, Path]]:
    """A bundle in its folder, and its adapters. Read-only."""
    folder = tmp_path_factory.mktemp(request.param)
    return folder, exported(Recipe(request.param), folder)[1]


def test_slots_are_where_their_sites_are_called(one: tuple[Path, dict[str, Path]]) -> None:
    folder, _ = one
    manifest = read_manifest(folder / "bundle")
    assert manifest.format == "1.1" and isinstance(manifest.generation, EncoderDecoderRecord)
    files = manifest.model.file, manifest.generation.encoder.file
    decoder, encoder = (
        {value.name for value in onnxruntime.InferenceSession(folder / "bundle" / file).get_inputs()} for file in files
    )
    slots = {slot.name for slot in manifest.slots}
    assert (encoder | decoder) >= slots and encoder & decoder & slots == set()
    across = [slot.name for slot in manifest.slots if "EncDecAttention." in slot.name or "encoder_attn." in slot.name]
    keys = {name for name in across if name.split(".")[-2] in ("k", "v", "k_proj", "v_proj")}
    assert keys and keys < encoder and set(across) - keys < decoder


def test_the_base_is_itself_bit_for_bit(one: tuple[Path, dict[str, Path]], tmp_path: Path) -> None:
    """With ONNX Runtime's own rewriting off, whose fusions end where slots begin."""
    bundle = Path(shutil.copytree(one[0] / "bundle", tmp_path / "bundle"))
    case = np.load(bundle / "adapters/none/parity.npz")
    inputs = {key.removeprefix("input/"): case[key] for key in case.files if key.startswith("input/")}
    assemble.write_switch(bundle, sites.read(bundle), [], "plain.onnx")
    neutrals = bare.fill(read_manifest(bundle).slots, {}, {})

    switched = bare.run(_unchanged(bundle, *_models(bundle)), {**inputs, **neutrals})["logits"]
    plain = bare.run(_unchanged(bundle, "plain.onnx", "plain.encoder.onnx"), inputs)["logits"]

    np.testing.assert_array_equal(switched, plain)
    np.testing.assert_allclose(edgeadapt.load(bundle).replay(inputs)["logits"], plain, atol=1e-5)


def _unchanged(folder: Path, model: str, encoder: str) -> bare.Opened:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    providers = ["CPUExecutionProvider"]
    return bare.Opened(
        *(onnxruntime.InferenceSession(folder / file, options, providers=providers) for file in (model, encoder))
    )


def test_an_adapter_is_added_without_pytorch(one: tuple[Path, dict[str, Path]], tmp_path: Path) -> None:
    folder, _ = one
    bundle = Path(shutil.copytree(folder / "bundle", tmp_path / "bundle"))
    some = tiny.lora_adapter(folder / "base", tmp_path / "some", TASK, 3, r".*(v|v_proj|wo|fc2)", seed=8)
    before = edgeadapt.load(bundle).generate(SOURCES, adapter="wide", max_new_tokens=NEW)
    add(bundle, some, "some")
    scales = tiny.peft_adapter(folder / "base", tmp_path / "scales", _ia3(folder), TASK, seed=3)
    report = add(bundle, scales, "scales")
    assert report.max_abs_error <= MAX_ERROR
    session = edgeadapt.load(bundle)
    for name, adapter in (("some", some), ("scales", scales)):
        model = live(folder / "base", adapter)
        for got, source in zip(session.generate(SOURCES, adapter=name, max_new_tokens=NEW), SOURCES, strict=True):
            np.testing.assert_array_equal(got, generated(model, source))
    for got, old in zip(session.generate(SOURCES, adapter="wide", max_new_tokens=NEW), before, strict=True):
        np.testing.assert_array_equal(got, old)
    models = [path.name for path in bundle.glob("model*.onnx")]
    assert sorted(models) == sorted({*_models(bundle)})


def _ia3(folder: Path) -> Any:
    import peft

    t5 = "SelfAttention" in (folder / "bundle/sites.json").read_text()
    attention, forward = (["k", "v"], ["wo"]) if t5 else (["k_proj", "v_proj"], ["fc2"])
    return peft.IA3Config(task_type="SEQ_2_SEQ_LM", target_modules=[*attention, *forward], feedforward_modules=forward)


def _models(bundle: Path) -> list[str]:
    return [read_manifest(bundle).model.file, _record(bundle).encoder.file]


def _record(bundle: Path) -> EncoderDecoderRecord:
    generation = read_manifest(bundle).generation
    assert isinstance(generation, EncoderDecoderRecord)
    return generation


RULES: dict[str, dict[str, Any]] = {
    "forced": {"forced_bos_token_id": 11, "forced_eos_token_id": 3},
    "suppressed": {"suppress_tokens": [5, 9, 30], "begin_suppress_tokens": [3, 12]},
    "suppressed after a forced one": {"forced_bos_token_id": 11, "begin_suppress_tokens": [40, 41, 42, 43]},
    "lengths": {"min_length": 9},
    "new": {"min_new_tokens": 7},
    "ngrams": {"no_repeat_ngram_size": 2},
    "unigrams": {"no_repeat_ngram_size": 1, "bad_words_ids": [[20], [3]]},
    "penalty": {"repetition_penalty": 1.7},
    "all": {"min_length": 6, "no_repeat_ngram_size": 3, "forced_bos_token_id": 4, "forced_eos_token_id": [3, 2]},
}


@pytest.mark.parametrize("said", RULES.values(), ids=RULES)
def test_the_generation_configuration_holds(one: tuple[Path, dict[str, Path]], said: Any, tmp_path: Path) -> None:
    folder, adapters = one
    base = Path(shutil.copytree(folder / "base", tmp_path / "base"))
    settings = json.loads((base / "generation_config.json").read_text())
    # A token that comes often ends texts, so that lengths and ends count.
    plain = np.concatenate(
        edgeadapt.load(folder / "bundle").generate(SOURCES, adapter="wide", max_new_tokens=NEW, eos=[])
    )
    often = int(np.bincount(plain).argmax())
    (base / "generation_config.json").write_text(json.dumps({**settings, **said, "eos_token_id": [3, often]}))
    bundle = Path(shutil.copytree(folder / "bundle", tmp_path / "bundle"))
    manifest = read_manifest(bundle)
    with bases.quiet():
        opened = bases.load(str(base), TASK)
    assert isinstance(manifest.generation, EncoderDecoderRecord)
    generation = replace(manifest.generation, rules=guidance.rules(opened), eos_ids=guidance.ends(opened))
    write_manifest(bundle, replace(manifest, generation=generation))
    session = edgeadapt.load(bundle)
    model = live(base, adapters["wide"])
    for got, source in zip(session.generate(SOURCES, adapter="wide", max_new_tokens=NEW), SOURCES, strict=True):
        np.testing.assert_array_equal(got, generated(model, source))


def test_a_decoder_begins_with_what_it_is_given(one: tuple[Path, dict[str, Path]]) -> None:
    import torch

    folder, adapters = one
    session, model = edgeadapt.load(folder / "bundle"), live(folder / "base", adapters["narrow"])
    begun = [*_record(folder / "bundle").start_ids, 17, 42]  # transformers puts the start token before, where it lacks
    found = session.generate(SOURCES, adapter="narrow", max_new_tokens=NEW, decoder_input_ids=begun)
    for got, source in zip(found, SOURCES, strict=True):
        expected = generated(model, source, decoder_input_ids=torch.tensor([begun]))
        np.testing.assert_array_equal(got, expected)


REFUSED: dict[str, Any] = {
    "encoder_no_repeat_ngram_size": 2,
    "exponential_decay_length_penalty": [3, 1.5],
    "sequence_bias": [[[5], 2.0]],
    "bad_words_ids": [[4, 5]],
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_device_does_not_do_is_refused_by_name(
    one: tuple[Path, dict[str, Path]], name: str, tmp_path: Path
) -> None:
    folder, adapters = one
    base = Path(shutil.copytree(folder / "base", tmp_path / "base"))
    settings = json.loads((base / "generation_config.json").read_text())
    (base / "generation_config.json").write_text(json.dumps({**settings, name: REFUSED[name]}))
    with pytest.raises(UnsupportedError, match=f"asks for what a device doesn't do:\n  {name}"):
        export(base, adapters, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("kind", ["PrefixTuningConfig", "PromptTuningConfig"])
def test_prompts_are_refused_by_name(one: tuple[Path, dict[str, Path]], kind: str, tmp_path: Path) -> None:
    import peft

    folder, _ = one
    config = getattr(peft, kind)(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=4)
    adapter = tiny.peft_adapter(folder / "base", tmp_path / "prompt", config, TASK)
    with pytest.raises(UnsupportedError, match="puts tokens or keys before"):
        export(folder / "base", {"prompt": adapter}, tmp_path / "bundle", task=TASK)
    with pytest.raises(UnsupportedError, match="puts tokens or keys before"):
        add(folder / "bundle", adapter, "prompt")

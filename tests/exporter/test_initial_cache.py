"""Prefixes and prompts of decoders as what a cache begins with: against live PEFT, mixed, added, merged, refused."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgeadapt
from edgeadapt import bundle as bundles
from edgeadapt.errors import AdapterError, BindingError, EdgeAdaptError, UnsupportedError
from edgeadapt.exporter.adding import add
from edgeadapt.exporter.merging import merge
from edgeadapt.exporter.pipeline import export
from edgeadapt.runtime.verify import verify
from tests import tiny
from tests.exporter import Tensors, altered, snapshot
from tests.exporter.starts import KINDS, TASK, all_kinds, generated, start

MAX_ERROR = 1e-5
LEAST_EFFECT = 0.05
NEW = 12
PROMPTS = [[20, 30, 40, 50, 60, 25, 35, 45], [70, 80, 90], [100, 110, 120, 130, 140], [60, 61], [33, 44, 55, 66]]

GROUPED = {"num_key_value_heads": 2}
WIDE_HEADS = {**GROUPED, "head_dim": 16}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("gpt2", {}),
    "gpt_neo, a window": ("gpt_neo", {"attention_types": [[["global", "local"], 1]], "window_size": 4}),
    "opt": ("opt", {"word_embed_proj_dim": tiny.HIDDEN}),
    "bloom": ("bloom", {}),
    "llama": ("llama", GROUPED),
    "mistral, a window": ("mistral", {**GROUPED, "sliding_window": 6}),
    "qwen2": ("qwen2", GROUPED),
    "gemma2, a window": ("gemma2", {**WIDE_HEADS, "sliding_window": 6}),
}
"""Learned positions, ALiBi, rotations, grouped and wide heads; windows are shorter than the longest prefix."""

PADDED = [("gpt2", "prefix"), ("opt", "prefix"), ("opt", "prompt"), ("bloom", "p_tuning"), ("qwen2", "projected")]
"""Where PEFT says of a padded row what it says of the row alone. Not of prompts in families that are given positions,
which PEFT drops, so that it counts the padding; nor in windows, which count it too."""


def base_of(folder: Path, which: str) -> Path:
    family, options = FAMILIES[which]
    return tiny.base(folder, family, TASK, **options)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama with an adapter of every kind beside it, and one of GPT-2."""
    folder = tmp_path_factory.mktemp("starts")
    all_kinds(base_of(folder / "base", "llama"), folder, "llama")
    start(base_of(folder / "gpt2", "gpt2"), folder / "other", "prefix")
    return folder


@pytest.fixture(scope="module")
def bundle(home: Path) -> Path:
    return export(home / "base", {"lora": home / "lora", "prefix": home / "prefix"}, home / "bundle").path


@pytest.mark.parametrize("which", FAMILIES)
def test_a_text_goes_on_as_with_peft(which: str, tmp_path: Path) -> None:
    base = base_of(tmp_path / "base", which)
    adapters = all_kinds(base, tmp_path, FAMILIES[which][0])

    result = export(base, adapters, tmp_path / "bundle")

    assert [report.name for report in result.reports] == ["none", "lora", *KINDS, "mixed rows"]
    for report in result.reports:
        assert report.max_abs_error <= MAX_ERROR
        assert report.name == "none" or report.effect >= max(LEAST_EFFECT, 1000 * report.max_abs_error)
    session = edgeadapt.load(result.path)
    for names in ([*KINDS, None], ["lora", None, "prefix", "projected", "prompt"]):
        mixed = session.generate(PROMPTS, adapter=names, max_new_tokens=NEW, eos=[])
        for got, prompt, name in zip(mixed, PROMPTS, names, strict=True):
            if name is None:
                expected = session.generate([prompt], max_new_tokens=NEW, eos=[])[0].tolist()
            else:
                (expected,) = generated(base, adapters[name], [prompt], NEW)
            assert got.tolist() == expected


@pytest.mark.parametrize(("which", "kind"), PADDED)
def test_a_batch_padded_on_the_left_goes_on_as_with_peft(which: str, kind: str, tmp_path: Path) -> None:
    base = base_of(tmp_path / "base", which)
    adapter = start(base, tmp_path / kind, kind)
    session = edgeadapt.load(export(base, {kind: adapter}, tmp_path / "bundle").path)

    got = session.generate(PROMPTS, adapter=kind, max_new_tokens=NEW, eos=[])

    assert [row.tolist() for row in got] == generated(base, adapter, PROMPTS, NEW)


def test_what_is_written_has_no_slots_and_says_how_a_text_begins(bundle: Path) -> None:
    record = bundles.read_adapter(bundle / "adapters" / "prefix")
    session = edgeadapt.load(bundle)

    assert record.method == "prefix"
    assert record.sites == {bundles.CACHE: {"prefix": {"rank": 5}}}
    assert {slot.method for slot in session.manifest.slots} == {"lora"}
    held = session.adapter("prefix").cache
    assert {name: array.shape for name, array in held.items()} == {
        f"past_key_values.{layer}.{role}": (1, 2, 5, 8) for layer in range(tiny.LAYERS) for role in ("key", "value")
    }
    assert verify(session, "prefix").passed


def test_a_subgraph_gives_the_cache_and_runs_alone(bundle: Path) -> None:
    import onnxruntime

    alone = onnxruntime.InferenceSession(bundle / "adapters" / "prefix" / "subgraph.onnx")
    held = edgeadapt.load(bundle).adapter("prefix").cache

    got = dict(zip(held, alone.run(list(held), {}), strict=True))

    for name, array in held.items():
        np.testing.assert_array_equal(got[name], array)


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_that_is_added_without_pytorch_is_what_is_exported(kind: str, home: Path, tmp_path: Path) -> None:
    folder = export(home / "base", {"lora": home / "lora"}, tmp_path / "bundle").path
    before = snapshot(folder)

    report = add(folder, home / kind, "new")

    assert report.max_abs_error <= MAX_ERROR
    assert report.effect >= LEAST_EFFECT
    assert {path: each for path, each in snapshot(folder).items() if "adapters/new" not in path} == before
    parity = bundles.read_adapter(folder / "adapters" / "new").parity
    assert parity is not None and parity.reference.startswith("the base begun with its cache in onnxruntime")
    session = edgeadapt.load(folder)
    got = session.generate(PROMPTS[:2], adapter=["new", "lora"], max_new_tokens=NEW, eos=[])
    assert got[0].tolist() == generated(home / "base", home / kind, PROMPTS[:1], NEW)[0]
    assert got[1].tolist() == generated(home / "base", home / "lora", PROMPTS[1:2], NEW)[0]


def test_a_converted_adapter_goes_into_another_bundle(bundle: Path, home: Path, tmp_path: Path) -> None:
    folder = export(home / "base", {}, tmp_path / "bundle", task=TASK).path

    report = add(folder, bundle / "adapters" / "prefix", "moved")

    assert report.max_abs_error <= MAX_ERROR
    got = edgeadapt.load(folder).generate(PROMPTS[:1], adapter="moved", max_new_tokens=NEW, eos=[])
    assert got[0].tolist() == generated(home / "base", home / "prefix", PROMPTS[:1], NEW)[0]


def test_there_is_nothing_to_fold_and_a_switchable_model_is_fed(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"prefix: a cache that texts begin with(.|\n)*fed, not folded"):
        merge(bundle, ["lora", "prefix"], tmp_path / "folded.onnx", mode="fold")
    assert not (tmp_path / "folded.onnx").exists()

    reports = merge(bundle, ["lora", "prefix"], tmp_path / "two.onnx", mode="switch")

    assert [report.name for report in reports] == ["lora", "prefix"]
    assert all(report.max_abs_error <= MAX_ERROR for report in reports)


def test_loras_can_t_stand_in_for_it(home: Path, tmp_path: Path) -> None:
    from edgeadapt.exporter.pipeline import AdapterSource

    with pytest.raises(UnsupportedError, match="changes no weights that a LoRA could stand in for"):
        export(home / "base", {"prefix": AdapterSource(home / "prefix", as_lora=4)}, tmp_path / "bundle")


def shorter(tensors: Tensors) -> Tensors:
    return {name: array[:, : array.shape[1] // tiny.LAYERS] for name, array in tensors.items()}


def narrower(tensors: Tensors) -> Tensors:
    return {name: array[:, :-8] for name, array in tensors.items()}


def longer(tensors: Tensors) -> Tensors:
    return {name: np.repeat(array, 60, axis=0) for name, array in tensors.items()}


BAD: dict[str, tuple[str, Any, dict[str, Any], type[EdgeAdaptError], str]] = {
    "a layer too few": (
        "prefix",
        shorter,
        {},
        BindingError,
        r"got \(5, 32\), expected \(5, 64\): keys and values of 2",
    ),
    "another length": ("prefix", None, {"num_virtual_tokens": 6}, BindingError, r"got \(5, 64\), expected \(6, 64\)"),
    "another task": ("prefix", None, {"task_type": "SEQ_CLS"}, BindingError, "PEFT lets texts begin with it only for"),
    "no task": ("prompt", None, {"task_type": None}, BindingError, "PEFT lets texts begin with it only for CAUSAL_LM"),
    "an encoder-decoder's": ("prompt", None, {"num_transformer_submodules": 2}, BindingError, "encoder-decoders"),
    "another width": ("prompt", narrower, {}, BindingError, "width of 24, the base's embeddings 32"),
    "no room for a text": (
        "p_tuning",
        longer,
        {"num_virtual_tokens": 420},
        BindingError,
        "420 virtual tokens leave no room in the model's 128 positions",
    ),
    "a prefix without room for a text": (
        "prefix",
        longer,
        {"num_virtual_tokens": 300},
        BindingError,
        "300 tokens leave no room for a text in the model's 128 positions",
    ),
    "no tensor": ("prefix", lambda _: {"x": np.zeros(1, np.float32)}, {}, BindingError, "prompt_embeddings: missing"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_refused_by_name_and_nothing_changes(
    case: str, bundle: Path, home: Path, tmp_path: Path
) -> None:
    kind, change, config, error, words = BAD[case]
    source = altered(home / kind, tmp_path / "bad", change, **config)
    before = snapshot(bundle)

    with pytest.raises(error, match=words):
        add(bundle, source, "bad")

    assert snapshot(bundle) == before


def test_another_bases_prefix_is_refused(home: Path, bundle: Path) -> None:
    with pytest.raises(BindingError, match=r"got \(5, 128\), expected \(5, 64\): .* 2 heads of 8"):
        add(bundle, home / "other", "other")


def test_a_prefix_whose_heads_a_base_does_not_have_is_refused(tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base", "falcon", TASK, multi_query=True)

    with pytest.raises(BindingError, match=r"expected \(5, 32\): keys and values of 2 layers, 1 heads of 8"):
        export(base, {"prefix": start(base, tmp_path / "prefix", "prefix")}, tmp_path / "bundle")


def test_a_bundle_of_another_task_takes_no_such_adapter(home: Path, bundle: Path, tmp_path: Path) -> None:
    folder = export(home / "base", {}, tmp_path / "bundle", task="feature-extraction").path
    converted = bundle / "adapters" / "prefix"
    record = bundles.read_adapter(converted)

    with pytest.raises(EdgeAdaptError, match="task_type = 'CAUSAL_LM': PEFT uses prefixes as they are only for"):
        add(folder, home / "prefix", "prefix")
    # As if the other task's base had no other weights.
    moved = Path(shutil.copytree(converted, tmp_path / "moved"))
    bundles.write_adapter(moved, replace(record, fingerprint=bundles.read_manifest(folder).fingerprint))
    with pytest.raises(BindingError, match="this model generates no text, so it has no cache"):
        add(folder, moved, "prefix")
    with pytest.raises(AdapterError, match=r"the model has no slots past_key_values\.0\.key"):
        edgeadapt.load(folder).add_adapter(moved)

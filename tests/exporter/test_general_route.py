"""Every PEFT type that has no reader of its own: PEFT merges it, and its change is a LoRA; against live PEFT."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
from safetensors.numpy import load_file, save_file

from edgeadapt import bundle, methods
from edgeadapt.adapter import Array
from edgeadapt.errors import BindingError, CheckpointError, EdgeAdaptError, ParityError, UnsupportedError
from edgeadapt.exporter import live, merged
from edgeadapt.exporter.adding import add
from edgeadapt.exporter.merging import merge
from edgeadapt.exporter.pipeline import AdapterSource, export
from tests import tiny

MAX_ERROR = 1e-5
LEAST_EFFECT = 0.05
TARGETS = {
    "bert": ["query", "value", "intermediate.dense"],
    "llama": ["q_proj", "v_proj"],
    "gpt2": ["c_attn", "c_fc"],
}

TYPES: dict[str, dict[str, Any]] = {
    "adamss": {},
    "beft": {},
    "c3a": {"block_size": 16},
    "deft": {},
    "delora": {"r": 3},
    "fourierft": {"n_frequency": 60, "scaling": 20.0},
    "frod": {},
    "glora": {},
    "gralora": {"r": 4, "alpha": 1, "gralora_k": 2},
    "hira": {"r": 4},
    "hra": {"r": 4},
    "miss": {"r": 4},
    "osf": {},
    "peanut": {},
    "psoft": {"r": 8},
    "pvera": {"r": 16},
    "randlora": {"r": 4, "randlora_alpha": 1},
    "road": {"variant": "road_1", "group_size": 16},
    "shira": {"r": 3},
    "supertuning": {},
    "tinylora": {},
    "unilora": {"r": 4},
    "vblora": {"r": 2, "num_vectors": 20, "vector_length": 16},
    "waveft": {"n_frequency": 60, "scaling": 2.0},
}
"""PEFT's types that can be merged and have no reader here, with options that fit a tiny model."""
LINEAR_ALONE = {
    "adamss", "beft", "c3a", "delora", "glora", "hra", "miss", "osf", "peanut", "psoft", "road", "shira", "supertuning",
}  # fmt: skip
"""Types that PEFT doesn't put on GPT-2's transposed layers."""
BIAS_ALONE = {"beft"}
"""Types that train nothing but biases, which Llama lacks."""
MOST_TOGETHER = 8


def types_of(family: str) -> list[str]:
    known = peft.mapping.PEFT_TYPE_TO_CONFIG_MAPPING
    lacks = {"gpt2": LINEAR_ALONE, "llama": BIAS_ALONE}.get(family, set())
    return [name for name in TYPES if name not in lacks and name.upper() in known]


def config_of(name: str, family: str, **more: Any) -> Any:
    config: Any = peft.mapping.PEFT_TYPE_TO_CONFIG_MAPPING[peft.PeftType(name.upper())]
    options = {**TYPES[name], **more}
    if family == "gpt2" and hasattr(config, "fan_in_fan_out"):
        options["fan_in_fan_out"] = True
    return config(target_modules=TARGETS[family], **options)


def test_no_type_that_can_be_merged_is_left_out() -> None:
    tuners = peft.mapping.PEFT_TYPE_TO_TUNER_MAPPING
    mergeable = {str(each.value) for each, tuner in tuners.items() if hasattr(tuner, "merge_and_unload")}
    refused = {"LILY", "SHADOW", *merged.ROUTERS}
    assert mergeable - set(methods.readers()) - refused == {name.upper() for name in TYPES}


@pytest.mark.parametrize(
    ("family", "start"),
    [(family, start) for family in TARGETS for start in range(0, len(types_of(family)), MOST_TOGETHER)],
)
def test_what_peft_merges_says_what_peft_says(family: str, start: int, tmp_path: Path) -> None:
    """Several types in one bundle, and a LoRA, so that rows of a batch have other types."""
    base = tiny.base(tmp_path / "base", family)
    names = types_of(family)[start : start + MOST_TOGETHER]
    adapters = {
        name: tiny.peft_adapter(base, tmp_path / name, config_of(name, family), "feature-extraction", seed=seed)
        for seed, name in enumerate(names)
    }
    lora = peft.LoraConfig(r=2, target_modules=TARGETS[family], fan_in_fan_out=family == "gpt2")
    adapters["lora"] = tiny.peft_adapter(base, tmp_path / "lora", lora, "feature-extraction")

    result = export(base, adapters, tmp_path / "bundle", task="feature-extraction")

    assert [report.name for report in result.reports] == ["none", *adapters, "mixed rows"]
    for report in result.reports:
        assert report.max_abs_error <= MAX_ERROR, report
        if report.name != "none":
            assert report.effect >= LEAST_EFFECT, report
            assert report.max_abs_error < 0.001 * report.effect
    for name in names:
        assert bundle.read_adapter(result.path / "adapters" / name).method == name
    (folded,) = merge(result.path, names[:1], tmp_path / "folded.onnx", mode="fold")
    assert folded.max_abs_error <= MAX_ERROR


def hra(**options: Any) -> peft.HRAConfig:
    return peft.HRAConfig(r=4, target_modules=["query"], **options)


def exported(base: Path, adapter: Path | AdapterSource, folder: Path, task: str = "text-classification") -> Path:
    """Exports one adapter, holds it to PEFT, and returns its folder in the bundle."""
    result = export(base, {"one": adapter}, folder / "bundle", task=task)
    report = next(report for report in result.reports if report.name == "one")
    assert report.max_abs_error <= MAX_ERROR
    assert report.effect >= LEAST_EFFECT
    return result.path / "adapters" / "one"


def test_the_rank_is_that_of_the_change(tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base")
    adapter = tiny.peft_adapter(base, tmp_path / "one", hra(), "feature-extraction")

    record = bundle.read_adapter(exported(base, adapter, tmp_path, "feature-extraction"))

    assert {facts["lora"]["rank"] for facts in record.sites.values()} == {4}


def test_a_head_and_biases_come_along(tiny_base: Path, tmp_path: Path) -> None:
    config = hra(bias="all", task_type="SEQ_CLS")
    adapter = tiny.peft_adapter(tiny_base, tmp_path / "one", config, "text-classification", 3)

    record = bundle.read_adapter(exported(tiny_base, adapter, tmp_path))

    assert record.labels == ("LABEL_0", "LABEL_1", "LABEL_2")
    assert set(record.sites["classifier"]) == {"modules_to_save"}
    assert set(record.sites["bert.encoder.layer.0.attention.self.query"]) == {"lora", "bias"}
    assert set(record.sites["bert.encoder.layer.0.output.LayerNorm"]) == {"bias"}


@pytest.mark.parametrize("labels", [2, 3])
def test_a_base_with_a_head_of_its_own_takes_another(labels: int, tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base", task="text-classification", num_labels=2)
    adapter = tiny.peft_adapter(base, tmp_path / "one", hra(task_type="SEQ_CLS"), "text-classification", labels)
    names = tuple("abc"[:labels])

    record = bundle.read_adapter(exported(base, AdapterSource(adapter, names), tmp_path))

    assert record.labels == names
    assert set(record.sites["classifier"]) == {"modules_to_save"}


def test_norms_that_were_trained_whole_come_along(tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base")
    adapter = tiny.peft_adapter(base, tmp_path / "one", hra(modules_to_save=["LayerNorm"]), "feature-extraction")

    record = bundle.read_adapter(exported(base, adapter, tmp_path, "feature-extraction"))

    assert set(record.sites["encoder.layer.0.output.LayerNorm"]) == {"modules_to_save"}


@pytest.mark.parametrize(
    ("trained", "task"), [("feature-extraction", "fill-mask"), ("fill-mask", "feature-extraction")]
)
def test_an_adapter_of_a_model_without_this_head_finds_its_modules(trained: str, task: str, tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base", task="fill-mask")
    adapter = tiny.peft_adapter(base, tmp_path / "one", hra(), trained)

    exported(base, adapter, tmp_path, task)


@pytest.mark.parametrize("targets", ["decoder", "word_embeddings"])
def test_what_shares_a_tensor_with_a_change_stays_as_it_is(targets: str, tmp_path: Path) -> None:
    """The decoder is the table of the embeddings; PEFT's merge changes both, and its layers one of them."""
    base = tiny.base(tmp_path / "base", task="fill-mask")
    config = peft.HiraConfig(r=2, target_modules=[targets])
    adapter = tiny.peft_adapter(base, tmp_path / "one", config, "fill-mask")

    record = bundle.read_adapter(exported(base, adapter, tmp_path, "fill-mask"))

    assert [site.rpartition(".")[2] for site in record.sites] == [targets]


def altered(source: Path, folder: Path, change: Callable[[str, Array], dict[str, Array]], **config: Any) -> Path:
    """Copies an adapter, with other tensors for each of its own, and other options."""
    shutil.copytree(source, folder)
    tensors = load_file(folder / "adapter_model.safetensors")
    changed = {new: array for name, tensor in tensors.items() for new, array in change(name, tensor).items()}
    save_file(changed, folder / "adapter_model.safetensors")
    settings = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(settings | config))
    return folder


@pytest.fixture(scope="module")
def classifier(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of a type that has no reader. Read-only."""
    folder = tmp_path_factory.mktemp("classifier") / "adapter"
    return tiny.peft_adapter(tiny_base, folder, hra(task_type="SEQ_CLS"), "text-classification", 3)


def test_every_tensor_must_be_there_and_have_a_place(classifier: Path, tiny_base: Path, tmp_path: Path) -> None:
    """PEFT ignores a tensor that it has no place for, and says of a missing one only a warning."""

    def move(name: str, tensor: Array) -> dict[str, Array]:
        return {name.replace("layer.0", "layer.7"): tensor}

    with pytest.raises(CheckpointError) as caught:
        export(tiny_base, {"one": altered(classifier, tmp_path / "moved", move)}, tmp_path / "bundle")
    message = str(caught.value)
    assert "layer.0.attention.self.query.hra_u: got none, and PEFT leaves it untrained" in message
    assert "layer.7.attention.self.query.hra_u: PEFT has no place for it" in message


def test_a_head_that_nobody_trained_is_never_shipped(classifier: Path, tiny_base: Path, tmp_path: Path) -> None:
    def drop(name: str, tensor: Array) -> dict[str, Array]:
        return {} if "classifier" in name else {name: tensor}

    headless = altered(classifier, tmp_path / "headless", drop, task_type=None, modules_to_save=None)
    with pytest.raises(BindingError, match="classifier: the base has no weights here, and the adapter brings none"):
        export(tiny_base, {"one": headless}, tmp_path / "bundle", task="text-classification")


def test_a_merge_that_says_something_else_is_refused_by_its_method(tmp_path: Path) -> None:
    """PVeRA can draw its change anew for every input."""
    base = tiny.base(tmp_path / "base")
    config = config_of("pvera", "bert", sample_at_inference=True)
    adapter = tiny.peft_adapter(base, tmp_path / "one", config, "feature-extraction")

    with pytest.raises(ParityError, match=r"merge of this PVERA says something else(.|\n)*no fixed change of weights"):
        export(base, {"one": adapter}, tmp_path / "bundle", task="feature-extraction")


def test_what_peft_cannot_merge_is_refused_with_peft_s_reason(tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base")
    adapter = tiny.peft_adapter(base, tmp_path / "one", peft.LilyConfig(target_modules=["query"]), "feature-extraction")

    with pytest.raises(UnsupportedError, match="PEFT can't merge this LILY: This method is not supported for Lily"):
        export(base, {"one": adapter}, tmp_path / "bundle", task="feature-extraction")


def test_a_lora_that_stands_in_is_measured_and_said(tmp_path: Path) -> None:
    """Rank 12 of 16 is near enough; the error is what PyTorch says, and is stored beside the parity."""
    base = tiny.base(tmp_path / "base")
    adapter = tiny.lora_adapter(base, tmp_path / "one", "feature-extraction", rank=16, targets=["query", "value"])

    result = export(base, {"one": AdapterSource(adapter, as_lora=12)}, tmp_path / "bundle", task="feature-extraction")

    facts = bundle.read_adapter(result.path / "adapters" / "one").source["as_lora"]
    assert (facts["rank"], facts["method"]) == (12, "lora")
    assert 0.5 < facts["kept"] < 1
    assert 0.001 < facts["max_abs_error"] < 0.5 * facts["effect"]
    (note,) = [note for note in result.notes if note.startswith("one: ")]
    assert f"{facts['kept']:.2%} of its change" in note
    report = next(report for report in result.reports if report.name == "one")
    assert report.max_abs_error <= MAX_ERROR  # against PyTorch with the LoRAs that stand in


def test_a_lora_of_enough_rank_stands_in_without_a_loss(tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base")
    config = peft.IA3Config(target_modules=["key"], feedforward_modules=[])
    adapter = tiny.peft_adapter(base, tmp_path / "one", config, "feature-extraction")

    result = export(
        base, {"one": AdapterSource(adapter, as_lora=tiny.HIDDEN)}, tmp_path / "bundle", task="feature-extraction"
    )

    record = bundle.read_adapter(result.path / "adapters" / "one")
    assert record.parity is not None
    assert record.parity.reference.endswith(f"with LoRAs of rank {tiny.HIDDEN} in place of the ia3")
    assert record.source["as_lora"]["max_abs_error"] < 1e-5
    assert record.method == "lora"
    assert record.source["as_lora"]["method"] == "ia3"


def test_a_rank_that_is_too_small_is_refused_with_one_that_is_not(tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base")
    adapter = tiny.lora_adapter(base, tmp_path / "one", "feature-extraction", rank=16, targets=["query", "value"])

    def attempt(rank: int) -> None:
        export(base, {"one": AdapterSource(adapter, as_lora=rank)}, tmp_path / "bundle", task="feature-extraction")

    with pytest.raises(ParityError, match=r"LoRAs of rank 1 keep(.|\n)*Rank (\d+) would be near enough") as caught:
        attempt(1)
    assert not (tmp_path / "bundle").exists()
    attempt(int(re.findall(r"Rank (\d+) would", str(caught.value))[0]))


def test_what_is_no_change_of_weights_is_refused(tiny_base: Path, tmp_path: Path) -> None:
    adapter = tiny.lora_adapter(tiny_base, tmp_path / "one", num_labels=3)
    config = json.loads((adapter / "adapter_config.json").read_text())
    for kind, words in (
        ("ADAPTION_PROMPT", "ADAPTION_PROMPT is no change of weights: PEFT can't merge it"),
        ("POLY", "POLY mixes its parts anew for every input"),
        ("NOT_YET", "has no type 'NOT_YET'"),
    ):
        (adapter / "adapter_config.json").write_text(json.dumps({**config, "peft_type": kind}))
        with pytest.raises(EdgeAdaptError, match=words):
            export(tiny_base, {"one": adapter}, tmp_path / "bundle", task="text-classification")


def test_add_says_that_such_a_type_needs_an_export(tiny_base: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    config = peft.HRAConfig(r=4, target_modules=["query"], task_type="SEQ_CLS")
    adapter = tiny.peft_adapter(tiny_base, tmp_path / "one", config, "text-classification", 3)

    with pytest.raises(UnsupportedError, match=r"'HRA' is not supported(.|\n)*export it with the base"):
        add(tiny_bundle, adapter, "one")


def test_an_adapter_of_full_rank_is_told_to_be_big(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "BIG", 10_000)
    base = tiny.base(tmp_path / "base")
    full = tiny.peft_adapter(base, tmp_path / "full", config_of("c3a", "bert"), "feature-extraction")
    thin = tiny.lora_adapter(base, tmp_path / "thin", "feature-extraction", rank=20, targets=TARGETS["bert"])

    result = export(base, {"full": full, "thin": thin}, tmp_path / "bundle", task="feature-extraction")

    (note,) = result.notes
    assert re.fullmatch(r"full: .* of high rank, 0\.\d MB; --as-lora 16 would make them 0\.\d MB and keep .*", note)

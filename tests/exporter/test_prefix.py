"""Prefix tuning in bundles, against live PEFT and the live `adapters` library: alone, mixed, folded, added, refused."""

from __future__ import annotations

import importlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
import transformers

import edgeadapt
from edgeadapt.adapter import Array
from edgeadapt.errors import BindingError, EdgeAdaptError, UnsupportedError
from edgeadapt.exporter import bare
from edgeadapt.exporter.adding import add
from edgeadapt.exporter.merging import merge
from edgeadapt.exporter.pipeline import export
from edgeadapt.methods import adapterhub_prefix
from edgeadapt.methods import prefix as prefixes
from edgeadapt.runtime.verify import read_parity
from tests import hub, tiny

MAX_ERROR = 1e-5
LEAST_EFFECT = 0.05
ADAPTERS_LIBRARY = pytest.mark.skipif(
    importlib.util.find_spec("adapters") is None, reason="AdapterHub's library is not there (it needs transformers 4)"
)
CASES = [
    ("bert", "text-classification"),
    ("bert", "token-classification"),
    ("bert", "feature-extraction"),
    ("bert", "question-answering"),
    ("roberta", "token-classification"),
    ("gpt2", "token-classification"),
    ("gpt2", "feature-extraction"),
    ("llama", "text-classification"),
    ("llama", "token-classification"),
]
LORA: dict[str, dict[str, Any]] = {
    "gpt2": {"targets": "c_attn", "fan_in_fan_out": True},
    "llama": {"targets": "k_proj"},
}


def base_of(folder: Path, family: str = "bert", task: str = "feature-extraction") -> Path:
    """Writes a base with room for a prefix beside the longest sequence."""
    return tiny.base(folder, family, task, **{"n_positions" if family == "gpt2" else "max_position_embeddings": 160})


def prefix(base: Path, folder: Path, task: str, length: int = 5, seed: int = 0, **options: Any) -> Path:
    options = {"task_type": tiny.PEFT_TASKS[task], "num_virtual_tokens": length, **options}
    return tiny.peft_adapter(base, folder, peft.PrefixTuningConfig(**options), task, seed=seed)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return base_of(tmp_path_factory.mktemp("prefix") / "base")


@pytest.fixture(scope="module")
def adapters(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two prefixes of different lengths and a LoRA."""
    home, task = tmp_path_factory.mktemp("prefixes"), "feature-extraction"
    return {
        "short": prefix(base, home / "short", task, 3, seed=1),
        "long": prefix(base, home / "long", task, 9, seed=2),
        "lora": tiny.lora_adapter(base, home / "lora", task, seed=3),
    }


@pytest.fixture(scope="module")
def bundle(base: Path, adapters: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(base, adapters, tmp_path_factory.mktemp("bundle") / "bundle").path


def case_of(bundle: Path) -> dict[str, Array]:
    from edgeadapt.bundle import read_adapter

    home = bundle / "adapters" / "none"
    return read_parity(home, read_adapter(home))["input"]


@pytest.mark.parametrize(("family", "task"), CASES)
def test_a_prefix_says_what_peft_says(family: str, task: str, tmp_path: Path) -> None:
    base = base_of(tmp_path / "base", family, task)
    lora = LORA.get(family, {"targets": "query"})
    made = {
        "short": prefix(base, tmp_path / "short", task, 3, seed=1),
        "projected": prefix(base, tmp_path / "projected", task, 7, seed=2, prefix_projection=True),
        "lora": tiny.lora_adapter(base, tmp_path / "lora", task, seed=3, **lora),
    }

    result = export(base, made, tmp_path / "bundle", task=task)

    assert [report.name for report in result.reports] == ["none", *made, "mixed rows"]
    for report in result.reports:
        assert report.max_abs_error <= MAX_ERROR, report
        if report.name != "none":
            assert report.effect >= LEAST_EFFECT, report
            assert report.max_abs_error < 0.001 * report.effect
    for name in made:
        (folded,) = merge(result.path, [name], tmp_path / f"{name}.onnx", mode="fold")
        assert folded.max_abs_error <= MAX_ERROR


def test_a_base_with_slots_for_prefixes_answers_as_without_bit_for_bit(bundle: Path) -> None:
    inputs = case_of(bundle)
    plain = bare.run(bare.open_model(bundle / "base.onnx"), inputs)
    session = edgeadapt.load(bundle)

    for name, array in session.run(inputs).items():
        np.testing.assert_array_equal(array, plain[name])


def test_rows_with_and_without_prefixes_share_one_run(bundle: Path) -> None:
    """No slot takes one array for the whole batch: the positions' shift, too, is each row's own."""
    session = edgeadapt.load(bundle)
    inputs = case_of(bundle)
    names = ["short", None, "lora", "long"]
    rows = [names[index % 4] for index in range(len(inputs["input_ids"]))]

    assert {slot.shape[0] for slot in session.manifest.slots} == {"rows"}
    mixed = session.run(inputs, adapter=rows)["last_hidden_state"]
    alone = {name: session.run(inputs, adapter=name)["last_hidden_state"] for name in names}
    for index, name in enumerate(rows):
        np.testing.assert_allclose(mixed[index], alone[name][index], atol=3e-6)
    assert np.abs(np.asarray(alone["short"]) - alone["long"]).max() > LEAST_EFFECT


def test_a_prefix_is_added_to_a_bundle_that_had_none(base: Path, adapters: dict[str, Path], tmp_path: Path) -> None:
    folder = export(base, {"lora": adapters["lora"]}, tmp_path / "bundle").path
    before = edgeadapt.load(folder).run(case_of(folder), adapter="lora")["last_hidden_state"]

    report = add(folder, adapters["long"], "long")

    assert report.max_abs_error <= MAX_ERROR
    assert report.effect >= LEAST_EFFECT
    session = edgeadapt.load(folder)
    np.testing.assert_array_equal(session.run(case_of(folder), adapter="lora")["last_hidden_state"], before)


def test_a_converted_prefix_moves_to_another_bundle_of_its_base(
    base: Path, bundle: Path, adapters: dict[str, Path], tmp_path: Path
) -> None:
    folder = export(base, {"lora": adapters["lora"]}, tmp_path / "bundle").path

    report = add(folder, bundle / "adapters" / "short", "short")

    assert report.max_abs_error <= MAX_ERROR


def test_prefixes_are_not_blended(bundle: Path) -> None:
    session = edgeadapt.load(bundle)
    with pytest.raises(EdgeAdaptError, match="prefix is no sum beside the base"):
        session.run(case_of(bundle), adapter={"short": 0.5, "lora": 0.5})


def test_a_sequence_that_leaves_a_prefix_no_positions_is_an_error(bundle: Path) -> None:
    session = edgeadapt.load(bundle)
    inputs = {name: np.ones((1, 158), np.int64) for name in case_of(bundle)}
    session.run(inputs)

    with pytest.raises(Exception, match="position_embeddings"):
        session.run(inputs, adapter="short")


@pytest.mark.parametrize("family", prefixes.WITHOUT)
def test_peft_itself_has_no_prefix_for_a_classifier_on_such_a_base(family: str, tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base", family)
    vision = family == "vit"
    kind = "AutoModelForImageClassification" if vision else "AutoModelForSequenceClassification"
    with tiny.quiet():
        model = getattr(transformers, kind).from_pretrained(base)
    inputs = {"pixel_values": torch.zeros(1, 3, tiny.IMAGE, tiny.IMAGE)} if vision else {"input_ids": torch.ones(1, 4)}
    sizes: dict[str, Any] = {"token_dim": tiny.HIDDEN, "num_layers": tiny.LAYERS, "num_attention_heads": tiny.HEADS}

    with pytest.raises((ValueError, AttributeError), match=r"past key values|vocab_size"):
        peft.get_peft_model(model, peft.PrefixTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=2, **sizes))(
            **{name: each if vision else each.long() for name, each in inputs.items()}
        )


@pytest.mark.parametrize("family", ["distilbert", "modernbert", "vit"])
def test_a_base_to_which_peft_hands_no_prefix_refuses_it_by_name(
    family: str, adapters: dict[str, Path], tmp_path: Path
) -> None:
    base = tiny.base(tmp_path / "base", family)
    with pytest.raises(BindingError, match=rf"a prefix: {family} takes none from PEFT(.|\n)*train a LoRA"):
        export(base, {"short": adapters["short"]}, tmp_path / "bundle", task="feature-extraction")


def test_rotations_by_more_than_angles_are_refused(tmp_path: Path) -> None:
    """YaRN also multiplies the rotated queries and keys by a factor, which a prefix's keys don't have."""
    scaling = {"rope_type": "yarn", "factor": 2.0, "rope_theta": 10000.0, "original_max_position_embeddings": 64}
    base = tiny.base(tmp_path / "base", "llama", rope_scaling=scaling)
    made = prefix(base, tmp_path / "made", "feature-extraction")
    with pytest.raises(BindingError, match="llama rotates its positions by more than constant angles"):
        export(base, {"made": made}, tmp_path / "bundle", task="feature-extraction")


def test_a_graph_without_one_operator_for_attention_refuses_a_prefix(
    base: Path, adapters: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(BindingError, match=r"no attention of this base is one operator(.|\n)*opset 23"):
        export(base, {"short": adapters["short"]}, tmp_path / "bundle", opset=18)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"task_type": None}, "task_type = None"),
        ({"num_transformer_submodules": 2}, "encoder-decoders"),
        ({"num_virtual_tokens": 4}, r"prompt_embeddings: got \(3, 128\), expected \(4, 128\)"),
    ],
)
def test_what_peft_would_not_do_is_refused_by_name(
    change: dict[str, Any], told: str, base: Path, adapters: dict[str, Path], tmp_path: Path
) -> None:
    import shutil

    folder = tmp_path / "changed"
    shutil.copytree(adapters["short"], folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, **change}))

    with pytest.raises(BindingError, match=told):
        export(base, {"short": folder}, tmp_path / "bundle", task="feature-extraction")


HUB: dict[str, dict[str, Any]] = {
    "flat": {"flat": True, "prefix_length": 6},
    "mlp": {"prefix_length": 4, "bottleneck_size": 16},
    "relu": {"prefix_length": 4, "bottleneck_size": 8, "non_linearity": "relu"},
    "gelu": {"prefix_length": 4, "bottleneck_size": 8, "non_linearity": "gelu"},
    "gelu_fast": {"prefix_length": 4, "bottleneck_size": 8, "non_linearity": "gelu_fast"},
    "leakyrelu": {"prefix_length": 4, "bottleneck_size": 8, "non_linearity": "LeakyReLU"},
    "sigmoid": {"prefix_length": 4, "bottleneck_size": 8, "non_linearity": "sigmoid"},
    "silu": {"prefix_length": 4, "bottleneck_size": 8, "non_linearity": "silu"},
    "left_out": {"flat": True, "prefix_length": 7, "leave_out": [0]},
    "gated": {"flat": True, "prefix_length": 5, "use_gating": True},
    "gates": {"prefix_length": 5, "bottleneck_size": 8, "use_gating": True, "shared_gating": False},
}


def hub_config(kind: str = "PrefixTuningConfig", **options: Any) -> Any:
    return getattr(importlib.import_module("adapters"), kind)(**options)


@ADAPTERS_LIBRARY
@pytest.mark.parametrize("family", ["bert", "roberta", "albert", "vit"])
def test_a_prefix_says_what_adapters_says(family: str, tmp_path: Path) -> None:
    task = "image-classification" if family == "vit" else "feature-extraction"
    base = tiny.base(tmp_path / "base", family, task)
    chosen = ["flat", "mlp", "relu", "left_out", "gated", "gates"]
    if family == "albert":
        chosen = ["flat", "mlp"]  # its layers share all weights
    made = {name: hub.adapter(base, tmp_path / name, hub_config(**HUB[name]), seed) for seed, name in enumerate(chosen)}
    if family == "bert":
        parts = hub_config(**HUB["gated"]), hub_config("LoRAConfig", r=2), hub_config("SeqBnConfig", use_gating=True)
        made["union"] = hub.adapter(
            base, tmp_path / "union", importlib.import_module("adapters").ConfigUnion(*parts), 9
        )

    result = export(base, made, tmp_path / "bundle", task=task, allow_pickle=True)

    for report in result.reports:
        assert report.max_abs_error <= MAX_ERROR, report
        if report.name != "none":
            assert report.effect >= LEAST_EFFECT, report
            assert report.max_abs_error < 0.001 * report.effect
    for name in made:
        (folded,) = merge(result.path, [name], tmp_path / f"{name}.onnx", mode="fold")
        assert folded.max_abs_error <= MAX_ERROR


@ADAPTERS_LIBRARY
@pytest.mark.parametrize(("family", "told"), [("distilbert", "adds 1"), ("gpt2", "hides a prefix")])
def test_prefixes_that_adapters_gets_wrong_are_refused(family: str, told: str, tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base", family)
    made = hub.adapter(base, tmp_path / "flat", hub_config(flat=True))
    with pytest.raises(BindingError, match=told):
        export(base, {"flat": made}, tmp_path / "bundle", task="feature-extraction", allow_pickle=True)


@ADAPTERS_LIBRARY
@pytest.mark.parametrize("name", HUB)
def test_layers_are_what_the_pool_of_adapters_gives(name: str) -> None:
    import torch

    config, pools = hub_config(**HUB[name]), importlib.import_module("adapters.methods.prefix_tuning")
    left_out = config["leave_out"]
    torch.manual_seed(0)
    pool = (pools.FlatPrefixTuning if config["flat"] else pools.PrefixTuning)(
        n_layers=3 - len(left_out), n_heads=2, input_size=12, config=config, n_embd_per_head=5
    )
    with torch.no_grad():
        live = pool(1)
    tensors = {key: tensor.numpy() for key, tensor in pool.state_dict().items()}

    found = adapterhub_prefix.layers(config.to_dict(), tensors, 3, heads=4, head_dim=5)  # two queries share a key

    assert list(found) == [layer for layer in range(3) if layer not in left_out]
    for (key, value), pair in zip(found.values(), live, strict=True):
        np.testing.assert_allclose(key, pair[0].detach().numpy().repeat(2, axis=1), atol=1e-6)
        np.testing.assert_allclose(value, pair[1].detach().numpy().repeat(2, axis=1), atol=1e-6)


def test_a_pool_of_another_shape_is_refused() -> None:
    config = {"flat": True, "prefix_length": 3}
    with pytest.raises(BindingError, match="got 7 numbers, expected 3 x 2 x 2 x 4 x 8"):
        adapterhub_prefix.layers(config, {"control_trans": np.zeros(7)}, 2, 4, 8)
    with pytest.raises(BindingError, match=r"got .*control_trans.*, expected .*wte.weight"):
        adapterhub_prefix.layers({"prefix_length": 3}, {"control_trans": np.zeros(7)}, 2, 4, 8)
    with pytest.raises(UnsupportedError, match="non_linearity = 'mish'"):
        tensors = {name: np.zeros((3, 3)) for name in ("wte.weight", *adapterhub_prefix.MLP)}
        adapterhub_prefix.layers({"prefix_length": 3, "non_linearity": "mish"}, tensors, 2, 4, 8)

"""Tensors and sites: LoRA's arithmetic against live PEFT, under every name that a tensor may have."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
import transformers
from peft.tuners.lora import LoraLayer
from torch import nn

from edgeadapt.adapter import Site
from edgeadapt.exporter import binding
from edgeadapt.methods import Module, lora
from tests import tiny
from tests.exporter import Tensors, altered
from tests.exporter.classifiers import bound, live

EXACT = 1e-6


def deltas(model: nn.Module) -> dict[str, torch.Tensor]:
    """Returns what PEFT adds to the weight of every module, `(in, out)`, and to its bias, under `<module>/bias`."""
    found = {}
    layers: list[tuple[str, Any]] = [pair for pair in model.named_modules() if isinstance(pair[1], LoraLayer)]
    for name, module in layers:
        delta = module.get_delta_weight("default").detach()
        base = module.get_base_layer()
        found[name] = delta.T if isinstance(base, nn.Linear) else delta
        if "default" in module.lora_B and getattr(module.lora_B["default"], "bias", None) is not None:
            found[f"{name}/bias"] = module.lora_B["default"].bias.detach() * module.scaling["default"]
    return found


OPTIONS: dict[str, dict[str, Any]] = {
    "alpha over rank": {"rank": 4, "lora_alpha": 7},
    "rsLoRA": {"rank": 4, "use_rslora": True},
    "rank_pattern": {"targets": ["query", "value"], "rank_pattern": {"query": 2, "layer.1.attention.self.value": 6}},
    "alpha_pattern": {"targets": ["query", "value"], "alpha_pattern": {"value": 5, "layer.0.attention.self.query": 9}},
    "regular expressions as keys": {
        "targets": ["query", "value", "key"],
        "rank_pattern": {r"layer\.[0].*\.(query|value)": 3},
        "alpha_pattern": {r"layer\.\d\.attention\.self\.(key|query)": 11, "^bert.encoder.layer.1.*value": 2},
        "use_rslora": True,
    },
    "lora_bias": {"lora_bias": True, "lora_alpha": 3},
    "layers_to_transform": {"targets": ["query", "dense"], "layers_to_transform": [1]},
    "layers_pattern": {"targets": ["query"], "layers_to_transform": 0, "layers_pattern": "layer"},
    "a regular expression": {"targets": r".*\.1\..*(query|intermediate\.dense)"},
    "all-linear": {"targets": "all-linear", "modules_to_save": ["pooler"]},
    "exclude_modules as a list": {"targets": ["query", "dense"], "exclude_modules": ["pooler.dense", "0.output.dense"]},
    "exclude_modules as a regular expression": {"targets": ["query", "value"], "exclude_modules": r".*layer\.0.*"},
    "embeddings": {"targets": ["word_embeddings", "token_type_embeddings", "query"], "rank_pattern": {"query": 3}},
}


# PEFT 0.21 takes the bias of a lora_B for a broken matrix.
@pytest.mark.parametrize("case", sorted(OPTIONS))
def test_every_module_changes_by_what_peft_changes_it(
    case: str, tiny_base: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    folder = tiny.lora_adapter(tiny_base, tmp_path / "adapter", num_labels=3, **OPTIONS[case])

    expected = deltas(live(tiny_base, folder))

    got = {}
    for each in bound(tiny_bundle, folder).attachments:
        if each.method == "lora":
            first, second = (array[0] for array in each.params.values())
            got[each.site] = first @ second
        elif each.method == "bias":
            got[f"{each.site}/bias"] = each.params["bias_delta"][0, 0]
    assert got.keys() == expected.keys()
    for name, delta in expected.items():
        np.testing.assert_allclose(got[name], delta.numpy(), atol=EXACT, rtol=0, err_msg=name)
        assert np.abs(got[name]).max() > 0.01


def test_a_configuration_may_still_say_all_linear(tiny_base: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    """PEFT spells it out when it saves; a configuration written by hand does not."""
    options: dict[str, Any] = {"targets": "all-linear", "modules_to_save": ["pooler"]}
    folder = tiny.lora_adapter(tiny_base, tmp_path / "adapter", num_labels=3, **options)

    other = bound(tiny_bundle, altered(folder, tmp_path / "other", target_modules="all-linear"))

    assert [each.site for each in other.attachments] == [each.site for each in bound(tiny_bundle, folder).attachments]


@pytest.mark.parametrize("bias", ["lora_only", "all"])
def test_trained_biases_are_kept_as_their_distance_from_the_bases(
    bias: str, tiny_base: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    folder = tiny.lora_adapter(tiny_base, tmp_path / "adapter", num_labels=3, bias=bias)
    trained = {
        name.replace(".base_layer", ""): parameter.detach().numpy()
        for name, parameter in live(tiny_base, folder).named_parameters()
        if name.endswith(".bias") and "classifier" not in name
    }
    with tiny.quiet():
        plain = transformers.AutoModelForSequenceClassification.from_pretrained(tiny_base)
    expected = {
        name.removesuffix(".bias"): trained[name] - parameter.detach().numpy()
        for name, parameter in plain.named_parameters()
        if name in trained and not np.array_equal(trained[name], parameter.detach().numpy())
    }
    assert len(expected) == {"lora_only": 2, "all": 18}[bias]

    got = {
        each.site: each.params["bias_delta"][0, 0]
        for each in bound(tiny_bundle, folder).attachments
        if each.method == "bias"
    }

    assert got.keys() == expected.keys()
    for name, delta in expected.items():
        np.testing.assert_allclose(got[name], delta, atol=EXACT, rtol=0, err_msg=name)
        assert np.abs(delta).max() > 0.01


def test_a_head_is_what_peft_trained(tiny_base: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    folder = tiny.lora_adapter(tiny_base, tmp_path / "adapter", num_labels=3, modules_to_save=["pooler"])
    model = live(tiny_base, folder)

    heads = {each.site: each.params for each in bound(tiny_bundle, folder).attachments if each.method != "lora"}

    assert set(heads) == {"bert.pooler.dense", "classifier"}
    for name, path in (("bert.pooler.dense", "bert.pooler.modules_to_save.default.dense"), ("classifier",) * 2):
        module = model.get_submodule(path)
        module = getattr(module, "modules_to_save", {"default": module})["default"]
        np.testing.assert_array_equal(heads[name]["weight"][0], module.weight.detach().numpy().T)
        np.testing.assert_array_equal(heads[name]["bias"][0, 0], module.bias.detach().numpy())


@pytest.mark.parametrize("rslora", [False, True])
def test_a_layer_that_stores_its_weight_transposed_changes_by_what_peft_changes_it(rslora: bool) -> None:
    """GPT-2's `Conv1D`, with `fan_in_fan_out`; read alone, as there is no such encoder."""
    config = transformers.GPT2Config(n_embd=32, n_layer=2, n_head=2, vocab_size=50, n_positions=16)
    torch.manual_seed(0)
    options: dict[str, Any] = {"r": 3, "lora_alpha": 5, "use_rslora": rslora, "fan_in_fan_out": True}
    wrapped = peft.get_peft_model(
        transformers.GPT2Model(config), peft.LoraConfig(target_modules=["c_attn", "c_fc"], **options)
    )
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.3)
    tensors = {
        binding.plain_name(name): tensor.numpy() for name, tensor in peft.get_peft_model_state_dict(wrapped).items()
    }

    got: dict[str, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        parts = lora.split(name)
        assert parts is not None
        got.setdefault(parts[0], {})[parts[1]] = tensor

    expected = deltas(wrapped.get_base_model())
    assert got.keys() == expected.keys()
    assert len(got) == 4
    for name, delta in expected.items():
        at = Module(name, Site(name, "linear", 32, delta.shape[1]), lambda: (np.empty(0), None), {})
        params = lora.read(options, at, got[name])["lora"]
        product = params["lora_A"][0] @ params["lora_B"][0]
        np.testing.assert_allclose(product, delta.numpy(), atol=EXACT, rtol=0, err_msg=name)


NAMES: dict[str, Callable[[str], str]] = {
    "the adapter's own name": lambda name: name.replace(".lora_A.", ".lora_A.default.").replace(
        ".lora_B.", ".lora_B.default."
    ),
    "a head's wrapper": lambda name: name.replace("model.classifier.", "model.classifier.modules_to_save."),
    "a head's wrapper and its name": lambda name: name.replace(
        "model.classifier.", "model.classifier.modules_to_save.default."
    ),
    "without PEFT's prefix": lambda name: name.removeprefix("base_model.model."),
    "without the architecture's prefix": lambda name: name.replace("base_model.model.bert.", "base_model.model."),
}


@pytest.mark.parametrize("style", sorted(NAMES))
def test_names_of_older_versions_and_of_headless_models_mean_the_same(
    style: str, tiny_adapters: dict[str, Path], tiny_bundle: Path, tmp_path: Path
) -> None:
    def renamed(tensors: Tensors) -> Tensors:
        new = {NAMES[style](name): array for name, array in tensors.items()}
        assert new.keys() != tensors.keys()
        return new

    expected = bound(tiny_bundle, tiny_adapters["spam"]).arrays()
    got = bound(tiny_bundle, altered(tiny_adapters["spam"], tmp_path / "renamed", renamed)).arrays()

    assert got.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(got[name], array)


def test_embedding_tensors_may_carry_the_adapters_name(tiny_base: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    folder = tiny.lora_adapter(tiny_base, tmp_path / "adapter", num_labels=3, targets=["word_embeddings"])

    def named(tensors: Tensors) -> Tensors:
        return {f"{name}.default" if "lora_embedding" in name else name: array for name, array in tensors.items()}

    got = bound(tiny_bundle, altered(folder, tmp_path / "named", named)).arrays()

    assert got.keys() == bound(tiny_bundle, folder).arrays().keys()


def test_names_in_the_configuration_that_the_base_lacks_are_no_matter(
    tiny_adapters: dict[str, Path], tiny_bundle: Path, tmp_path: Path
) -> None:
    """As in the wild: targets of several architectures, and `modules_to_save` that PEFT fills in itself."""
    config = json.loads((tiny_adapters["spam"] / "adapter_config.json").read_text())
    folder = altered(
        tiny_adapters["spam"],
        tmp_path / "adapter",
        target_modules=[*config["target_modules"], "q_proj", "c_attn"],
        modules_to_save=["classifier", "score"],
    )

    assert len(bound(tiny_bundle, folder).attachments) == 5


def test_a_head_is_taken_though_modules_to_save_are_null(
    tiny_adapters: dict[str, Path], tiny_bundle: Path, tmp_path: Path
) -> None:
    folder = altered(tiny_adapters["spam"], tmp_path / "adapter", modules_to_save=None)

    assert "classifier.weight" in bound(tiny_bundle, folder).arrays()

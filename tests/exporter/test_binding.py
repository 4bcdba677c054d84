"""Tensors and sites: LoRA's arithmetic against live PEFT, and everything that doesn't fit, by name and at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import peft
import pytest
import torch
import transformers
from peft.tuners.lora import LoraLayer
from torch import nn

from edgeadapt.adapter import Adapter, Site
from edgeadapt.errors import BindingError
from edgeadapt.exporter import assemble, binding
from edgeadapt.exporter import checkpoint as checkpoints
from edgeadapt.exporter.pipeline import export
from edgeadapt.graph import sites
from edgeadapt.graph.fold import base_weights
from edgeadapt.methods import Module, lora
from tests import tiny
from tests.exporter import Tensors, altered

EXACT = 1e-6
QUERY = "base_model.model.bert.encoder.layer.0.attention.self.query"
VALUE = "base_model.model.bert.encoder.layer.1.attention.self.value"


def bound(bundle: Path, folder: Path, said: binding.HeadWords = (None, None)) -> Adapter:
    """Returns the checkpoint in `folder` as an adapter of a bundle's base."""
    model = ir.load(bundle / assemble.BASE)
    return binding.bind(checkpoints.read(folder), sites.read(bundle), base_weights(model), said)


def live(base: Path, folder: Path, num_labels: int = 3) -> nn.Module:
    """Returns the model that PEFT makes of a classifier on `base` and the adapter in `folder`."""
    with tiny.quiet():
        model = transformers.AutoModelForSequenceClassification.from_pretrained(base, num_labels=num_labels)
        wrapped: nn.Module = peft.PeftModel.from_pretrained(model, str(folder)).get_base_model()
        return wrapped


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


def refused(bundle: Path, folder: Path) -> tuple[str, list[str], list[str]]:
    """Returns the headline, the problems and the rest of the message with which an adapter is refused."""
    with pytest.raises(BindingError) as caught:
        bound(bundle, folder)
    headline, *lines = str(caught.value).splitlines()
    return headline, [line[2:] for line in lines if line.startswith("  ")], [each for each in lines if each[0] != " "]


def test_another_bases_size_is_refused_with_both_shapes(tiny_bundle: Path, tmp_path: Path) -> None:
    tiny.base(tmp_path / "wide", hidden_size=48)
    folder = tiny.lora_adapter(tmp_path / "wide", tmp_path / "adapter", num_labels=2)

    headline, problems, rest = refused(tiny_bundle, folder)

    assert headline == f"{folder} does not fit this bert base:"
    layers = [f"bert.encoder.layer.{layer}.attention.self.query" for layer in range(2)]
    assert problems == [
        line
        for site in layers
        for line in (
            f"{site}.lora_A: got (1, 48, 4), expected (rows, 32, rank)",
            f"{site}.lora_B: got (1, 4, 48), expected (rows, rank, 32)",
        )
    ] + ["classifier.weight: got (1, 48, 2), expected (rows, 32, labels)"]
    assert rest == [
        f"The adapter has 6 tensors: {layers[0]}.lora_A.weight ... classifier.weight",
        "The base has 24 sites: bert.embeddings.word_embeddings ... bert.encoder.layer.1.attention.self",
        "Use the base that the adapter was trained on.",
    ]


@pytest.mark.parametrize(
    ("family", "targets", "stranger"),
    [
        ("distilbert", ["q_lin"], "distilbert.transformer.layer.0.attention.q_lin"),
        ("roberta", ["query"], "roberta.encoder.layer.0.attention.self.query"),
    ],
)
def test_another_architectures_names_are_refused(
    family: str, targets: list[str], stranger: str, tiny_bundle: Path, tmp_path: Path
) -> None:
    tiny.base(tmp_path / "base", family)
    folder = tiny.lora_adapter(tmp_path / "base", tmp_path / "adapter", targets=targets, num_labels=2)

    _, problems, rest = refused(tiny_bundle, folder)

    assert any(line.startswith(f"{stranger}: the base has no such module") for line in problems)
    assert rest[0].startswith("The adapter has ")
    assert rest[1] == "The base has 24 sites: bert.embeddings.word_embeddings ... bert.encoder.layer.1.attention.self"


def renaming(old: str, new: str) -> Callable[[Tensors], Tensors]:
    def change(tensors: Tensors) -> Tensors:
        return {name.replace(old, new): array for name, array in tensors.items()}

    return change


def dropping(*ends: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {name: array for name, array in tensors.items() if not name.endswith(ends)}


def adding(source: str, name: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {**tensors, name: tensors[source] + 1}


LAYER = "bert.encoder.layer"
WRONG: dict[str, tuple[Callable[[Tensors], Tensors], list[str]]] = {
    "a name cut short": (
        renaming("0.attention.self.query", "0.attention.self.quer"),
        [
            f"{LAYER}.0.attention.self.quer: the base has no such module "
            f"(nearest: {LAYER}.0.attention.self.query, {LAYER}.1.attention.self.query)",
            f"{LAYER}.0.attention.self.query: got no LoRA, but the configuration's target_modules select it",
        ],
    ),
    "a name with more before it": (
        renaming("1.attention.self.query", "1.attention.self.xquery"),
        [
            f"{LAYER}.1.attention.self.xquery: the base has no such module "
            f"(nearest: {LAYER}.1.attention.self.query, {LAYER}.0.attention.self.query)",
            f"{LAYER}.1.attention.self.query: got no LoRA, but the configuration's target_modules select it",
        ],
    ),
    "a layer that isn't there": (
        adding(f"{QUERY}.lora_A.weight", f"{QUERY.replace('.0.', '.10.')}.lora_A.weight"),
        [f"{LAYER}.10.attention.self.query: the base has no such module"],
    ),
    "a lora_B that is missing": (
        dropping("0.attention.self.query.lora_B.weight"),
        [f"{LAYER}.0.attention.self.query: got lora_A alone, expected an A and a B"],
    ),
    "a lora_A that is missing": (
        dropping("1.attention.self.value.lora_A.weight"),
        [f"{LAYER}.1.attention.self.value: got lora_B alone, expected an A and a B"],
    ),
    "a pair that is missing": (
        dropping("1.attention.self.value.lora_A.weight", "1.attention.self.value.lora_B.weight"),
        [f"{LAYER}.1.attention.self.value: got no LoRA, but the configuration's target_modules select it"],
    ),
    "a pair that is spare": (
        lambda tensors: {
            **tensors,
            f"{QUERY.replace('query', 'key')}.lora_A.weight": tensors[f"{QUERY}.lora_A.weight"],
            f"{QUERY.replace('query', 'key')}.lora_B.weight": tensors[f"{QUERY}.lora_B.weight"],
        },
        [f"{LAYER}.0.attention.self.key: has a LoRA, but the configuration's target_modules leave it out"],
    ),
    "a weight of no module": (
        adding("base_model.model.classifier.bias", "base_model.model.clasifier.bias"),
        ["clasifier.bias: the base has no such module (nearest: classifier.bias, classifier.weight)"],
    ),
    "a param of no method": (
        adding(f"{QUERY}.lora_A.weight", f"{QUERY}.lora_magnitude_vector"),
        [f"{LAYER}.0.attention.self.query: has DoRA's magnitude vector, but the configuration says use_dora = false"],
    ),
    "the same tensor under two names": (
        adding(f"{QUERY}.lora_A.weight", f"{QUERY.removeprefix('base_model.model.')}.lora_A.weight"),
        [f"{LAYER}.0.attention.self.query.lora_A.weight has other values under another name"],
    ),
    "a module under two names": (
        lambda tensors: {
            **tensors,
            **{name.replace("model.bert.", "model."): array for name, array in tensors.items() if VALUE in name},
        },
        [f"{LAYER}.1.attention.self.value has a LoRA under another name already"],
    ),
    "a head that is missing": (
        dropping("classifier.weight", "classifier.bias"),
        ["classifier: the base has no weights here, and the adapter brings none (modules_to_save)"],
    ),
    "half a head": (
        dropping("classifier.bias"),
        ["classifier: got its weight alone, expected its bias too: the base has none"],
    ),
    "another rank than the configuration's": (
        lambda tensors: {
            name: array[:2] if "query.lora_A" in name else array[:, :2] if "query.lora_B" in name else array
            for name, array in tensors.items()
        },
        [f"{LAYER}.{layer}.attention.self.query: has a LoRA of rank 2, but the configuration says 4" for layer in "01"],
    ),
    "halves of different rank": (
        lambda tensors: {name: array[:3] if f"{VALUE}.lora_A" in name else array for name, array in tensors.items()},
        [f"{LAYER}.1.attention.self.value: A (3, 32) has rank 3, B (32, 4) has rank 4"],
    ),
    "a weight that the LoRA was not trained on": (
        lambda tensors: {**tensors, f"{QUERY}.base_layer.weight": np.ones((32, 32), np.float32)},
        [f"{LAYER}.0.attention.self.query: has an adapter, and a weight that isn't the base's: trained on another"],
    ),
}


@pytest.mark.parametrize("case", sorted(WRONG))
def test_what_does_not_fit_is_refused_by_name(
    case: str, tiny_adapters: dict[str, Path], tiny_bundle: Path, tmp_path: Path
) -> None:
    change, expected = WRONG[case]
    folder = altered(tiny_adapters["spam"], tmp_path / "adapter", change)

    headline, problems, rest = refused(tiny_bundle, folder)

    assert headline == f"{folder} does not fit this bert base:"
    assert len(problems) == len(expected)
    for line, wanted in zip(problems, expected, strict=True):
        assert wanted in line
    assert rest[0].startswith("The adapter has ")
    assert rest[1:] == [
        "The base has 24 sites: bert.embeddings.word_embeddings ... bert.encoder.layer.1.attention.self",
        "Use the base that the adapter was trained on.",
    ]


def test_everything_that_is_wrong_is_said_at_once(
    tiny_adapters: dict[str, Path], tiny_bundle: Path, tmp_path: Path
) -> None:
    """A name, half a pair, a missing pair, a shape, a spare tensor and a head: one error, one line each."""

    def change(tensors: Tensors) -> Tensors:
        tensors = renaming("0.attention.self.query", "0.attention.self.qery")(tensors)
        tensors = dropping("0.attention.self.value.lora_B.weight", "classifier.weight")(tensors)
        tensors = dropping("1.attention.self.query.lora_A.weight", "1.attention.self.query.lora_B.weight")(tensors)
        tensors[f"{VALUE}.lora_B.weight"] = tensors[f"{VALUE}.lora_B.weight"][:7]
        return {**tensors, "base_model.model.bert.spare.weight": np.ones(3, np.float32)}

    _, problems, _ = refused(tiny_bundle, altered(tiny_adapters["spam"], tmp_path / "adapter", change))

    wanted = (
        f"{LAYER}.0.attention.self.value: got lora_A alone",
        f"{LAYER}.0.attention.self.qery: the base has no such module",
        "bert.spare.weight: the base has no such module",
        "classifier: got its bias alone",
        f"{LAYER}.0.attention.self.query: got no LoRA",
        f"{LAYER}.1.attention.self.query: got no LoRA",
        f"{LAYER}.1.attention.self.value.lora_B: got (1, 4, 7), expected (rows, rank, 32)",
    )
    for text in wanted:
        assert sum(line.startswith(text) for line in problems) == 1, text


def test_a_module_that_modules_to_save_name_must_be_there(tiny_base: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    folder = tiny.lora_adapter(tiny_base, tmp_path / "adapter", num_labels=2, modules_to_save=["pooler"])
    cut = altered(folder, tmp_path / "cut", lambda tensors: {n: a for n, a in tensors.items() if "pooler" not in n})

    _, problems, _ = refused(tiny_bundle, cut)

    assert problems == ["bert.pooler.dense: got no weight, but the configuration's modules_to_save name it"]


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


def test_no_tensors_at_all_are_refused(tiny_adapters: dict[str, Path], tiny_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(BindingError, match="classifier: the base has no weights here"):
        bound(tiny_bundle, altered(tiny_adapters["spam"], tmp_path / "adapter", lambda tensors: {}))


def test_labels_are_the_given_else_the_checkpoints_else_numbered(
    tiny_adapters: dict[str, Path], tiny_bundle: Path, tmp_path: Path
) -> None:
    folder = altered(tiny_adapters["spam"], tmp_path / "adapter")

    assert bound(tiny_bundle, folder).labels == ("LABEL_0", "LABEL_1")
    (folder / "config.json").write_text('{"id2label": {"1": "yes", "0": "no"}}')
    assert bound(tiny_bundle, folder).labels == ("no", "yes")
    assert bound(tiny_bundle, folder, (("ham", "spam"), None)).labels == ("ham", "spam")


@pytest.mark.parametrize("given", [True, False], ids=["given", "in config.json"])
def test_a_wrong_number_of_labels_is_refused_with_both_numbers(
    given: bool, tiny_adapters: dict[str, Path], tiny_bundle: Path, tmp_path: Path
) -> None:
    folder = altered(tiny_adapters["spam"], tmp_path / "adapter")
    (folder / "config.json").write_text('{"id2label": {"0": "a", "1": "b", "2": "c"}}')

    with pytest.raises(BindingError, match=r"the head has 2 labels, but 3 names are given:\n  a, b, c"):
        bound(tiny_bundle, folder, (("a", "b", "c") if given else None, None))


def test_the_problem_type_is_the_given_else_the_checkpoints(
    tiny_adapters: dict[str, Path], tiny_bundle: Path, tmp_path: Path
) -> None:
    folder = altered(tiny_adapters["spam"], tmp_path / "adapter")

    assert bound(tiny_bundle, folder).problem_type is None
    assert bound(tiny_bundle, folder, (None, "regression")).problem_type == "regression"
    (folder / "config.json").write_text('{"problem_type": "single_label_classification"}')
    assert bound(tiny_bundle, folder).problem_type == "single_label_classification"
    assert bound(tiny_bundle, folder, (None, "regression")).problem_type == "regression"


@pytest.mark.parametrize(
    ("said", "refused"),
    [
        ((("a",), None), "labels"),
        ((None, "regression"), "a problem type"),
        ((("a",), "regression"), "labels or a problem type"),
    ],
)
def test_an_adapter_without_a_head_has_none_to_speak_of(said: binding.HeadWords, refused: str, tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base", task="text-classification", num_labels=3)
    folder = tiny.lora_adapter(base, tmp_path / "adapter", task_type=None)
    export(base, {"keeps": folder}, tmp_path / "bundle", task="text-classification")

    assert bound(tmp_path / "bundle", folder).problem_type is None
    with pytest.raises(BindingError, match=f"brings no head of its own, so it can't be given {refused}\\.$"):
        bound(tmp_path / "bundle", folder, said)

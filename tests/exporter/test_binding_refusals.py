"""Everything that doesn't fit a base is refused, by name and at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgeadapt.errors import BindingError
from tests import tiny
from tests.exporter import Tensors, altered
from tests.exporter.classifiers import bound

QUERY = "base_model.model.bert.encoder.layer.0.attention.self.query"
VALUE = "base_model.model.bert.encoder.layer.1.attention.self.value"


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


def test_no_tensors_at_all_are_refused(tiny_adapters: dict[str, Path], tiny_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(BindingError, match="classifier: the base has no weights here"):
        bound(tiny_bundle, altered(tiny_adapters["spam"], tmp_path / "adapter", lambda tensors: {}))

"""AdapterHub's compositions against the live `adapters` library: stacks, averages, AdapterFusion with every flag."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from tests import hub, tiny
from tests.exporter.test_adapterhub import check, config

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("adapters") is None, reason="AdapterHub's library is not there (it needs transformers 4)"
)

MEMBERS: dict[str, tuple[str, dict[str, Any]]] = {
    "a": ("SeqBnConfig", {"reduction_factor": 4}),
    "b": ("SeqBnConfig", {"reduction_factor": 2, "non_linearity": "gelu"}),
    "c": ("SeqBnConfig", {"reduction_factor": 8, "scaling": "learned"}),
}
STACK = ("Stack", "a", "b", "c")
AVERAGE = ("Average", "a", "b", "c")
FUSE = ("Fuse", "a", "b", "c")


def made(base: Path, folder: Path, tree: Any, members: Any = MEMBERS, **options: Any) -> Path:
    configs = {name: config(kind, **own) for name, (kind, own) in members.items()}
    return hub.setup(base, folder, configs, tree, **options)


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "albert", "deberta-v2", "gpt2", "llama", "vit"])
def test_compositions_say_what_adapters_says(family: str, tmp_path: Path) -> None:
    """Each alone, mixed with each other, a LoRA and a bottleneck, and folded."""
    base = tiny.base(tmp_path / "base", family)

    check(
        base,
        {
            "stack": made(base, tmp_path / "stack", STACK),
            "average": made(base, tmp_path / "average", AVERAGE, weights=[0.5, 0.2, 0.3]),
            "fuse": made(base, tmp_path / "fuse", FUSE),
            "lora": hub.adapter(base, tmp_path / "lora", config("LoRAConfig", r=3), seed=9),
            "plain": hub.adapter(base, tmp_path / "plain", config("SeqBnConfig", reduction_factor=4), seed=8),
        },
        tmp_path / "bundle",
    )


FUSIONS: dict[str, dict[str, Any]] = {
    "static": {"value": False, "regularization": False},
    "early query": {"query_before_ln": True},
    "residual before": {"residual_before": True},
    "residual before, static": {"residual_before": True, "value": False, "value_before_softmax": False},
    "value last": {"value_before_softmax": False, "value_initialized": False, "dropout_prob": 0.3},
    "no query": {"query": False},
    "no key": {"key": False},
    "nothing": {"query": False, "key": False, "value": False},
}


def test_every_flag_of_a_fusion_says_what_adapters_says(tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base")
    found = {}
    for number, (name, options) in enumerate(FUSIONS.items()):
        fusion = config("DynamicAdapterFusionConfig", **options)
        found[f"fusion_{number}"] = made(base, tmp_path / name, FUSE, fusion=fusion, seed=number)

    check(base, found, tmp_path / "bundle")


BLOCKS: dict[str, tuple[str, dict[str, Any]]] = {
    "houlsby": ("DoubleSeqBnConfig", {"reduction_factor": 4}),
    "parallel": ("ParBnConfig", {"reduction_factor": 4}),
    "gated": ("SeqBnConfig", {"reduction_factor": 4, "use_gating": True}),
    "normed": ("SeqBnConfig", {"ln_after": True, "adapter_residual_before_ln": True}),
    "late": ("SeqBnConfig", {"residual_before_ln": False}),
    "plus": ("AdapterPlusConfig", {"reduction_factor": 4, "stochastic_depth": 0.0}),
    "compacter": ("CompacterPlusPlusConfig", {"reduction_factor": 4}),
    "upper": ("SeqBnConfig", {"reduction_factor": 2, "leave_out": [0]}),
    "lora": ("LoRAConfig", {"r": 2}),
    "prefix": ("PrefixTuningConfig", {"prefix_length": 3, "flat": True}),
    **MEMBERS,
}
TREES: dict[str, Any] = {
    "places": ("Stack", "houlsby", "a"),
    "layers": ("Stack", "upper", "a"),
    "both": ("Stack", "a", ("Fuse", "b", "c")),
    "first_fused": ("Stack", "a", ("Fuse", "b", "c"), "late"),
    "mean": ("Stack", "a", ("Average", "b", "gated")),
    "stacks_fused": ("Fuse", ("Stack", "a", "gated"), ("Stack", "b", "c")),
    "one_fused": ("Fuse", ("Stack", "a"), "b"),
    "stacks_averaged": ("Average", "normed", ("Stack", "a", "gated")),
    "parallels": ("Stack", "parallel", "a"),
    "parallel_last": ("Stack", "a", "parallel"),
    "parallel_fused": ("Fuse", "a", "parallel"),
    "of_all_kinds": ("Stack", "gated", "normed", "late"),
    "fused_kinds": ("Fuse", "gated", "normed", "late"),
    "not_after": ("Stack", "a", "plus"),
    "methods": ("Stack", "lora", "a", "b"),
    "with_prefix": ("Stack", "a", "prefix", "lora"),
    "alone": ("Stack", "a"),
    "twice": ("Stack", "a", "a"),
}


@pytest.mark.parametrize("family", ["bert", "albert"])
def test_trees_of_all_kinds_of_blocks_say_what_adapters_says(family: str, tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base", family)
    trees = dict(TREES)
    if family == "albert":
        del trees["layers"]  # its layers share all weights
    found = {}
    for seed, (name, tree) in enumerate(trees.items()):
        members = {each: BLOCKS[each] for each in BLOCKS if each in _leaves(tree)}
        found[name] = made(base, tmp_path / name, tree, members, seed=seed)

    check(base, found, tmp_path / "bundle")


def _leaves(tree: Any) -> list[str]:
    return [tree] if isinstance(tree, str) else [leaf for child in tree[1:] for leaf in _leaves(child)]


@pytest.mark.parametrize("tree", [("Stack", "a", "compacter"), ("Fuse", "compacter", "a")])
def test_compacters_are_multiplied_out(tree: Any, tmp_path: Path) -> None:
    """Saved from a model with a head: without one, the library leaves out what their modules share."""
    base = tiny.base(tmp_path / "base")
    folder = made(base, tmp_path / "made", tree, {name: BLOCKS[name] for name in tree[1:]}, head={"num_labels": 3})

    check(base, {"made": folder}, tmp_path / "bundle", "text-classification")


@pytest.mark.parametrize("tree", [STACK, AVERAGE, FUSE])
def test_the_head_of_a_setup_comes_along(tree: Any, tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base")
    head = {"num_labels": 3, "layers": 1, "use_pooler": True}

    check(base, {"made": made(base, tmp_path / "made", tree, head=head)}, tmp_path / "bundle", "text-classification")


def test_a_fusion_may_have_a_name_of_its_own(tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base")

    found = {
        name: made(base, tmp_path / name, FUSE, seed=seed, name="mine") for seed, name in enumerate(("made", "too"))
    }

    check(base, found, tmp_path / "bundle")
    assert (tmp_path / "made" / "mine").is_dir()

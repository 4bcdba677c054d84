"""Folders of AdapterHub's `save_adapter_setup` without its library: what is added to a bundle, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgeadapt
from edgeadapt.errors import BindingError, CheckpointError, EdgeAdaptError, PickleError, UnsupportedError
from edgeadapt.exporter import adapterhub, compositions, folders
from edgeadapt.exporter.adding import add
from tests.exporter.test_adapterhub_folders import PFEIFFER, WIDTH, save
from tests.tiny import HIDDEN, LAYERS

FUSION: dict[str, Any] = {
    "dropout_prob": None, "key": True, "query": True, "query_before_ln": False, "regularization": True,
    "residual_before": False, "temperature": False, "value": True, "value_before_softmax": True,
    "value_initialized": True,
}  # fmt: skip


def single(name: str) -> dict[str, Any]:
    return {"type": "single", "children": [name]}


def node(kind: str, *children: Any, **kwargs: Any) -> dict[str, Any]:
    return {"type": kind, "children": list(children), **({"kwargs": kwargs} if kwargs else {})}


FUSE = node("Fuse", single("a"), single("b"))


def setup_of(
    path: Path, tree: Any, options: dict[str, Any] | None = None, fusion: dict[str, Any] | None = None, **said: Any
) -> Path:
    """Writes a setup of the adapters `a` and `b` for the tiny BERT, their fusion, and a head called `own`."""
    generator = np.random.default_rng(0)
    for name in ("a", "b"):
        adapter(path / name, name, generator, **(options or {}) if name == "b" else {})
    home = path / "a,b"
    home.mkdir()
    record = {"adapter_names": ["a", "b"], "config": {**FUSION, **(fusion or {})}, "name": "a,b"}
    (home / compositions.FUSION).write_text(json.dumps(record))
    tensors = {
        f"bert.encoder.layer.{layer}.output.adapter_fusion_layer.a,b.{name}": generator.normal(0, 0.05, shape)
        for layer in range(LAYERS)
        for name, shape in {
            "query.weight": (HIDDEN, HIDDEN), "query.bias": (HIDDEN,), "key.weight": (HIDDEN, HIDDEN),
            "key.bias": (HIDDEN,), "value.weight": (HIDDEN, HIDDEN),
        }.items()
    }  # fmt: skip
    save(home / compositions.FUSION_WEIGHTS, tensors)
    head(path / "own", generator)
    record = {"adapter_setup": tree, "head_setup": "own", "version": "adapters.1.3.0", **said}
    (path / compositions.SETUP).write_text(json.dumps(record))
    return path


def adapter(path: Path, name: str, generator: Any, **options: Any) -> None:
    path.mkdir(parents=True)
    tensors = {
        f"bert.encoder.layer.{layer}.output.adapters.{name}.{tensor}": generator.normal(0, 0.3, shape)
        for layer in range(LAYERS)
        for tensor, shape in {
            "adapter_down.0.weight": (WIDTH, HIDDEN),
            "adapter_down.0.bias": (WIDTH,),
            "adapter_up.weight": (HIDDEN, WIDTH),
            "adapter_up.bias": (HIDDEN,),
        }.items()
    }
    save(path / "adapter.safetensors", tensors)
    config = {"config": {**PFEIFFER, **options}, "model_type": "bert", "name": name, "version": "adapters.1.3.0"}
    (path / "adapter_config.json").write_text(json.dumps(config))


def head(path: Path, generator: Any) -> None:
    path.mkdir(exist_ok=True)
    config = {
        "head_type": "classification", "layers": 1, "activation_function": "tanh", "use_pooler": True, "num_labels": 3,
        "label2id": {"no": 0, "yes": 1, "maybe": 2},
    }  # fmt: skip
    (path / "head_config.json").write_text(json.dumps({"name": "own", "config": config}))
    tensors = {"heads.own.1.weight": generator.normal(0, 0.3, (3, HIDDEN)), "heads.own.1.bias": np.ones(3)}
    save(path / "model_head.safetensors", tensors)


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


@pytest.mark.parametrize(
    "tree",
    [FUSE, node("Stack", single("a"), single("b")), node("Average", single("a"), single("b"), weights=[0.4, 0.6])],
)
def test_a_setup_is_added_as_one_adapter(tree: Any, bundle: Path, tmp_path: Path) -> None:
    report = add(bundle, setup_of(tmp_path / "own", tree), "own")

    found = edgeadapt.load(bundle).adapters["own"]
    assert report.max_abs_error <= 1e-5
    assert report.effect > 0.05
    assert (found.method, found.labels) == ("composition", ("no", "yes", "maybe"))
    assert found.source["composition"] == f"{tree['type']}[a, b]"


def test_a_setup_of_one_adapter_is_that_adapter(bundle: Path, tmp_path: Path) -> None:
    add(bundle, setup_of(tmp_path / "own", node("Stack", single("a"))), "own")

    assert edgeadapt.load(bundle).adapters["own"].method == "bottleneck"


STACKED = node("Stack", single("a"), single("b"))
REFUSED: dict[str, tuple[Any, type[EdgeAdaptError], tuple[str, ...]]] = {
    "Parallel": (node("Parallel", single("a"), single("b")), UnsupportedError, ("Parallel: gives an output for each",)),
    "Split": (node("Split", single("a"), single("b"), splits=[1, 2]), UnsupportedError, ("Split: cuts the tokens",)),
    "BatchSplit": (
        node("Stack", single("a"), node("BatchSplit", single("a"), single("b"), batch_sizes=[1, 2])),
        UnsupportedError,
        ("BatchSplit: cuts the batch at fixed rows: export its adapters",),
    ),
    "all at once": (
        node("Fuse", node("Average", single("a"), single("b"), weights=[1.0, 1.0]), node("MultiTask", single("a"))),
        UnsupportedError,
        ("Average in Fuse: adapters 1.3.0 can't run it", "weights 1.0, 1.0: expected 2", "MultiTask: needs a task's"),
    ),
    "too deep": (
        node("Fuse", node("Stack", single("a"), FUSE), single("b")),
        UnsupportedError,
        ("Fuse in Stack in Fuse: adapters 1.3.0 can't run it",),
    ),
    "an unknown kind": (node("Sideways", single("a")), UnsupportedError, ("Sideways: edgeadapt does not know it",)),
    "a folder elsewhere": (single("../a"), CheckpointError, ("'../a' names no folder",)),
    "a missing adapter": (
        node("Stack", single("a"), single("c")),
        CheckpointError,
        ("c/adapter_config.json can't be",),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_tree_that_cant_be_done_is_refused_by_name(name: str, tmp_path: Path) -> None:
    tree, error, words = REFUSED[name]

    with pytest.raises(error) as caught:
        folders.read(setup_of(tmp_path / "own", tree))

    for each in words:
        assert each in str(caught.value)


@pytest.mark.parametrize(
    ("fusion", "words"),
    [
        ({"temperature": True}, "temperature: adapters 1.3.0 begins at 50"),
        ({"sideways": True}, "sideways: edgeadapt does not know this option"),
    ],
)
def test_a_fusion_that_cant_be_done_is_refused_by_name(fusion: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=words):
        folders.read(setup_of(tmp_path / "own", FUSE, fusion=fusion))


def test_a_fusions_tensors_are_those_its_configuration_asks_for(bundle: Path, tmp_path: Path) -> None:
    folder = setup_of(tmp_path / "own", FUSE, fusion={"value": False})

    with pytest.raises(BindingError, match=r"the fusion has value\.weight, which its configuration doesn't ask for"):
        add(bundle, folder, "own")


def test_an_average_of_adapters_in_different_layers_is_refused(bundle: Path, tmp_path: Path) -> None:
    tree = node("Average", single("a"), single("b"), weights=[0.5, 0.5])
    folder = setup_of(tmp_path / "own", tree, options={"leave_out": [0]})
    drop(folder / "b", "layer.0.")

    with pytest.raises(BindingError, match=r"of average only a is here, which adapters 1\.3\.0 can't run"):
        add(bundle, folder, "own")


def test_a_layer_without_its_block_is_named(bundle: Path, tmp_path: Path) -> None:
    folder = setup_of(tmp_path / "own", STACKED)
    drop(folder / "b", "layer.0.")

    with pytest.raises(BindingError, match=r"layer\.0\.output\.dense: got no part of 'b'"):
        add(bundle, folder, "own")


def test_methods_that_cant_be_put_together_are_named(tmp_path: Path) -> None:
    folder = setup_of(tmp_path / "own", FUSE)
    path = folder / "b" / "adapter_config.json"
    config = json.loads(path.read_text())
    config["config"] = {"architecture": "lora", "r": 2, "alpha": 4, "attn_matrices": ["q"]}
    path.write_text(json.dumps(config))
    query = "bert.encoder.layer.0.attention.self.query.loras.b"
    tensors = {f"{query}.lora_A": np.ones((2, HIDDEN)), f"{query}.lora_B": np.ones((HIDDEN, 2))}
    save(folder / "b" / adapterhub.WEIGHTS, tensors)

    with pytest.raises(UnsupportedError, match=r"b: lora in Fuse\[a, b\]; only bottlenecks can be put together"):
        folders.read(folder)


@pytest.mark.parametrize("said", [["own", "a"], {"type": "Parallel"}])
def test_several_heads_are_refused(said: Any, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="several heads"):
        folders.read(setup_of(tmp_path / "own", FUSE, head_setup=said))


def test_heads_of_which_none_is_chosen_are_refused(tmp_path: Path) -> None:
    folder = setup_of(tmp_path / "own", FUSE, head_setup=None)
    head(folder / "a", np.random.default_rng(1))

    with pytest.raises(UnsupportedError, match=r"a have heads of their own(.|\n)*head_setup"):
        folders.read(folder)


def test_the_head_of_a_stacks_last_adapter_is_its_head(tmp_path: Path) -> None:
    folder = setup_of(tmp_path / "own", STACKED, head_setup=None)
    head(folder / "b", np.random.default_rng(1))

    assert folders.read(folder).labels == ("no", "yes", "maybe")


def test_a_pickle_in_a_setup_needs_permission(tmp_path: Path) -> None:
    import torch

    folder = setup_of(tmp_path / "own", FUSE)
    weights = folder / "a,b" / compositions.FUSION_WEIGHTS
    weights.unlink()
    torch.save({}, folder / "a,b" / compositions.FUSION_PICKLE)

    with pytest.raises(PickleError, match="--allow-pickle"):
        folders.read(folder)


def drop(folder: Path, part: str) -> None:
    """Takes the tensors whose names have a part out of an adapter's weights."""
    from safetensors.numpy import load_file

    path = folder / "adapter.safetensors"
    save(path, {name: each for name, each in load_file(path).items() if part not in name})

"""AdapterHub's folders without its library: what is read, what is added to a bundle, and what is refused."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import edgeadapt
from edgeadapt.errors import BindingError, CheckpointError, EdgeAdaptError, PickleError, UnsupportedError
from edgeadapt.exporter import adapterhub, folders
from edgeadapt.exporter.adding import add
from tests.tiny import HIDDEN, LAYERS

WIDTH = 8
PFEIFFER: dict[str, Any] = {
    "mh_adapter": False,
    "output_adapter": True,
    "reduction_factor": HIDDEN / WIDTH,
    "non_linearity": "relu",
    "original_ln_before": True,
    "original_ln_after": True,
    "residual_before_ln": True,
    "leave_out": [],
}


def folder_of(path: Path, tensors: dict[str, Any] | None = None, head: bool = True, **options: Any) -> Path:
    """Writes a Pfeiffer bottleneck for the tiny BERT, with a head on its pooler, as AdapterHub names things."""
    generator = np.random.default_rng(0)
    path.mkdir(parents=True)
    if tensors is None:
        tensors = {
            f"bert.encoder.layer.{layer}.output.adapters.own.{name}": generator.normal(0, 0.3, shape)
            for layer in range(LAYERS)
            for name, shape in {
                "adapter_down.0.weight": (WIDTH, HIDDEN),
                "adapter_down.0.bias": (WIDTH,),
                "adapter_up.weight": (HIDDEN, WIDTH),
                "adapter_up.bias": (HIDDEN,),
            }.items()
        }
    save(path / adapterhub.WEIGHTS, tensors)
    config = {"config": {**PFEIFFER, **options}, "model_type": "bert", "name": "own", "version": "adapters.1.3.0"}
    (path / "adapter_config.json").write_text(json.dumps(config))
    if head:
        (path / "head_config.json").write_text(
            json.dumps({"name": "own", "config": {
                "head_type": "classification", "layers": 1, "activation_function": "tanh", "use_pooler": True,
                "num_labels": 3, "label2id": {"no": 0, "yes": 1, "maybe": 2},
            }})
        )  # fmt: skip
        save(
            path / "model_head.safetensors",
            {"heads.own.1.weight": generator.normal(0, 0.3, (3, HIDDEN)), "heads.own.1.bias": np.ones(3)},
        )
    return path


def save(path: Path, tensors: dict[str, Any]) -> None:
    save_file({name: np.ascontiguousarray(array, np.float32) for name, array in tensors.items()}, path)


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


def test_a_bottleneck_is_added_with_its_head_and_labels(bundle: Path, tmp_path: Path) -> None:
    report = add(bundle, folder_of(tmp_path / "own"), "own")

    session = edgeadapt.load(bundle)
    assert report.max_abs_error <= 1e-5
    assert report.effect > 0.05
    found = session.adapters["own"]
    assert (found.method, found.labels) == ("bottleneck", ("no", "yes", "maybe"))
    assert found.source["kind"] == "adapterhub"


def test_a_stored_pair_of_weights_does_what_its_formula_says(bundle: Path, tmp_path: Path) -> None:
    """The last layer's block alone, computed by hand from what the bundle's subgraph is given."""
    import onnxruntime

    folder = folder_of(tmp_path / "own")
    add(bundle, folder, "own")
    tensors = load_file(folder / adapterhub.WEIGHTS)
    site = f"bert.encoder.layer.{LAYERS - 1}.output.dense"
    own = {
        name.partition(".adapters.own.")[2]: array.astype(np.float64)
        for name, array in tensors.items()
        if name.startswith(f"bert.encoder.layer.{LAYERS - 1}.")
    }
    session = onnxruntime.InferenceSession(str(bundle / "adapters" / "own" / "subgraph.onnx"))
    generator = np.random.default_rng(1)
    given = {
        each.name: generator.normal(size=[{"batch": 2, "n": 5}.get(dim, dim) for dim in each.shape]).astype(np.float32)
        for each in session.get_inputs()
    }

    (out,) = session.run([f"{site}/out"], given)

    y, residual = given[f"{site}/y"].astype(np.float64), given[f"{site}/residual"]
    total = y + residual
    normed = (total - total.mean(-1, keepdims=True)) / np.sqrt(total.var(-1, keepdims=True) + 1e-12)
    x = normed * given[f"{site}/norm.weight"] + given[f"{site}/norm.bias"]
    down = np.maximum(x @ own["adapter_down.0.weight"].T + own["adapter_down.0.bias"], 0)
    np.testing.assert_allclose(out, y + down @ own["adapter_up.weight"].T + own["adapter_up.bias"], atol=1e-5)


REFUSED: dict[str, tuple[dict[str, Any], type[EdgeAdaptError], str]] = {
    "an unknown option": ({"sideways": True}, UnsupportedError, "sideways = true: edgeadapt does not know this option"),
    "an activation": ({"non_linearity": "prelu"}, EdgeAdaptError, "activation 'prelu' is not supported"),
    "an architecture": (
        {"architecture": "reft"},
        UnsupportedError,
        "AdapterHub's reft is not supported (it changes tokens by their place",
    ),
    "a residual": ({"residual_before_ln": "before"}, EdgeAdaptError, "residual_before_ln = 'before' is none of"),
    "a place": ({"output_adapter": False}, CheckpointError, "output.dense: has a bottleneck, but its configuration"),
    "half floats": (
        {"architecture": "lora", "dtype": "bfloat16"},
        UnsupportedError,
        "dtype = bfloat16: adapters 1.3.0 can't run it over a base in float32",
    ),
    "a layer left out": (
        {"leave_out": [0]},
        BindingError,
        "has a bottleneck, but the configuration's leave_out names its layer",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cant_be_done_is_refused_by_name(name: str, bundle: Path, tmp_path: Path) -> None:
    options, error, words = REFUSED[name]
    before = sorted(path.name for path in bundle.rglob("*"))

    with pytest.raises(error) as caught:
        add(bundle, folder_of(tmp_path / "own", **options), "own")

    assert words in str(caught.value)
    assert sorted(path.name for path in bundle.rglob("*")) == before


def test_missing_and_spare_tensors_are_named_together(bundle: Path, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "own")
    tensors: dict[str, Any] = dict(load_file(folder / adapterhub.WEIGHTS))
    del tensors["bert.encoder.layer.0.output.adapters.own.adapter_up.bias"]
    tensors["bert.encoder.layer.1.output.adapters.own.gate.weight"] = np.zeros((1, HIDDEN))
    save(folder / adapterhub.WEIGHTS, tensors)

    with pytest.raises(BindingError) as caught:
        add(bundle, folder, "own")

    assert "layer.0.output.dense: the bottleneck lacks adapter_up.bias" in str(caught.value)
    assert "layer.1.output.dense: the bottleneck has gate.weight, which its configuration" in str(caught.value)


def test_a_layer_without_its_block_is_named(bundle: Path, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "own")
    tensors = load_file(folder / adapterhub.WEIGHTS)
    save(folder / adapterhub.WEIGHTS, {name: each for name, each in tensors.items() if ".layer.0." in name})

    with pytest.raises(BindingError, match=r"layer\.1\.output\.dense: got no bottleneck"):
        add(bundle, folder, "own")


def test_another_adapters_tensors_are_refused(tmp_path: Path) -> None:
    folder = folder_of(
        tmp_path / "own", {"bert.encoder.layer.0.output.adapters.other.adapter_up.bias": np.ones(HIDDEN)}
    )

    with pytest.raises(CheckpointError, match="no tensor of 'own'"):
        folders.read(folder)


@pytest.mark.parametrize(
    ("model_type", "told"),
    [("t5", "Supported: albert"), ("deberta", "a bias .* drawn at random"), ("xmod", "own language adapters")],
)
def test_an_architecture_without_a_table_is_refused(model_type: str, told: str, tmp_path: Path) -> None:
    folder = of_model(folder_of(tmp_path / "own"), model_type)

    with pytest.raises(UnsupportedError, match=f"adapters of {model_type} are not supported(.|\n)*{told}"):
        folders.read(folder)


def of_model(folder: Path, model_type: str) -> Path:
    """Makes a folder that of another architecture's adapter."""
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "model_type": model_type}))
    return folder


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"residual_before_ln": "post_add"}, "'post_add' has no meaning in gpt2, whose sums no norm follows"),
        ({"architecture": "lora", "use_dora": True}, "measures the weights of gpt2 along the other axis"),
    ],
)
def test_what_an_architecture_cant_do_is_refused(options: dict[str, Any], told: str, tmp_path: Path) -> None:
    folder = of_model(folder_of(tmp_path / "own", **options), "gpt2")

    with pytest.raises(UnsupportedError, match=told):
        folders.read(folder)


def test_an_interface_of_ones_own_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "own")
    (folder / "adapter_interface.json").write_text("{}")

    with pytest.raises(UnsupportedError, match="put into the model by an interface of your own"):
        folders.read(folder)


def test_a_head_that_transformers_lacks_is_refused_with_those_it_has(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "own")
    config = json.loads((folder / "head_config.json").read_text())
    config["config"]["layers"] = 3
    (folder / "head_config.json").write_text(json.dumps(config))

    with pytest.raises(UnsupportedError, match=r"classification of 3 layers(.|\n)*Known for bert: tagging: classifier"):
        folders.read(folder)


def test_a_pickle_needs_permission(tmp_path: Path) -> None:
    import torch

    folder = folder_of(tmp_path / "own", head=False)
    tensors = load_file(folder / adapterhub.WEIGHTS)
    torch.save({name: torch.from_numpy(array) for name, array in tensors.items()}, folder / adapterhub.PICKLE)
    (folder / adapterhub.WEIGHTS).unlink()

    with pytest.raises(PickleError, match="--allow-pickle"):
        folders.read(folder)
    assert len(folders.read(folder, allow_pickle=True).tensors) == len(tensors)


@pytest.mark.skipif(importlib.util.find_spec("adapters") is not None, reason="AdapterHub's library is there")
def test_an_export_without_the_library_says_what_to_do(tiny_base: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="`edgeadapt add` it"):
        edgeadapt.export(
            tiny_base, {"own": folder_of(tmp_path / "own")}, tmp_path / "bundle", task="text-classification"
        )
    assert not (tmp_path / "bundle").exists()

"""One ONNX model out of a bundle: folded or switchable, it says what PyTorch says, and the base is left alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import peft
import pytest
import torch
import transformers
from safetensors.numpy import load_file, save_file

import edgeadapt
from edgeadapt import bundle
from edgeadapt.adapter import Array
from edgeadapt.errors import OutputExistsError
from edgeadapt.exporter import assemble, merging
from edgeadapt.exporter.merging import merge
from edgeadapt.exporter.pipeline import export
from edgeadapt.graph import sites
from edgeadapt.graph.fold import base_weights
from tests import tiny
from tests.exporter import snapshot
from tests.exporter.classifiers import LEAST_EFFECT, MAX_ERROR, batch, from_peft

LABELS = {"spam": 2, "intents": 5}


@pytest.fixture(scope="module")
def headless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base without a head, whose zero biases the exporter merges into one, and two adapters, in a bundle.

    `one` trains biases too; both change the queries.
    """
    folder = tmp_path_factory.mktemp("headless")
    base = tiny.base(folder / "base")
    weights = load_file(base / "model.safetensors")
    for name in weights:
        if name.endswith(("query.bias", "key.bias", "value.bias")):
            weights[name][:] = 0
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    options: dict[str, dict[str, Any]] = {
        "one": {"targets": ["query", "intermediate.dense"], "bias": "lora_only"},
        "two": {"targets": ["query", "value", "word_embeddings"], "rank": 2, "seed": 3},
    }
    adapters = {
        name: tiny.lora_adapter(base, folder / name, "feature-extraction", **each) for name, each in options.items()
    }
    export(base, adapters, folder / "bundle")
    return folder


def run(model: Path, **feeds: Array) -> Array:
    """Returns the first output of a model, run by ONNX Runtime alone."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    output: Array = session.run(None, feeds)[0]
    return output


def merged_in_torch(folder: Path, names: Sequence[str]) -> Array:
    """Returns the hidden states of the base with adapters merged into it by PEFT, one after the other."""
    with tiny.quiet(), torch.no_grad():
        model = transformers.AutoModel.from_pretrained(folder / "base")
        for name in names:
            model = peft.PeftModel.from_pretrained(model, str(folder / name)).merge_and_unload()
        inputs = {name: torch.from_numpy(array) for name, array in batch().items()}
        states: Array = model.eval()(**inputs).last_hidden_state.numpy()
        return states


def weights(folder: Path, name: str) -> dict[str, Array]:
    """Returns an adapter's arrays, as ONNX Runtime reads them."""
    path = folder / "adapters" / name / "weights.onnx_adapter"
    values = onnxruntime.AdapterFormat.read_adapter(str(path)).get_parameters()
    return {slot: np.array(value.numpy()) for slot, value in values.items()}


@pytest.mark.parametrize("name", sorted(LABELS))
def test_folded_is_switched_is_peft(
    name: str, tiny_bundle: Path, tiny_base: Path, tiny_adapters: dict[str, Path], tmp_path: Path
) -> None:
    before = snapshot(tiny_bundle)
    (folded,) = merge(tiny_bundle, [name], tmp_path / "fold.onnx", mode="fold")
    (switched,) = merge(tiny_bundle, [name], tmp_path / "switch.onnx", mode="switch")

    record = bundle.read_adapter(tiny_bundle / "adapters" / name).parity
    assert record is not None
    for report in (folded, switched):
        assert report.name == name
        assert report.max_abs_error <= MAX_ERROR < LEAST_EFFECT < report.effect == record.effect
    expected = from_peft(tiny_base, tiny_adapters[name], LABELS[name])
    for got in (
        run(tmp_path / "fold.onnx", **batch()),
        run(tmp_path / "switch.onnx", **batch(), **weights(tiny_bundle, name)),
    ):
        np.testing.assert_allclose(got, expected, atol=MAX_ERROR, rtol=0)
    assert snapshot(tiny_bundle) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fold.onnx", "switch.onnx"]
    for model in ("fold.onnx", "switch.onnx"):
        onnx.checker.check_model(tmp_path / model, full_check=True)


def test_a_folded_model_takes_the_bases_inputs_alone(tiny_bundle: Path, tmp_path: Path) -> None:
    merge(tiny_bundle, ["spam"], tmp_path / "spam.onnx", mode="fold")

    model = ir.load(tmp_path / "spam.onnx")
    assert [value.name for value in model.graph.inputs] == ["input_ids", "attention_mask", "token_type_ids"]
    assert [value.name for value in model.graph.outputs] == ["logits"]


def test_folding_changes_targeted_initializers_and_leaves_the_bases_nodes_alone(headless: Path, tmp_path: Path) -> None:
    merge(headless / "bundle", ["two"], tmp_path / "two.onnx", mode="fold")

    old, new = ir.load(headless / "bundle" / assemble.BASE), ir.load(tmp_path / "two.onnx")
    wirings = sites.read(headless / "bundle")
    params = assemble.read_subgraphs(headless / "bundle", ["two"])["two"].attachments
    changed = {}
    for before, after in zip(old.graph, new.graph, strict=True):
        assert (after.op_type, after.domain, after.name) == (before.op_type, before.domain, before.name)
        assert {name: each.value for name, each in after.attributes.items() if name != "value"} == {
            name: each.value for name, each in before.attributes.items() if name != "value"
        }
        assert [value.name for value in after.outputs] == [value.name for value in before.outputs]
        for one, other in zip(before.inputs, after.inputs, strict=True):
            if one is not None and other is not None and one.name != other.name and stored(one) != stored(other):
                changed[before.outputs[0].name] = (one, other)
    products = {call.product: each for each in params for call in wirings.sites[each.site].calls}
    assert changed.keys() == products.keys()
    for product, (_, other) in changed.items():
        assert other.const_value is not None
        first, second = (array[0].astype(np.float64) for array in products[str(product)].params.values())
        weight, _ = base_weights(old)(wirings.sites[products[str(product)].site])
        moved = (weight.astype(np.float64) + first @ second).astype(np.float32)
        got = other.const_value.numpy()
        np.testing.assert_array_equal(got if got.shape == moved.shape else got.T, moved)
    for name, value in new.graph.initializers.items():
        if name in old.graph.initializers:
            assert stored(value) == stored(old.graph.initializers[name])


def stored(value: ir.Value) -> tuple[str, bytes] | None:
    """Returns shape, dtype and bytes of an initializer."""
    tensor = value.const_value
    return None if tensor is None else (f"{tensor.dtype} {tensor.shape}", tensor.tobytes())


def test_an_initializer_that_serves_many_sites_is_not_edited_in_place(headless: Path, tmp_path: Path) -> None:
    base = ir.load(headless / "bundle" / assemble.BASE)
    wirings = sites.read(headless / "bundle")
    attention = "encoder.layer.{}.attention.self.{}"
    query, value = attention.format(0, "query"), attention.format(1, "value")
    shared = [each for each in base.graph.initializers.values() if len(_sites_of(each, base, wirings)) > 1]
    assert any({query, value} <= _sites_of(each, base, wirings) for each in shared)

    merge(headless / "bundle", ["one"], tmp_path / "one.onnx", mode="fold")

    folded = ir.load(tmp_path / "one.onnx")
    params = {each.site: each for each in _attachments(headless, "one") if each.method == "bias"}
    np.testing.assert_array_equal(_bias(folded, wirings, query), params[query].params["bias_delta"][0, 0])
    assert np.abs(_bias(folded, wirings, query)).max() > 0.1
    assert not _bias(folded, wirings, value).any()


def _attachments(headless: Path, name: str) -> Sequence[Any]:
    return assemble.read_subgraphs(headless / "bundle", [name])[name].attachments


def _bias(model: ir.Model, wirings: sites.Wirings, site: str) -> Array:
    bias = base_weights(model)(wirings.sites[site])[1]
    assert bias is not None
    return bias


def _sites_of(value: ir.Value, model: ir.Model, wirings: sites.Wirings) -> set[str]:
    """Returns the sites whose output is made by a node that reads `value`."""
    makers = {output.name for node in value.consumers() for output in node.outputs}
    return {name for name, wiring in wirings.sites.items() for call in wiring.calls if {call.product, call.y} & makers}


@pytest.mark.parametrize("names", [["one", "two"], ["two", "one"]], ids=" then ".join)
def test_several_are_folded_in_order(names: list[str], headless: Path, tmp_path: Path) -> None:
    (report,) = merge(headless / "bundle", names, tmp_path / "both.onnx", mode="fold")

    assert report.name == "+".join(names)
    assert report.max_abs_error <= MAX_ERROR
    got = run(tmp_path / "both.onnx", **batch())
    np.testing.assert_allclose(got, merged_in_torch(headless, names), atol=MAX_ERROR, rtol=0)
    for name in names:
        assert np.abs(got - merged_in_torch(headless, [name])).max() > LEAST_EFFECT


def test_a_switchable_model_is_the_bundles_model_bit_for_bit(headless: Path, tmp_path: Path) -> None:
    reports = merge(headless / "bundle", ["one", "two"], tmp_path / "both.onnx", mode="switch")

    assert [report.name for report in reports] == ["one", "two"]
    model = bundle.read_manifest(headless / "bundle").model.file
    neutrals = {
        slot.name: np.zeros(slot.neutral.shape, np.float32)
        for slot in bundle.read_manifest(headless / "bundle").slots
        if isinstance(slot.neutral, bundle.Neutral)
    }
    for name in ("one", "two"):
        feeds = {**batch(), **neutrals, **weights(headless / "bundle", name)}
        np.testing.assert_array_equal(run(tmp_path / "both.onnx", **feeds), run(headless / "bundle" / model, **feeds))
        np.testing.assert_allclose(
            run(tmp_path / "both.onnx", **feeds), merged_in_torch(headless, [name]), atol=MAX_ERROR, rtol=0
        )
    np.testing.assert_array_equal(
        run(tmp_path / "both.onnx", **batch(), **neutrals),
        np.asarray(edgeadapt.load(headless / "bundle").run(batch())["last_hidden_state"]),
    )


@pytest.mark.parametrize("mode", ["fold", "switch"])
def test_the_base_and_the_subgraphs_are_all_that_is_merged(
    mode: Literal["fold", "switch"], headless: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []
    whole = ir.load

    def load(path: Path) -> ir.Model:
        if not Path(path).name.startswith(".merge."):  # what is being written, read back to be compared
            loaded.append(str(Path(path).relative_to(headless / "bundle")))
        return whole(path)

    monkeypatch.setattr(ir, "load", load)
    monkeypatch.setattr(merging, "load", None)
    monkeypatch.setattr(onnxruntime, "AdapterFormat", None)

    merge(headless / "bundle", ["one"], tmp_path / "one.onnx", mode=mode)

    assert set(loaded) == {"base.onnx", "adapters/one/subgraph.onnx"}


def test_two_heads_can_be_switched(tiny_bundle: Path, tmp_path: Path) -> None:
    merge(tiny_bundle, ["spam", "intents"], tmp_path / "both.onnx", mode="switch")

    session = edgeadapt.load(tiny_bundle)
    model = ir.load(tmp_path / "both.onnx")
    slots = [str(value.name) for value in model.graph.inputs][3:]
    assert sorted(slots) == sorted(slot.name for slot in session.manifest.slots)
    for name in LABELS:
        filling = session.adapter(name).filling.arrays
        got = run(tmp_path / "both.onnx", **batch(), **{slot: filling[slot] for slot in slots})
        np.testing.assert_array_equal(got, np.asarray(session.run(batch(), adapter=name)["logits"]))


def test_large_weights_get_a_file_of_their_own(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    merge(tiny_bundle, ["spam"], tmp_path / "small.onnx", mode="fold")
    monkeypatch.setattr(merging, "ONE_FILE_BYTES", 0)

    merge(tiny_bundle, ["spam"], tmp_path / "deep" / "large.onnx", mode="fold")

    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["large.onnx", "large.onnx.data"]
    np.testing.assert_array_equal(
        run(tmp_path / "deep" / "large.onnx", **batch()), run(tmp_path / "small.onnx", **batch())
    )
    (tmp_path / "deep" / "large.onnx").unlink()
    with pytest.raises(OutputExistsError, match=r"large\.onnx\.data exists already"):
        merge(tiny_bundle, ["spam"], tmp_path / "deep" / "large.onnx", mode="fold")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["large.onnx.data"]

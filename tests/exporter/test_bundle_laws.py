"""The laws of a whole bundle: the base bit for bit, rows as adapters alone, every batch size and length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import edgeadapt
from edgeadapt import bundle
from edgeadapt.errors import AdapterError
from edgeadapt.exporter import bare
from edgeadapt.exporter.pipeline import export
from tests import tiny
from tests.exporter.classifiers import batch


@pytest.fixture(scope="module")
def headed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base with a trained head of 4 labels; one adapter keeps it, one brings its own of 3."""
    folder = tmp_path_factory.mktemp("headed")
    tiny.base(folder / "base", "bert", "text-classification", num_labels=4)
    tiny.lora_adapter(folder / "base", folder / "keeps", "feature-extraction", rank=3, targets=r".*query")
    _as_part_of_a_headed_model(folder / "keeps")
    tiny.lora_adapter(folder / "base", folder / "brings", rank=5, targets=["query", "dense"], num_labels=3)
    adapters = {"keeps": folder / "keeps", "brings": folder / "brings"}
    export(folder / "base", adapters, folder / "bundle", task="text-classification")
    return folder


def _as_part_of_a_headed_model(folder: Path) -> None:
    """Makes the adapter of a headless model one for the model with a head, whose names have its prefix, or not."""
    import json

    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "task_type": None}))


def test_without_an_adapter_the_switchable_model_is_the_base_bit_for_bit(headed: Path, tmp_path: Path) -> None:
    """With ONNX Runtime's own rewriting off: with it on, slots end some of its fusions, which round differently."""
    keeps = export(headed / "base", {"keeps": headed / "keeps"}, tmp_path / "bundle", task="text-classification").path
    inputs = batch(4, 16)
    plain = onnxruntime.SessionOptions()
    plain.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    slots = bundle.read_manifest(keeps).slots
    neutrals = bare.fill(slots, {}, {})
    assert neutrals.keys() == {slot.name for slot in slots}

    got, expected = (
        onnxruntime.InferenceSession(keeps / file, plain, providers=["CPUExecutionProvider"]).run(["logits"], feeds)[0]
        for file, feeds in (("model.onnx", {**inputs, **neutrals}), ("base.onnx", inputs))
    )

    np.testing.assert_array_equal(got, expected)
    np.testing.assert_allclose(np.asarray(edgeadapt.load(keeps).run(inputs)["logits"]), expected, atol=2e-6)


@pytest.mark.parametrize(("rows", "length"), [(1, 1), (1, 7), (2, 1), (3, 40), (8, 128)])
def test_any_batch_and_length_says_what_pytorch_says(rows: int, length: int, headed: Path) -> None:
    import torch
    import transformers

    inputs = batch(rows, length)
    with tiny.quiet(), torch.no_grad():
        model = transformers.AutoModelForSequenceClassification.from_pretrained(headed / "base").eval()
        expected = model(**{name: torch.from_numpy(array) for name, array in inputs.items()}).logits.numpy()

    got = edgeadapt.load(headed / "bundle").run(inputs)["logits"]

    np.testing.assert_allclose(np.asarray(got), expected, atol=1e-5)


@pytest.mark.parametrize("rows", [["keeps", "brings", None], ["brings", "brings", "keeps"], [None, None, "brings"]])
def test_a_row_of_a_mixed_batch_is_its_adapter_alone(rows: list[str | None], headed: Path) -> None:
    session = edgeadapt.load(headed / "bundle")
    inputs = batch(len(rows), 12)

    mixed = session.run(inputs, adapter=rows)["logits"]

    for index, name in enumerate(rows):
        alone = session.run(inputs, adapter=name)["logits"][index]
        assert mixed[index].shape == alone.shape == ((3,) if name == "brings" else (4,))
        np.testing.assert_allclose(mixed[index], alone, atol=2e-6)


def test_a_base_without_a_head_names_it_and_the_adapters(tiny_bundle: Path) -> None:
    session = edgeadapt.load(tiny_bundle)

    with pytest.raises(AdapterError, match=r"classifier(.|\n)*(intents|spam)"):
        session.run(batch(2, 8))


def test_rows_that_meet_in_a_call_without_a_batch_are_run_apart(tmp_path: Path) -> None:
    tiny.base(tmp_path / "base", "deberta-v2")
    adapters = {
        name: tiny.lora_adapter(
            tmp_path / "base", tmp_path / name, "feature-extraction", targets=["query_proj", "key_proj"], seed=seed
        )
        for seed, name in enumerate(("one", "two"))
    }
    export(tmp_path / "base", adapters, tmp_path / "bundle")
    session = edgeadapt.load(tmp_path / "bundle")
    inputs = batch(4, 9)
    inputs.pop("token_type_ids")

    mixed = session.run(inputs, adapter=["one", "two", None, "one"])["last_hidden_state"]

    assert {slot.shape[0] for slot in session.manifest.slots} == {1}
    for index, name in enumerate(("one", "two", None, "one")):
        alone = session.run(inputs, adapter=name)["last_hidden_state"][index]
        real = inputs["attention_mask"][index] == 1
        np.testing.assert_allclose(mixed[index][real], alone[real], atol=2e-6)


def test_the_opset_that_is_asked_for_is_written(
    tiny_base: Path, tiny_adapters: dict[str, Path], tmp_path: Path
) -> None:
    export(tiny_base, {"spam": tiny_adapters["spam"]}, tmp_path / "bundle", opset=18)

    session = edgeadapt.load(tmp_path / "bundle")
    assert session.manifest.model.opset == 18

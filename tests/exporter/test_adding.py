"""Adapters that come to a bundle and leave it: what they say there, and what never changes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import edgeadapt
from edgeadapt import bundle
from edgeadapt.exporter.adding import add, remove
from edgeadapt.exporter.pipeline import export
from tests import tiny
from tests.exporter import snapshot
from tests.exporter.classifiers import CASES, FITTING, LEAST_EFFECT, MAX_ERROR, all_verify, batch, from_peft, outputs

DATA = ("base.onnx", "model.onnx.data", "sites.json", "tokenizer.json")


@pytest.mark.parametrize("case", sorted(CASES))
def test_an_added_adapter_says_what_peft_says_and_changes_no_other(
    case: str, home: Path, tiny_base: Path, adapters: dict[str, Path]
) -> None:
    before, files = outputs(home), snapshot(home)

    report = add(home, adapters[case], "new")

    after = outputs(home)
    assert report.max_abs_error <= MAX_ERROR < LEAST_EFFECT < report.effect
    np.testing.assert_allclose(after["new"], from_peft(tiny_base, adapters[case], 4), atol=MAX_ERROR, rtol=0)
    assert sorted(after) == ["intents", "new", "spam"]
    for name, logits in before.items():
        # A norm with slots is computed in two steps, which round once more.
        rounding = 2e-6 if "norm" in case else 0
        np.testing.assert_allclose(after[name], logits, atol=rounding, rtol=0, err_msg=name)
    assert all_verify(home)
    now = snapshot(home)
    assert {name: now[name] for name in DATA} == {name: files[name] for name in DATA}


@pytest.mark.parametrize("case", sorted(FITTING))
def test_nothing_that_was_there_is_written_where_the_slots_suffice(
    case: str, home: Path, adapters: dict[str, Path]
) -> None:
    before = snapshot(home)

    add(home, adapters[case], "new")

    after = snapshot(home)
    assert {name for name in after if name not in before} == {
        f"adapters/new/{file}" for file in ("adapter.json", "parity.npz", "subgraph.onnx", "weights.onnx_adapter")
    }
    assert {name: after[name] for name in before} == before


def test_the_graph_is_replaced_where_slots_are_missing(home: Path, adapters: dict[str, Path]) -> None:
    old = bundle.read_manifest(home)

    add(home, adapters["embeddings"], "new")

    new = bundle.read_manifest(home)
    added = [slot.name for slot in new.slots if slot not in old.slots]
    assert added == [
        "bert.embeddings.word_embeddings.lora_embedding_A",
        "bert.embeddings.word_embeddings.lora_embedding_B",
    ]
    assert [slot for slot in new.slots if slot.name not in added] == list(old.slots)
    assert new.model.file != old.model.file
    assert sorted(path.name for path in home.glob("*.onnx")) == ["base.onnx", new.model.file]
    assert sorted(new.files) == sorted({*DATA, new.model.file})


def test_the_onnx_runtime_that_a_bundle_needs_is_read_off_its_new_graph(
    tiny_base: Path, tiny_adapters: dict[str, Path], adapters: dict[str, Path], tmp_path: Path
) -> None:
    home = export(tiny_base, {"spam": tiny_adapters["spam"]}, tmp_path / "bundle", opset=18).path
    old = bundle.read_manifest(home)
    assert old.model.onnxruntime == ">=1.20"
    bundle.write_manifest(home, replace(old, model=replace(old.model, onnxruntime=">=1.22")))

    add(home, adapters["query"], "fits")
    assert bundle.read_manifest(home).model.onnxruntime == ">=1.22"
    add(home, adapters["embeddings"], "new")
    assert bundle.read_manifest(home).model.onnxruntime == ">=1.20"


def test_the_record_says_what_it_was_compared_with(home: Path, adapters: dict[str, Path]) -> None:
    add(home, adapters["query"], "new", labels=("a", "b", "c", "d"))

    record = bundle.read_adapter(home / "adapters" / "new")
    assert record.parity is not None
    assert record.parity.reference.startswith("its fold in onnxruntime ")
    assert record.fingerprint == bundle.read_manifest(home).fingerprint
    assert record.labels == ("a", "b", "c", "d")


def test_torch_is_never_imported(home: Path, adapters: dict[str, Path]) -> None:
    script = (
        "import sys; from pathlib import Path; from edgeadapt.exporter.adding import add, remove\n"
        "home, one, two = map(Path, sys.argv[1:]); add(home, one, 'one'); add(home, two, 'two'); remove(home, 'one')\n"
        "print(*sorted({'torch', 'transformers', 'peft', 'optimum'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", script, str(home), str(adapters["query"]), str(adapters["biases"])]

    done = subprocess.run(command, check=True, capture_output=True, text=True)

    assert done.stdout == "\n"
    assert sorted(edgeadapt.load(home).adapters) == ["intents", "spam", "two"]


@pytest.mark.parametrize("case", ["query", "biases"])
def test_an_adapter_that_came_and_went_leaves_a_bundle_that_works(
    case: str, home: Path, adapters: dict[str, Path]
) -> None:
    before = outputs(home)

    add(home, adapters[case], "new")
    remove(home, "new")

    after = outputs(home)
    assert after.keys() == before.keys()
    for name, logits in before.items():
        np.testing.assert_array_equal(after[name], logits)
    assert all_verify(home)
    assert sorted(path.name for path in (home / "adapters").iterdir()) == ["intents", "none", "spam"]
    add(home, adapters[case], "new")
    assert all_verify(home)


def test_a_change_of_the_bases_head_and_a_head_of_another_size_share_a_bundle(headed: Path, tmp_path: Path) -> None:
    """The neutral of the LoRA on the base's head of 3 labels is as long as the head of 5 that stands in its place."""
    base = headed / "base"
    tunes = tiny.lora_adapter(base, tmp_path / "tunes", task_type=None, targets=["query", "classifier"])
    sources = {"tunes": tunes, "brings": headed / "brings"}

    exported = export(base, sources, tmp_path / "bundle", task="text-classification")
    grown = export(base, {"tunes": tunes}, tmp_path / "grown", task="text-classification")
    add(grown.path, headed / "brings", "brings")

    expected = {name: from_peft(base, folder, 3 if name == "tunes" else 5) for name, folder in sources.items()}
    for home in (exported.path, grown.path):
        for name, logits in expected.items():
            np.testing.assert_allclose(outputs(home)[name], logits, atol=MAX_ERROR, rtol=0)
    with pytest.raises(edgeadapt.EdgeAdaptError, match=r"labels: 3, 5 of them"):
        edgeadapt.load(exported.path).run(batch(), adapter={"tunes": 0.5, "brings": 0.5})


def test_a_head_of_another_size_comes_to_a_base_that_has_one(headed: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(headed / "bundle", tmp_path / "bundle"))
    before = np.asarray(edgeadapt.load(home).run(batch())["logits"]), outputs(home)

    add(home, headed / "brings", "brings")

    session = edgeadapt.load(home)
    np.testing.assert_array_equal(np.asarray(session.run(batch())["logits"]), before[0])
    np.testing.assert_array_equal(outputs(home)["keeps"], before[1]["keeps"])
    np.testing.assert_allclose(
        outputs(home)["brings"], from_peft(headed / "base", headed / "brings", 5), atol=MAX_ERROR, rtol=0
    )
    assert session.manifest.outputs[0].shape == ("batch", "labels")
    assert all_verify(home)

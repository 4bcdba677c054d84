"""Adapters that come to a bundle and leave it: what changes, what never does, and what an accident leaves behind."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import peft
import pytest
import torch
import transformers

import edgeadapt
from edgeadapt import bundle
from edgeadapt.adapter import Array
from edgeadapt.errors import (
    AdapterError,
    BindingError,
    BundleError,
    CheckpointError,
    EdgeAdaptError,
    ParityError,
    PickleError,
)
from edgeadapt.exporter import assemble
from edgeadapt.exporter.adding import add, remove
from edgeadapt.exporter.pipeline import export
from edgeadapt.graph import subgraph
from edgeadapt.parity import Tolerance
from edgeadapt.runtime.verify import verify
from tests import tiny
from tests.exporter import WEIGHTS, altered, snapshot, zeroed

MAX_ERROR = 1e-5
LEAST_EFFECT = 0.05
DATA = ("base.onnx", "model.onnx.data", "sites.json", "tokenizer.json")

FITTING: dict[str, dict[str, Any]] = {"query": {"targets": ["query"]}, "as spam": {"targets": ["query", "value"]}}
"""Adapters of `tiny_base` that need no slot which `tiny_bundle` lacks."""

WIDER: dict[str, dict[str, Any]] = {
    "embeddings": {"targets": ["word_embeddings", "query"]},
    "biases": {"bias": "all"},
    "bias of B": {"lora_bias": True},
    "a norm trained whole": {"modules_to_save": ["output.LayerNorm"]},
    "a projection trained whole": {"targets": ["key"], "modules_to_save": ["attention.self.query"]},
}
"""Adapters that need slots of their own, some at sites where the others have some."""

CASES = {**FITTING, **WIDER}


@pytest.fixture(scope="module")
def adapters(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every adapter of `CASES`. Read-only."""
    parent = tmp_path_factory.mktemp("adapters")
    return {
        name: tiny.lora_adapter(tiny_base, parent / name, rank=3, num_labels=4, seed=9, **options)
        for name, options in CASES.items()
    }


@pytest.fixture
def home(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the bundle, to change."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


def batch(rows: int = 3, length: int = 11) -> dict[str, Array]:
    """Returns random tokens, the last row padded."""
    ids = np.random.default_rng(4).integers(5, 100, (rows, length))
    mask = np.ones_like(ids)
    mask[-1, 4:] = 0
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


def outputs(folder: Path) -> dict[str, Array]:
    """Returns the logits of every adapter of a bundle."""
    session = edgeadapt.load(folder)
    return {name: np.asarray(session.run(batch(), adapter=name)["logits"]) for name in session.adapters}


def all_verify(folder: Path) -> bool:
    session = edgeadapt.load(folder)
    return all(verify(session, name).passed for name in (None, *session.adapters))


def from_peft(base: Path, folder: Path, num_labels: int) -> Array:
    """Returns the logits of a classifier on `base` with the adapter in `folder`, as PEFT has them."""
    with tiny.quiet(), torch.no_grad():
        model = transformers.AutoModelForSequenceClassification.from_pretrained(
            base, num_labels=num_labels, ignore_mismatched_sizes=True
        )
        wrapped = peft.PeftModel.from_pretrained(model, str(folder)).eval()
        inputs = {name: torch.from_numpy(array) for name, array in batch().items()}
        logits: Array = wrapped(**inputs).logits.numpy()
        return logits


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


def test_only_an_adapter_that_is_there_is_removed(home: Path) -> None:
    before = snapshot(home)

    with pytest.raises(AdapterError, match=r"no adapter 'spma' \(did you mean 'spam'\?\)\.\nIt has: intents, spam\."):
        remove(home, "spma")
    with pytest.raises(AdapterError, match="no adapter 'none'"):
        remove(home, "none")
    with pytest.raises(BundleError, match=r"holds no edgeadapt\.json"):
        remove(home.parent, "spam")
    assert snapshot(home) == before


NAMES = [
    ("spam", "The bundle has an adapter 'spam' already.\nRemove it first, or take another name."),
    ("Spam", "The bundle has an adapter 'spam' already, other only in case."),
    ("none", "Not a name for an adapter: 'none' means the base itself."),
    ("None", "Not a name for an adapter: 'None' differs from 'none'"),
    ("../x", "Not a name for an adapter: '../x' is not 1 to 64 of the characters"),
    ("a/b", "Not a name for an adapter: 'a/b' is not 1 to 64"),
    ("", "Not a name for an adapter: '' is not 1 to 64"),
    ("con", "Not a name for an adapter: 'con' is a device on Windows."),
    ("x.", "Not a name for an adapter: 'x.' ends with a dot"),
    (".x", "Not a name for an adapter: '.x' is not 1 to 64"),
]


@pytest.mark.parametrize(("name", "message"), NAMES, ids=[name or "empty" for name, _ in NAMES])
def test_a_name_that_is_taken_or_unsafe_is_refused(
    name: str, message: str, home: Path, adapters: dict[str, Path]
) -> None:
    before = snapshot(home.parent)

    with pytest.raises(AdapterError) as caught:
        add(home, adapters["query"], name)

    assert str(caught.value).startswith(message)
    assert snapshot(home.parent) == before


def with_nan(folder: Path, target: Path) -> Path:
    return altered(folder, target, lambda tensors: {name: array * np.nan for name, array in tensors.items()})


def pickled(folder: Path, target: Path) -> Path:
    altered(folder, target)
    (target / WEIGHTS).rename(target / "adapter_model.bin")
    return target


BROKEN: dict[str, tuple[Callable[[Path, Path], Path], type[EdgeAdaptError], str]] = {
    "NaN": (with_nan, CheckpointError, "holds NaN or Inf"),
    "a pickle": (pickled, PickleError, "is a pickle"),
    "a lora_B that is missing": (
        lambda folder, target: altered(
            folder, target, lambda all_of: {n: a for n, a in all_of.items() if "0.attention.self.query.lora_B" not in n}
        ),
        BindingError,
        "got lora_A alone",
    ),
    "no effect": (lambda folder, target: altered(folder, target, zeroed), ParityError, "no effect: it moves"),
    "not a folder": (lambda folder, target: target, CheckpointError, "is not a folder"),
}


@pytest.mark.parametrize("case", sorted(BROKEN))
@pytest.mark.parametrize("slots", ["query", "embeddings"])
def test_an_adapter_that_is_refused_leaves_the_bundle_as_it_was(
    case: str, slots: str, home: Path, adapters: dict[str, Path], tmp_path: Path
) -> None:
    change, kind, message = BROKEN[case]
    source = change(adapters[slots], tmp_path / "broken")
    before = snapshot(home)

    with pytest.raises(kind) as caught:
        add(home, source, "new")

    assert type(caught.value) is kind
    assert message in str(caught.value)
    assert snapshot(home) == before
    assert sorted(path.name for path in (home / "adapters").iterdir()) == ["intents", "none", "spam"]


@pytest.mark.parametrize("case", ["query", "embeddings"])
def test_an_adapter_with_no_effect_passes_where_it_may(
    case: str, home: Path, adapters: dict[str, Path], tmp_path: Path
) -> None:
    report = add(home, altered(adapters[case], tmp_path / "zero", zeroed), "zero", allow_no_effect=True)

    assert report.no_effect
    assert report.effect < MAX_ERROR
    assert all_verify(home)


@pytest.mark.parametrize("case", ["query", "embeddings"])
def test_numbers_beyond_the_tolerance_leave_the_bundle_as_it_was(
    case: str, home: Path, adapters: dict[str, Path]
) -> None:
    before = snapshot(home)

    with pytest.raises(ParityError, match=r"(?s)Adapter 'new' fails:.*max abs error.*The bundle is as it was"):
        add(home, adapters[case], "new", tolerance=Tolerance(max_abs=1e-12))

    assert snapshot(home) == before


WRITES: list[tuple[Any, str, bool]] = [
    (assemble, "write_weights", True),
    (ir, "save", True),
    (assemble, "write_switch", True),
    (assemble, "write_case", True),
    (assemble, "add_parity", True),
    (bundle, "write_manifest", False),
]


@pytest.mark.parametrize(("module", "write", "after"), WRITES, ids=[write for _, write, _ in WRITES])
def test_a_full_disk_leaves_the_bundle_as_it_was(
    module: Any, write: str, after: bool, home: Path, adapters: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(home)
    whole = getattr(module, write)

    def fail(*arguments: Any, **options: Any) -> None:
        if after:
            whole(*arguments, **options)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, write, fail)
    with pytest.raises(BundleError, match=r"The disk is full: .*new was not written"):
        add(home, adapters["embeddings"], "new")

    assert snapshot(home) == before
    assert sorted(path.name for path in (home / "adapters").iterdir()) == ["intents", "none", "spam"]


KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from edgeadapt.exporter.adding import add
source, adapter, parent = map(Path, sys.argv[1:])
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")

def until(folder, left):
    def hook(event, arguments):
        nonlocal left
        changes = event in CHANGES or event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_WRONLY
        if changes and str(arguments[0]).startswith(str(folder)):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)
    add(folder, adapter, "new")

for step in range(1, 200):
    folder = parent / str(step)
    shutil.copytree(source, folder)
    child = os.fork()
    if child == 0:
        until(folder, step)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
"""


@pytest.fixture(scope="module")
def headed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base with a trained head of 3 labels, an adapter that keeps it, in a bundle, and one with a head of 5."""
    folder = tmp_path_factory.mktemp("headed")
    base = tiny.base(folder / "base", task="text-classification", num_labels=3)
    tiny.lora_adapter(base, folder / "keeps", "feature-extraction", targets=["query"])
    tiny.lora_adapter(base, folder / "brings", targets=["query"], num_labels=5)
    export(base, {"keeps": folder / "keeps"}, folder / "bundle", task="text-classification")
    return folder


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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forks")
@pytest.mark.parametrize(
    "case",
    [
        "embeddings",
        "head",
    ],
)
def test_a_process_that_is_killed_at_any_step_leaves_a_bundle_that_works(
    case: str, tiny_bundle: Path, headed: Path, adapters: dict[str, Path], tmp_path: Path
) -> None:
    """At every file or folder that `add` makes, renames or removes: the adapter is there whole, or not at all."""
    home, adapter = (headed / "bundle", headed / "brings") if case == "head" else (tiny_bundle, adapters[case])
    command = [sys.executable, "-W", "ignore", "-c", KILLED, str(home), str(adapter), str(tmp_path)]
    subprocess.run(command, check=True)
    steps = sorted(int(path.name) for path in tmp_path.iterdir())

    there = []
    for step in steps:
        assert all_verify(tmp_path / str(step))
        there.append("new" in edgeadapt.load(tmp_path / str(step)).adapters)

    assert len(steps) > 10
    assert there == sorted(there)
    assert there[-1]
    middle = len(steps) // 2
    assert not there[middle]
    add(tmp_path / str(steps[middle]), adapter, "new")
    assert all_verify(tmp_path / str(steps[middle]))


def test_what_was_killed_is_mended_by_adding_again(headed: Path, tmp_path: Path) -> None:
    """Also after the graph and the base's own head were written, and before the manifest knew of them."""
    home = Path(shutil.copytree(headed / "bundle", tmp_path / "bundle"))
    late = Path(shutil.copytree(home, tmp_path / "late"))
    add(late, headed / "brings", "brings")
    left = [path for path in late.iterdir() if path.is_file() and not (home / path.name).exists()]
    for path in left:
        shutil.copy(path, home)
    assert {path.suffix for path in left} == {".onnx", ".onnx_adapter"}

    add(home, headed / "brings", "brings")

    assert all_verify(home)


# An adapter that was converted before: the folder of another bundle.


def test_an_adapter_of_another_bundle_keeps_pytorchs_proof(home: Path, tiny_bundle: Path) -> None:
    remove(home, "spam")

    report = add(home, tiny_bundle / "adapters" / "spam", "filter")

    old, new = (
        bundle.read_adapter(folder) for folder in (tiny_bundle / "adapters" / "spam", home / "adapters" / "filter")
    )
    assert new.name == "filter"
    assert (new.labels, new.sites, new.source) == (old.labels, old.sites, old.source)
    assert new.parity is not None
    assert old.parity is not None
    assert new.parity.reference == old.parity.reference
    assert new.parity.effect == old.parity.effect == report.effect
    stored = [
        dict(np.load(folder / "parity.npz"))
        for folder in (tiny_bundle / "adapters" / "spam", home / "adapters" / "filter")
    ]
    assert stored[0].keys() == stored[1].keys()
    for key, array in stored[0].items():
        np.testing.assert_array_equal(stored[1][key], array)
    np.testing.assert_array_equal(outputs(home)["filter"], outputs(tiny_bundle)["spam"])
    assert all_verify(home)


def test_an_adapter_of_another_bundle_may_need_slots_and_get_labels(
    home: Path, tiny_bundle: Path, adapters: dict[str, Path], tmp_path: Path
) -> None:
    other = Path(shutil.copytree(tiny_bundle, tmp_path / "other"))
    add(other, adapters["embeddings"], "new")
    before = outputs(home)

    add(home, other / "adapters" / "new", "new", labels=("a", "b", "c", "d"))

    after = outputs(home)
    np.testing.assert_array_equal(after["new"], outputs(other)["new"])
    for name, logits in before.items():
        np.testing.assert_array_equal(after[name], logits)
    assert edgeadapt.load(home).labels("new") == ("a", "b", "c", "d")
    assert all_verify(home)


def test_a_converted_folder_that_is_copied_in_is_there(home: Path, tiny_bundle: Path) -> None:
    remove(home, "spam")
    shutil.copytree(tiny_bundle / "adapters" / "spam", home / "adapters" / "copied")

    np.testing.assert_array_equal(outputs(home)["copied"], outputs(tiny_bundle)["spam"])
    assert all_verify(home)


def of_another_base(folder: Path) -> None:
    record = json.loads((folder / "adapter.json").read_text())
    (folder / "adapter.json").write_text(json.dumps({**record, "fingerprint": f"sha256:{'6' * 64}"}))


def with_a_changed_file(folder: Path) -> None:
    content = bytearray((folder / "subgraph.onnx").read_bytes())
    content[-1] ^= 1
    (folder / "subgraph.onnx").write_bytes(content)


def for_a_device(folder: Path) -> None:
    record = json.loads((folder / "adapter.json").read_text())
    del record["files"]["subgraph.onnx"]
    (folder / "adapter.json").write_text(json.dumps(record))


CONVERTED: dict[str, tuple[Callable[[Path], None], type[EdgeAdaptError], str]] = {
    "another base": (
        of_another_base,
        AdapterError,
        f"converted was made for another base:\n  fingerprint: got sha256:{'6' * 64}, expected {{fingerprint}}\n",
    ),
    "a changed file": (with_a_changed_file, BundleError, "subgraph.onnx: has the sha256 "),
    "a missing file": (lambda folder: (folder / "parity.npz").unlink(), BundleError, "parity.npz: is missing"),
    "no subgraph": (for_a_device, AdapterError, "has no subgraph.onnx: it was packaged for a device"),
}


@pytest.mark.parametrize("case", sorted(CONVERTED))
def test_a_converted_adapter_that_does_not_fit_is_refused(case: str, home: Path, tmp_path: Path) -> None:
    change, kind, message = CONVERTED[case]
    source = Path(shutil.copytree(home / "adapters" / "spam", tmp_path / "converted"))
    change(source)
    before = snapshot(home)

    with pytest.raises(kind) as caught:
        add(home, source, "new")

    assert message.format(fingerprint=bundle.read_manifest(home).fingerprint) in str(caught.value)
    assert snapshot(home) == before


def test_the_base_of_another_bundle_is_no_adapter(home: Path, tiny_bundle: Path) -> None:
    with pytest.raises(AdapterError, match="none is the base of a bundle, no adapter"):
        add(home, tiny_bundle / "adapters" / "none", "new")


def test_sites_that_the_bundle_lacks_are_named_all_at_once(home: Path, tmp_path: Path) -> None:
    """As of a bundle for another task on the same base."""
    source = Path(shutil.copytree(home / "adapters" / "spam", tmp_path / "converted"))
    _rename_sites(source, "bert.encoder.", "encoder.")

    with pytest.raises(BindingError) as caught:
        add(home, source, "new")

    headline, *problems, remedy = str(caught.value).splitlines()
    assert headline == f"{source} does not fit this bert base:"
    assert len(problems) == 4
    assert problems[0].startswith(
        "  encoder.layer.0.attention.self.query: the base has no such module (nearest: bert.enc"
    )
    assert remedy == "It was converted for another task: add its checkpoint."


def _rename_sites(folder: Path, old: str, new: str) -> None:
    """Renames the sites in an adapter's subgraph, and takes the change into its record."""
    model = ir.load(folder / "subgraph.onnx")
    for value in list(model.graph.initializers.values()):
        value.name = str(value.name).replace(old, new)
    attachments = model.metadata_props[subgraph.ATTACHMENTS]
    model.metadata_props[subgraph.ATTACHMENTS] = attachments.replace(old, new)
    ir.save(model, folder / "subgraph.onnx")
    record = bundle.read_adapter(folder)
    bundle.write_adapter(folder, replace(record, files=bundle.record_files(folder, record.files)))

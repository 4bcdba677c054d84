"""An adapter that was converted before, the folder of another bundle, comes to a bundle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

import edgeadapt
from edgeadapt import bundle
from edgeadapt.errors import AdapterError, BindingError, BundleError, EdgeAdaptError
from edgeadapt.exporter.adding import add, remove
from edgeadapt.graph import subgraph
from tests.exporter import snapshot
from tests.exporter.classifiers import all_verify, outputs


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

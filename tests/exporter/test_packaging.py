"""A package is the bundle without what a device doesn't need: same answers, same proof, fewer files."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import edgeadapt
from edgeadapt import bundle
from edgeadapt.errors import (
    AdapterError,
    BundleError,
    ConfigError,
    EdgeAdaptError,
    GraphError,
    OutputExistsError,
)
from edgeadapt.exporter import ort_format, packaging
from edgeadapt.exporter.adding import add, remove
from edgeadapt.exporter.merging import merge
from edgeadapt.exporter.packaging import package
from edgeadapt.runtime.verify import check_cases, verify
from tests.exporter import snapshot
from tests.exporter.classifiers import all_verify, outputs
from tests.exporter.packages import answers, stored, writer
from tests.exporter.watching import steps

TOOLS = {"base.onnx", "sites.json"}
GENAI = {"genai.onnx", "genai_config.json", "tokenizer_config.json"}


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def index(folder: Path) -> Any:
    return json.loads((folder / "adapters" / "index.json").read_text())


def test_a_package_has_all_but_the_tools_files(tiny_bundle: Path, tmp_path: Path) -> None:
    before = snapshot(tiny_bundle)
    made = package(tiny_bundle, tmp_path / "app")
    gone = {*TOOLS, "adapters/spam/subgraph.onnx", "adapters/intents/subgraph.onnx"}
    assert names(tiny_bundle) - names(made.path) == gone
    assert names(made.path) - names(tiny_bundle) == {"adapters/index.json"}
    for name in names(made.path) - {"adapters/index.json", "edgeadapt.json"}:
        if not name.endswith("adapter.json"):
            assert (made.path / name).read_bytes() == (tiny_bundle / name).read_bytes()
    manifest, source = bundle.read_manifest(made.path), bundle.read_manifest(tiny_bundle)
    assert manifest == replace(source, files={name: source.files[name] for name in source.files.keys() - TOOLS})
    for name in bundle.adapter_names(made.path):
        record, old = (bundle.read_adapter(folder / "adapters" / name) for folder in (made.path, tiny_bundle))
        assert record == replace(old, files={each: old.files[each] for each in old.files.keys() - {"subgraph.onnx"}})
    assert snapshot(tiny_bundle) == before
    assert not any(path.stat().st_mode & 0o111 for path in made.path.rglob("*") if path.is_file())


def test_it_answers_and_verifies_as_before(tiny_bundle: Path, tmp_path: Path) -> None:
    made = package(tiny_bundle, tmp_path / "app")
    assert made.reports == ()
    assert all_verify(made.path)
    before = outputs(tiny_bundle)
    for name, logits in outputs(made.path).items():
        assert logits.tobytes() == before[name].tobytes()
    texts = ["good film", "play song"]
    assert edgeadapt.pipeline(made.path)(texts, adapter="spam") == edgeadapt.pipeline(tiny_bundle)(
        texts, adapter="spam"
    )


def test_sizes_are_those_on_the_disk(tiny_bundle: Path, tmp_path: Path) -> None:
    for options in ({}, {"strip_parity": True, "adapters": ["spam"]}, {"ort_format": True}):
        made = package(tiny_bundle, tmp_path / f"app{len(options)}{'ort_format' in options}", **options)
        for sizes, folder in ((made.before, tiny_bundle), (made.after, made.path)):
            assert sum(sizes.values()) == sum((folder / name).stat().st_size for name in names(folder))
        assert made.after["tools"] == 0 < made.before["tools"]
        assert (made.after["parity"] == 0) == ("strip_parity" in options)


@pytest.mark.parametrize("ort", [False, True])
@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (None, ["intents", "spam"]),
        (["spam"], ["spam"]),
        (["spam", "none", "intents"], ["intents", "spam"]),
        (["none"], []),
    ],
)
def test_only_the_named_adapters_come_along(
    ort: bool, chosen: list[str] | None, expected: list[str], tiny_bundle: Path, tmp_path: Path
) -> None:
    made = package(tiny_bundle, tmp_path / "app", adapters=chosen, ort_format=ort)
    assert list(made.adapters) == list(edgeadapt.load(made.path).adapters) == index(made.path) == expected
    assert bundle.adapter_names(made.path) == sorted([*expected, "none"])
    assert all_verify(made.path)


def test_a_folder_that_was_renamed_keeps_its_name(tmp_path: Path) -> None:
    source = stored(tmp_path)
    (source / "adapters" / "spam").rename(source / "adapters" / "ham")
    made = package(source, tmp_path / "app", adapters=["ham"])
    assert index(made.path) == ["ham"]
    assert bundle.read_adapter(made.path / "adapters" / "ham").name == "spam"


def test_what_is_listed_nowhere_stays_behind(tmp_path: Path) -> None:
    source = stored(tmp_path)
    (source / "notes.txt").write_text("nothing lists this")
    (source / "elsewhere").symlink_to("nowhere")
    (source / "adapters" / ".spam.1.ab.partial").mkdir()
    (source / "adapters" / "spam" / "notes.txt").write_text("nothing lists this")
    made = package(source, tmp_path / "app")
    assert not [name for name in names(made.path) if "notes" in name or "partial" in name]
    assert not (made.path / "elsewhere").is_symlink()


def test_a_decoder_leaves_what_another_runtime_needs(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime_genai", reason="onnxruntime-genai 0.18 needs Python 3.11")
    source = writer(tmp_path)
    made = package(source, tmp_path / "app")
    there = names(source)
    assert (
        there - names(made.path) - {name for name in there if name.endswith("subgraph.onnx")} == (TOOLS | GENAI) & there
    )
    assert {"genai.onnx", "genai_config.json"} <= there
    assert made.before["genai"] > 0 == made.after["genai"]
    for name, tokens in answers(made.path).items():
        assert [row.tolist() for row in tokens] == [row.tolist() for row in answers(source)[name]]


@pytest.mark.parametrize("ort", [False, True])
def test_without_its_proof_a_package_runs_and_is_not_verified(ort: bool, tiny_bundle: Path, tmp_path: Path) -> None:
    made = package(tiny_bundle, tmp_path / "app", strip_parity=True, ort_format=ort)
    assert not [name for name in names(made.path) if name.endswith(".npz")]
    assert bool(made.reports) == ort
    before = outputs(tiny_bundle)
    for name, logits in outputs(made.path).items():
        assert logits.tobytes() == before[name].tobytes()
    session = edgeadapt.load(made.path)
    assert session.adapters["spam"].parity == edgeadapt.load(tiny_bundle).adapters["spam"].parity
    with pytest.raises(BundleError, match=r"has no parity.npz, so there is nothing to compare with"):
        verify(session, "spam")
    with pytest.raises(BundleError, match=r"nothing to prove here: it was packaged without.\nVerify the bundle that"):
        check_cases(made.path)
    again = package(made.path, tmp_path / "again", adapters=["spam"])
    assert index(again.path) == ["spam"]


def test_cases_that_some_adapters_lack_are_told_together(tiny_bundle: Path, tmp_path: Path) -> None:
    made = package(tiny_bundle, tmp_path / "app")
    check_cases(made.path)
    stripped = package(tiny_bundle, tmp_path / "stripped", strip_parity=True)
    for name in ("none", "spam"):
        shutil.rmtree(made.path / "adapters" / name)
        shutil.copytree(stripped.path / "adapters" / name, made.path / "adapters" / name)
    with pytest.raises(BundleError, match=r"by:\n  none: has no parity.npz\n  spam: has no parity.npz\nExport or add"):
        check_cases(made.path)


def test_a_package_can_be_packaged_again(tiny_bundle: Path, tmp_path: Path) -> None:
    first = package(tiny_bundle, tmp_path / "first")
    second = package(first.path, tmp_path / "second")
    assert {name: digest for name, (_, digest) in snapshot(second.path).items()} == {
        name: digest for name, (_, digest) in snapshot(first.path).items()
    }


def test_unknown_adapters_are_refused_together(tiny_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(AdapterError) as told:
        package(tiny_bundle, tmp_path / "app", adapters=["spma", "spam", "zzz", "spma"])
    assert str(told.value) == (
        "The bundle has no such adapter:\n  spma (did you mean 'spam'?)\n  zzz\nIt has: intents, spam."
    )
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("app", "link"):
        with pytest.raises(OutputExistsError, match=f"{name} is already there, and nothing is overwritten"):
            package(tiny_bundle, tmp_path / name)
    assert list((tmp_path / "app").iterdir()) == []


def test_a_bundle_does_not_hold_its_own_package(tmp_path: Path) -> None:
    source = stored(tmp_path)
    before = snapshot(source)
    for output in (source, source / "app", source / "adapters" / "app"):
        with pytest.raises(ConfigError, match="lies in the bundle, which stays as it is"):
            package(source, output)
    assert snapshot(source) == before


@pytest.mark.parametrize("name", ["model.onnx", "neutrals.onnx_adapter", "adapters/spam/weights.onnx_adapter"])
@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_bytes(b"0" * path.stat().st_size)])
@pytest.mark.parametrize("ort", [False, True])
def test_a_damaged_bundle_is_refused(name: str, harm: Callable[[Path], Any], ort: bool, tmp_path: Path) -> None:
    source = stored(tmp_path)
    harm(source / name)
    with pytest.raises(BundleError, match=Path(name).name):
        package(source, tmp_path / "app", ort_format=ort)
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_damage_that_does_not_come_along_does_no_harm(tiny_bundle: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    (source / "base.onnx").unlink()
    (source / "adapters" / "intents" / "weights.onnx_adapter").write_bytes(b"")
    (source / "adapters" / "intents" / "adapter.json").write_bytes(b"{")
    assert all_verify(package(source, tmp_path / "app", adapters=["spam"]).path)


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is not a bundle"):
        package(tmp_path, tmp_path.with_name("app"))
    source = stored(tmp_path)
    shutil.rmtree(source / "adapters" / "none")
    with pytest.raises(BundleError, match="lacks adapters/none"):
        package(source, tmp_path / "app")


def test_a_copy_that_came_out_wrong_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = stored(tmp_path)

    def torn(_: Path, target: Path) -> None:
        target.write_bytes(b"torn")

    monkeypatch.setattr(packaging.shutil, "copyfile", torn)  # type: ignore[attr-defined]
    with pytest.raises(BundleError, match=r"model.onnx: has 4 bytes"):
        package(source, tmp_path / "app")
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_package_says_what_it_can_not_do(tiny_bundle: Path, tiny_adapters: dict[str, Path], tmp_path: Path) -> None:
    made = package(tiny_bundle, tmp_path / "app", ort_format=True)
    before = snapshot(made.path)
    works: list[Callable[[], Any]] = [
        lambda: add(made.path, tiny_adapters["spam"], "again"),
        lambda: merge(made.path, ["spam"], tmp_path / "x.onnx", mode="fold"),
        lambda: merge(made.path, ["spam"], tmp_path / "x.onnx", mode="switch"),
    ]
    for work in works:
        with pytest.raises(GraphError, match=r"sites.json is missing: the bundle was packaged for a device"):
            work()
    with pytest.raises(EdgeAdaptError, match=r"has no subgraph.onnx: it was packaged for a device"):
        add(Path(shutil.copytree(tiny_bundle, tmp_path / "other")), made.path / "adapters" / "spam", "again")
    assert snapshot(made.path) == before


def test_the_index_follows_what_is_removed(tiny_bundle: Path, tmp_path: Path) -> None:
    made = package(tiny_bundle, tmp_path / "app")
    remove(made.path, "intents")
    assert index(made.path) == ["spam"] == list(edgeadapt.load(made.path).adapters)


def test_the_index_follows_what_is_added(tiny_bundle: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    remove(home, "intents")
    assert not (home / "adapters" / "index.json").exists()
    bundle.write_index(home, bundle.adapter_names(home))
    add(home, tiny_bundle / "adapters" / "intents", "again")
    assert index(home) == ["again", "spam"]


WRITES: list[tuple[Any, str]] = [
    (packaging.shutil, "copyfile"),  # type: ignore[attr-defined]
    (bundle, "write_adapter"),
    (bundle, "write_index"),
    (bundle, "record_files"),
    (bundle, "write_manifest"),
    (ort_format, "convert"),
    (packaging, "load"),
]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("module", "write"), WRITES, ids=[write for _, write in WRITES])
def test_a_full_disk_leaves_nothing(
    module: Any, write: str, after: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = stored(tmp_path)
    before, whole = snapshot(source), getattr(module, write)
    calls = []

    def fail(*arguments: Any, **options: Any) -> None:
        calls.append(arguments)
        if after:
            whole(*arguments, **options)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, write, fail)
    with pytest.raises(BundleError, match=r"The disk is full: .*app was not written"):
        package(source, tmp_path / "app", ort_format=True)
    assert len(calls) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    assert snapshot(source) == before


PACKAGING = """
import sys
from pathlib import Path
from edgeadapt.exporter.packaging import package
source, target = map(Path, sys.argv[1:])
package(source, target, ort_format=True)
"""


def test_at_no_step_is_there_a_part_of_a_package(tmp_path: Path) -> None:
    """What a kill leaves is what lies there at that step: the package gets its name by the last one, a renaming."""
    source, target = stored(tmp_path), tmp_path / "out" / "app"
    target.parent.mkdir()
    found = steps(PACKAGING, target.parent, source, target)
    assert len(found) > 10
    assert all(name.startswith(".app.") and name.endswith(".partial") for names in found for name in names)
    assert [path.name for path in target.parent.iterdir()] == ["app"]
    assert all_verify(target)


BARE = """
import sys
sys.modules.update(dict.fromkeys(("torch", "transformers", "optimum", "peft", "onnx", "onnx_ir", "onnxscript", "yaml",
                                  "safetensors", "ml_dtypes", "sympy")))
from edgeadapt.cli import main
main()
"""


@pytest.mark.parametrize("options", [(), ("--ort-format", "--strip-parity")], ids=["plain", "ort"])
def test_it_needs_no_framework(options: tuple[str, ...], tiny_bundle: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-W",
        "error",
        "-c",
        BARE,
        "package",
        str(tiny_bundle),
        *options,
        "-o",
        str(tmp_path / "app"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert list(edgeadapt.load(tmp_path / "app").adapters) == ["intents", "spam"]

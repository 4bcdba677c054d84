"""Models in ONNX Runtime's own format: the answers are the same, whatever the base, the precision and the rows."""

from __future__ import annotations

import itertools
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import edgeadapt
from edgeadapt import bundle
from edgeadapt.bundle import FileRecord, Manifest
from edgeadapt.errors import BundleError, ConfigError, ParityError, UnsupportedError
from edgeadapt.exporter import ort_format
from edgeadapt.exporter.packaging import Packaged, package
from edgeadapt.runtime.signature import check_version
from tests.exporter import snapshot
from tests.exporter.classifiers import all_verify
from tests.exporter.packages import KINDS, ROUNDED, answers

LEAST_DIFFERENCE = 1e-3


class Conversion:
    """A bundle and its package in ORT format. Read-only."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.source = KINDS[kind](folder)
        self.before = snapshot(self.source)
        self.packaged: Packaged = package(self.source, folder / "app", ort_format=True)
        self.path = self.packaged.path
        self.manifest = bundle.read_manifest(self.path)


@pytest.fixture(scope="module", params=KINDS)
def conversion(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Conversion:
    return Conversion(request.param, tmp_path_factory.mktemp(request.param))


def test_answers_are_those_of_before(conversion: Conversion) -> None:
    before, after = answers(conversion.source), answers(conversion.path)
    assert list(before) == list(after)
    for name, expected in before.items():
        for got, wanted in zip(after[name], expected, strict=True):
            assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype)
            if conversion.kind in ROUNDED:
                np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5)
            else:
                np.testing.assert_array_equal(got, wanted)
    first = [arrays[0] for name, arrays in after.items() if not name.startswith("[")]
    for one, other in itertools.pairwise(first):
        assert one.shape != other.shape or np.abs(one.astype(float) - other).max() > LEAST_DIFFERENCE


def test_the_reports_say_how_near_they_are(conversion: Conversion) -> None:
    names = bundle.adapter_names(conversion.path)
    assert [report.name for report in conversion.packaged.reports] == [*names, "mixed rows"]
    for report in conversion.packaged.reports:
        assert report.passed
        assert (report.max_abs_error == 0) == (conversion.kind not in ROUNDED)


def test_it_is_verified_as_before(conversion: Conversion) -> None:
    assert all_verify(conversion.path)


def test_the_bundle_is_untouched(conversion: Conversion) -> None:
    assert snapshot(conversion.source) == conversion.before


def test_the_manifest_names_the_models_and_what_runs_them(conversion: Conversion) -> None:
    manifest, source = conversion.manifest, bundle.read_manifest(conversion.source)
    for name, old in zip(bundle.models(manifest), bundle.models(source), strict=True):
        assert name == old.replace(".onnx", ".ort")
        assert (conversion.path / name).read_bytes()[4:8] == b"ORTM"
    assert manifest.model.onnxruntime == ">=" + ".".join(ort.__version__.split(".")[:2])
    assert not [name for name in manifest.files if ".onnx" in name and not name.endswith(".onnx_adapter")]
    assert replace(manifest, model=source.model, generation=source.generation, files=source.files) == source


def test_little_memory_gives_the_same_answers(conversion: Conversion) -> None:
    if conversion.manifest.model.precision == "int4":
        with pytest.raises(ConfigError, match="int4"):
            edgeadapt.load(conversion.path, memory="low")
        return
    home = conversion.path / bundle.ADAPTERS / conversion.packaged.adapters[0]
    with np.load(home / bundle.PARITY) as case:
        inputs = {name.removeprefix("input/"): case[name] for name in case.files if name.startswith("input/")}
    fast, low = (edgeadapt.load(conversion.path, memory=memory).replay(inputs, home.name) for memory in ("fast", "low"))
    for name, expected in fast.items():
        np.testing.assert_allclose(low[name], expected, rtol=0, atol=2e-5)


def operators(models: tuple[str, ...], folder: Path, scratch: Path) -> set[tuple[str, str]]:
    """Returns domain and name of every operator of a bundle's models, as ONNX Runtime optimises them into ONNX."""
    found: set[tuple[str, str]] = set()
    for name in models:
        settings = ort.SessionOptions()
        settings.optimized_model_filepath = str(scratch / "optimised.onnx")
        settings.log_severity_level = 3
        ort.InferenceSession(
            folder / name, settings, ["CPUExecutionProvider"], disabled_optimizers=["NchwcTransformer"]
        )
        model = onnx.load(scratch / "optimised.onnx", load_external_data=False)
        assert not [
            each for node in model.graph.node for each in node.attribute if each.type == onnx.AttributeProto.GRAPH
        ]
        found |= {(node.domain or "ai.onnx", node.op_type) for node in model.graph.node}
    return found


def test_a_reduced_build_is_told_the_operators(conversion: Conversion, tmp_path: Path) -> None:
    text = (conversion.path / ort_format.OPERATORS).read_text()
    comments = [line for line in text.splitlines() if line.startswith("#")]
    assert comments == [
        "# Generated from model/s:",
        *sorted(f"# - {name}" for name in bundle.models(conversion.manifest)),
    ]
    told = set()
    for line in text.splitlines()[len(comments) :]:
        domain, opset, names = line.split(";")
        assert int(opset) >= 1
        told |= {(domain, name) for name in re.sub(r"{.*?}}", "", names).split(",")}
    source = bundle.read_manifest(conversion.source)
    assert told == operators(bundle.models(source), conversion.source, tmp_path)


def test_types_are_told(tmp_path: Path) -> None:
    made = package(KINDS["stored"](tmp_path), tmp_path / "app", ort_format=True)
    lines = (made.path / ort_format.OPERATORS).read_text().splitlines()
    found = {line.split("{")[0]: line for line in lines}
    assert 'MatMul{"inputs": {"0": ["float"]}}' in "".join(found.values())


def test_a_converted_model_is_not_converted_again(tmp_path: Path) -> None:
    made = package(KINDS["stored"](tmp_path), tmp_path / "app", ort_format=True)
    with pytest.raises(ConfigError, match=r"^model.ort: in ORT format already.\nLeave --ort-format out.$"):
        package(made.path, tmp_path / "again", ort_format=True)
    again = package(made.path, tmp_path / "again", adapters=["spam"], strip_parity=True)
    assert answers(again.path)["spam"][0].tobytes() == answers(made.path)["spam"][0].tobytes()
    assert not (again.path / ort_format.OPERATORS).exists()


def test_weights_of_a_base_alone_that_can_not_run_prove_nothing(tmp_path: Path) -> None:
    """Its case lacks the probes, which stand in for the head that it hasn't got."""
    source = KINDS["headless"](tmp_path)
    home = source / bundle.ADAPTERS / bundle.NONE
    with np.load(home / bundle.PARITY) as case:
        arrays = {name: case[name] for name in case.files if not name.startswith("probe/")}
    np.savez(home / bundle.PARITY, allow_pickle=False, **arrays)
    bundle.write_adapter(home, replace(bundle.read_adapter(home), files=bundle.record_files(home, [bundle.PARITY])))
    with pytest.raises(BundleError, match=r"holds no parity.npz to prove by"):
        package(source, tmp_path / "app", adapters=["none"], ort_format=True)
    assert package(source, tmp_path / "app", adapters=["spam"], ort_format=True).reports


def test_large_weights_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    source = KINDS["stored"](tmp_path)
    manifest = bundle.read_manifest(source)
    size = (2 << 30) - manifest.files["model.onnx"].bytes
    with (source / "model.onnx.data").open("wb") as file:
        file.truncate(size)  # a hole: it takes no room on the disk
    files = {**manifest.files, "model.onnx.data": FileRecord(size, "0" * 64)}
    bundle.write_manifest(source, replace(manifest, files=files))
    with pytest.raises(
        UnsupportedError,
        match=f"less than 2 GiB, and here are:\n  model.onnx: .* bytes\n  model.onnx.data: {size} bytes\nPackage",
    ):
        package(source, tmp_path / "app", ort_format=True)
    bundle.write_manifest(source, replace(manifest, files={**files, "model.onnx.data": FileRecord(size - 1, "0" * 64)}))
    with pytest.raises(BundleError, match=f"model.onnx.data: has {size} bytes, expected {size - 1}"):
        package(source, tmp_path / "app", ort_format=True)


def test_a_file_that_can_not_be_written_is_refused(tmp_path: Path) -> None:
    """The system ends files at 6000 bytes here; only the converted model is larger."""
    resource = pytest.importorskip("resource", reason="only Unix limits a process")
    source = KINDS["stored"](tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6000, limits[1]))
    try:
        with pytest.raises(BundleError, match=r"can't write model.onnx in ORT format: .*\nSee that the disk has room"):
            package(source, tmp_path / "app", ort_format=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def _with_another_weight(path: Path) -> None:
    model = onnx.load(path)
    weight = next(each for each in model.graph.initializer if each.name == "fc_bias")
    weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) + np.float32(1e-3), weight.name))
    onnx.save(model, path)


def test_a_model_that_answers_otherwise_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if ONNX Runtime had optimised it wrongly: it is given another one to convert."""
    source, convert = KINDS["stored"](tmp_path), ort_format.convert
    changed = Path(shutil.copytree(source, tmp_path / "changed"))
    _with_another_weight(changed / "model.onnx")

    def wrong(_: Path, manifest: Manifest, target: Path) -> Manifest:
        return convert(changed, manifest, target)

    monkeypatch.setattr(ort_format, "convert", wrong)
    with pytest.raises(
        ParityError, match=r"answer otherwise than the bundle's:\n  none: the max abs error is 0\.00"
    ) as told:
        package(source, tmp_path / "app", ort_format=True)
    for name in ("polite", "short", "spam", "mixed rows"):
        assert f"\n  {name}: the max abs error is 0.00" in str(told.value)
    assert not (tmp_path / "app").exists()


def _stripped(folder: Path, names: tuple[str, ...]) -> None:
    for name in names:
        home = folder / bundle.ADAPTERS / name
        record = bundle.read_adapter(home)
        (home / bundle.PARITY).unlink()
        files = {each: file for each, file in record.files.items() if each != bundle.PARITY}
        bundle.write_adapter(home, replace(record, files=files))


@pytest.mark.parametrize("kind", ["headless", "stored"])
def test_an_adapter_without_a_case_is_asked_with_anothers(kind: str, tmp_path: Path) -> None:
    source = KINDS[kind](tmp_path)
    names = tuple(bundle.adapter_names(source))
    _stripped(source, names[:-1])
    made = package(source, tmp_path / "app", ort_format=True)
    # A base without a head can't be run but with the probes of its own case.
    expected = [name for name in names if kind == "stored" or name != bundle.NONE]
    assert [report.name for report in made.reports] == [*expected, "mixed rows"]


def test_nothing_is_converted_that_can_not_be_proven(tmp_path: Path) -> None:
    source = KINDS["stored"](tmp_path)
    _stripped(source, tuple(bundle.adapter_names(source)))
    with pytest.raises(BundleError, match=r"holds no parity.npz to prove by that .*\nTake the bundle that export"):
        package(source, tmp_path / "app", ort_format=True)
    assert package(source, tmp_path / "app").reports == ()


def test_four_bits_are_rewritten_with_onnx_ir_or_refused_by_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = KINDS["writer_int4"](tmp_path)
    before = snapshot(tmp_path)
    monkeypatch.setitem(sys.modules, "onnx_ir", None)
    with pytest.raises(
        UnsupportedError, match=r"in 4 bits is rewritten for ORT format: pip install 'edgeadapt\[export\]'"
    ):
        package(source, tmp_path / "app", ort_format=True)
    assert snapshot(tmp_path) == before


def test_files_in_folders_stay_there(tmp_path: Path) -> None:
    source = KINDS["stored"](tmp_path)
    (source / "graph").mkdir()
    (source / "model.onnx").rename(source / "graph" / "model.onnx")
    manifest = bundle.read_manifest(source)
    files = {"graph/model.onnx" if name == "model.onnx" else name: file for name, file in manifest.files.items()}
    model = replace(manifest.model, file="graph/model.onnx")
    bundle.write_manifest(source, replace(manifest, model=model, files=files))
    made = package(source, tmp_path / "app", ort_format=True)
    assert bundle.read_manifest(made.path).model.file == "graph/model.ort"
    assert all_verify(made.path)


def test_converting_leaves_the_logging_of_its_caller(tmp_path: Path) -> None:
    import logging

    root = logging.getLogger()
    before = root.handlers[:], root.level
    package(KINDS["stored"](tmp_path), tmp_path / "app", ort_format=True)
    assert (root.handlers[:], root.level) == before


def test_an_older_onnx_runtime_is_refused(tmp_path: Path) -> None:
    made = package(KINDS["stored"](tmp_path), tmp_path / "app", ort_format=True)
    with pytest.raises(BundleError, match=r"needs onnxruntime >=1\.[0-9]+, and 1\.23\.2 is installed"):
        check_version(bundle.read_manifest(made.path).model.onnxruntime, "1.23.2")

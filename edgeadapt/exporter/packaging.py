"""Makes of a bundle the folder that a device needs: some of its adapters, and none of what converts or proves them."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgeadapt import bundle
from edgeadapt.bundle import AdapterRecord, FileRecord, Manifest, Part
from edgeadapt.errors import AdapterError, BundleError, ConfigError, ParityError, listed, nearest
from edgeadapt.exporter import agreement
from edgeadapt.exporter import ort_format as converter
from edgeadapt.exporter.progress import Progress, silent
from edgeadapt.parity import ParityReport
from edgeadapt.runtime import load

_LEFT_OUT: frozenset[Part] = frozenset({"tools", "genai"})


@dataclass(frozen=True, slots=True)
class Packaged:
    """A finished package.

    Attributes:
        path: Its folder.
        adapters: The names of its adapters, without `none`, sorted.
        before: Bytes of the bundle by what its files are for.
        after: Bytes of the package, likewise.
        reports: How far its answers are from the bundle's; none where its model is the bundle's own file.
    """

    path: Path
    adapters: tuple[str, ...]
    before: Mapping[Part, int]
    after: Mapping[Part, int]
    reports: tuple[ParityReport, ...]


def package(
    folder: Path,
    output: Path,
    *,
    adapters: Sequence[str] | None = None,
    ort_format: bool = False,
    strip_parity: bool = False,
    progress: Progress = silent,
) -> Packaged:
    """Writes a package of a bundle: a bundle itself, which runs and is verified as it was, and can't be added to.

    The models, neutrals, tokenizer and templates stay, byte for byte, and so do the adapters' arrays. What conversion
    tools and onnxruntime-genai need is left out. `adapters/index.json` has the adapters' names, for those who read the
    package where a folder can't be listed.

    Args:
        folder: The bundle; it is only read.
        output: The package's folder; it must not exist.
        adapters: Names of the adapters that come along; None takes all, and `none`, which always does, may be named.
        ort_format: Writes the models in ONNX Runtime's own format, and beside them which operators a reduced build of
            it needs. They are held to the bundle's models on the inputs of its parity cases.
        strip_parity: Leaves the parity cases out: the package can't be verified then.
        progress: Is told every stage.

    Raises:
        AdapterError: The bundle has no such adapters; all of them.
        OutputExistsError: There is something at `output`.
        UnsupportedError: The models don't fit into ORT format.
        ParityError: The converted models answer otherwise than the bundle's.
        EdgeAdaptError: The bundle can't be read, or the package not be written; then nothing is.

    Example:
        >>> package(Path("bundle"), Path("app"), adapters=["spam"], ort_format=True)  # doctest: +SKIP
    """
    manifest = bundle.read_manifest(folder)
    names = _chosen(folder, adapters)
    if output.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(f"{output} lies in the bundle, which stays as it is.\nWrite to a folder outside of it.")
    if ort_format:
        converter.check(manifest)
        agreement.check(folder, names)
    reports: tuple[ParityReport, ...] = ()
    with bundle.new_folder(output) as made:
        progress("checking the files")
        bundle.verify_files(folder, _listed(manifest, _kept(manifest)))
        homes = {name: folder / bundle.ADAPTERS / name for name in names}
        records = {name: bundle.read_adapter(home) for name, home in homes.items()}
        for name, record in records.items():
            bundle.verify_files(homes[name], record.files)
        before = _sizes(folder)
        progress("copying")
        for name, record in records.items():
            _copy_adapter(homes[name], record, made / bundle.ADAPTERS / name, strip_parity=strip_parity)
        bundle.write_index(made, names)
        if ort_format:
            progress("converting the model")
            _write_converted(folder, manifest, made)
        else:
            _copy(folder, _kept(manifest), made)
            bundle.write_manifest(made, replace(manifest, files=_listed(manifest, _kept(manifest))))
        progress("checking the package")
        load(made).check()
        if ort_format:
            progress("comparing its answers")
            reports = agreement.reports(folder, made, names)
            _judge(reports)
        after = _sizes(made)
    return Packaged(output, tuple(name for name in names if name != bundle.NONE), before, after, reports)


def _chosen(folder: Path, adapters: Sequence[str] | None) -> list[str]:
    """Returns the names of the adapters that come along, sorted, `none` among them."""
    names = bundle.adapter_names(folder)
    if bundle.NONE not in names:
        raise BundleError(f"{folder} lacks {bundle.ADAPTERS}/{bundle.NONE}, the base as an adapter.\nCopy it again.")
    if adapters is None:
        return names
    problems = [f"{name}{nearest(name, names)}" for name in dict.fromkeys(adapters) if name not in names]
    if problems:
        others = [name for name in names if name != bundle.NONE]
        raise AdapterError.collect("The bundle has no such adapter:", problems, f"It has: {listed(others)}.")
    return sorted({bundle.NONE, *adapters})


def _kept(manifest: Manifest) -> list[str]:
    return [name for name in manifest.files if bundle.part(name, manifest) not in _LEFT_OUT]


def _listed(manifest: Manifest, names: Iterable[str]) -> dict[str, FileRecord]:
    return {name: manifest.files[name] for name in names}


def _copy(source: Path, names: Iterable[str], target: Path) -> None:
    """Copies files as files with no rights of their own; that they came whole is seen when the package is loaded."""
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target / name)


def _copy_adapter(source: Path, record: AdapterRecord, target: Path, *, strip_parity: bool) -> None:
    wanted: set[Part] = {"adapters"} if strip_parity else {"adapters", "parity"}
    files = {name: file for name, file in record.files.items() if bundle.adapter_part(name) in wanted}
    target.mkdir(parents=True)
    _copy(source, files, target)
    bundle.write_adapter(target, replace(record, files=files))


def _write_converted(folder: Path, manifest: Manifest, made: Path) -> None:
    """Writes the models in ORT format, whose weights are within, the files beside them, and the manifest of both."""
    beside = [name for name in _kept(manifest) if bundle.part(name, manifest) != "model"]
    _copy(folder, beside, made)
    converted = converter.convert(folder, manifest, made)
    files = _listed(manifest, beside) | bundle.record_files(made, bundle.models(converted))
    bundle.write_manifest(made, replace(converted, files=files))


def _judge(reports: Iterable[ParityReport]) -> None:
    problems = [f"{report.name}: {failure}" for report in reports for failure in report.failures()]
    if problems:
        raise ParityError.collect(
            "The models in ORT format answer otherwise than the bundle's:",
            problems,
            "Nothing was written. Package it without --ort-format.",
        )


def _sizes(folder: Path) -> dict[Part, int]:
    """Returns how many bytes the files of a bundle have, by what they are for; an adapter's as they lie there."""
    manifest = bundle.read_manifest(folder)
    sizes: dict[Part, int] = dict.fromkeys(bundle.PARTS, 0)
    documents = [folder / bundle.MANIFEST, folder / converter.OPERATORS, folder / bundle.ADAPTERS / bundle.INDEX]
    sizes["documents"] = sum(path.stat().st_size for path in documents if path.is_file())
    for name, file in manifest.files.items():
        sizes[bundle.part(name, manifest)] += file.bytes
    for adapter in bundle.adapter_names(folder):
        home = folder / bundle.ADAPTERS / adapter
        for path in home.rglob("*"):
            if path.is_file():
                sizes[bundle.adapter_part(str(path.relative_to(home)))] += path.lstat().st_size
    return sizes

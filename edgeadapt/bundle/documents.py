"""Reads and writes `edgeadapt.json` and `adapter.json`, and nothing that breaks the format goes either way."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from edgeadapt.bundle.consistency import adapter_problems, manifest_problems
from edgeadapt.bundle.folders import replace_file
from edgeadapt.bundle.names import name_problem
from edgeadapt.bundle.parsing import dumps, loads, parse
from edgeadapt.bundle.records import ENCODER_FORMAT, FORMAT, AdapterRecord, Manifest
from edgeadapt.errors import BundleError

MANIFEST = "edgeadapt.json"
ADAPTER = "adapter.json"
ADAPTERS = "adapters"
MOST_BYTES = 64 << 20
"""A larger document is refused unread: 64 MiB hold a hundred thousand slots."""

RecordT = TypeVar("RecordT", Manifest, AdapterRecord)
_VERSION = re.compile(r"(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})")


def read_manifest(folder: Path) -> Manifest:
    """Reads `edgeadapt.json` of the bundle at `folder`.

    Raises:
        BundleError: It is missing, a link, no JSON, from a newer edgeadapt, or breaks the format anywhere.
    """
    return _read(Path(folder) / MANIFEST, Manifest)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes `edgeadapt.json` into `folder`, atomically.

    Raises:
        BundleError: The manifest breaks the format; then nothing is written.
    """
    _write(Path(folder) / MANIFEST, manifest)


def read_adapter(folder: Path) -> AdapterRecord:
    """Reads `adapter.json` of the adapter's folder, `<bundle>/adapters/<name>`.

    Raises:
        BundleError: It is missing, a link, no JSON, from a newer edgeadapt, or breaks the format anywhere.
    """
    return _read(Path(folder) / ADAPTER, AdapterRecord)


def write_adapter(folder: Path, record: AdapterRecord) -> None:
    """Writes `adapter.json` into the adapter's folder, atomically.

    Raises:
        BundleError: The record breaks the format; then nothing is written.
    """
    _write(Path(folder) / ADAPTER, record)


def adapter_names(folder: Path) -> list[str]:
    """Returns the names of the adapters in the bundle at `folder`, sorted, `none` among them.

    Every folder in `adapters/` is an adapter, but those whose name starts with a dot: an interrupted write leaves one.

    Raises:
        BundleError: A folder is a link, has an unsafe name, or two differ only in case.
    """
    parent = Path(folder) / ADAPTERS
    if parent.is_symlink():
        raise BundleError(f"{parent} is a link.\nPut the folder itself there; a bundle holds no links.")
    if not parent.is_dir():
        return []
    # What the system tells of an entry while it lists a folder: there may be thousands, and a session starts with this.
    with os.scandir(parent) as entries:
        found = [(each.name, each.is_symlink()) for each in entries if each.is_dir() and not each.name.startswith(".")]
    names = sorted(name for name, _ in found)
    problems = [f"{name}: is a link" for name, link in sorted(found) if link]
    problems += [f"{name}: {problem}" for name in names if (problem := name_problem(name))]
    spelled: dict[str, str] = {}
    for name in names:
        first = spelled.setdefault(name.lower(), name)
        problems += [f"{name}: differs from {first} only in case"] if first != name else []
    if problems:
        raise BundleError.collect(f"{parent} holds what is no adapter:", problems, "Rename or remove these folders.")
    return names


def _read(path: Path, kind: type[RecordT]) -> RecordT:
    return _parsed(path, _text(path), kind, "Copy it again from where it was made, or export it again.")


def _write(path: Path, record: RecordT) -> None:
    try:
        text = dumps(replace(record, files=dict(sorted(record.files.items()))))
    except (TypeError, ValueError) as error:
        raise BundleError(
            f"{path.name} can't be written: {error}.\nGive only finite numbers, text and lists."
        ) from error
    # Through the reader: nothing is written that would not be read, and numbers get the form that they are read with.
    parsed = _parsed(path, text, type(record), "This is what was to be written; nothing was.")
    replace_file(path, dumps(parsed).encode())


def _parsed(path: Path, text: str, kind: type[RecordT], remedy: str) -> RecordT:
    try:
        document = loads(text)
    except ValueError as error:
        raise BundleError(f"{path} is not JSON as the format has it: {error}.\n{remedy}") from error
    _check_version(path, document, (FORMAT, ENCODER_FORMAT) if kind is Manifest else (FORMAT,))
    record, problems = parse(kind, document)
    if isinstance(record, Manifest):
        problems = manifest_problems(record)
    elif isinstance(record, AdapterRecord):
        problems = adapter_problems(record)
    if record is None or problems:
        raise BundleError.collect(f"{path} breaks the bundle format {FORMAT}:", problems, remedy)
    return record


def _check_version(path: Path, document: object, known: tuple[str, ...]) -> None:
    """Refuses by name what another version wrote than the `known` ones, before its keys are looked at."""
    version = document.get("format") if isinstance(document, dict) else None
    parts = _VERSION.fullmatch(version) if isinstance(version, str) else None
    if parts is None:
        raise BundleError(
            f"{path} has no bundle format: got {version!r}, expected {FORMAT!r}.\nIs it another tool's file?"
        )
    if tuple(map(int, parts.groups())) > tuple(map(int, known[-1].split("."))):
        raise BundleError(
            f"{path} was written by a newer edgeadapt: its format is {version}, this one reads {known[-1]}.\n"
            "Update edgeadapt, or export again with this version."
        )
    if version not in known:
        raise BundleError(f"{path} has the format {version}, which was never released; this edgeadapt reads {FORMAT}.")


def _text(path: Path) -> str:
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            raise BundleError(
                f"{path} is a link or no regular file.\nCopy the file itself there; a bundle holds no links."
            )
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            content = file.read(MOST_BYTES + 1) if size <= MOST_BYTES else b""
    except FileNotFoundError:
        what = "a bundle" if path.name == MANIFEST else "an adapter's folder"
        raise BundleError(f"{path.parent} is not {what}: it holds no {path.name}.") from None
    except OSError as error:
        raise BundleError(f"{path} can't be read: {error.strerror}.") from error
    if max(size, len(content)) > MOST_BYTES:
        raise BundleError(
            f"{path} has {size} bytes, and more than {MOST_BYTES} are refused unread.\nIt is no {path.name}."
        )
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise BundleError(f"{path} is not UTF-8: {error}.\nExport it again.") from error

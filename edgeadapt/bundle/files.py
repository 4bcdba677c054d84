"""The sizes and sha256 of a bundle's files: taken when it is written, checked before anything is parsed."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from edgeadapt.bundle.names import path_problem
from edgeadapt.bundle.records import FileRecord
from edgeadapt.errors import BundleError

_CHUNK = 1 << 20


def record_files(folder: Path, names: Iterable[str]) -> dict[str, FileRecord]:
    """Returns size and sha256 of the named files of `folder`, sorted by name.

    Raises:
        BundleError: A name is unsafe, or its file is missing, a link or no regular file.
    """
    folder, wanted = Path(folder), sorted(set(names))
    _refuse(folder, [f"{name}: {problem}" for name in wanted if (problem := _file_problem(folder, name))])
    return {name: FileRecord((folder / name).stat().st_size, _sha256(folder / name)) for name in wanted}


def verify_files(folder: Path, files: Mapping[str, FileRecord], *, hashes: bool = True) -> None:
    """Checks that every listed file is in `folder`, itself and no link, with its size and its sha256.

    Links are refused because their content can lie outside of the folder and change without it.

    Args:
        folder: The folder of the document that lists the files.
        files: The list, relative path to record.
        hashes: False leaves the sha256 unchecked, and nothing else.

    Raises:
        BundleError: One line for each file that is missing, changed, a symbolic or hard link, not a regular file, or
            that has an unsafe path.
    """
    problems = []
    for name, record in files.items():
        path = Path(folder) / name
        if problem := _file_problem(Path(folder), name) or _change(path, record, hashes):
            problems.append(f"{name}: {problem}")
    _refuse(Path(folder), problems)


def _refuse(folder: Path, problems: list[str]) -> None:
    if problems:
        remedy = "Copy the folder again from where it was made, as files and not as links."
        raise BundleError.collect(f"The files of {folder} are not those that belong to it:", problems, remedy)


def _file_problem(folder: Path, name: str) -> str:
    """Returns why the file can't be trusted to be itself, or nothing; opens nothing, as a pipe would block."""
    if problem := path_problem(name):
        return f"the path {problem}"
    path = folder / name
    try:
        for part in (path, *path.parents[: name.count("/")]):
            if part.is_symlink():
                return "is a symbolic link" if part == path else f"lies behind the symbolic link {part.name}"
        status = path.lstat()
        # Windows has more kinds of links than is_symlink sees.
        if not path.resolve().is_relative_to(folder.resolve()):
            return "leads out of the folder"
    except (FileNotFoundError, NotADirectoryError):
        return "is missing"
    except OSError as error:
        return f"can't be read: {error.strerror}"
    if not stat.S_ISREG(status.st_mode):
        return "is not a regular file"
    if status.st_nlink > 1:
        return f"is a hard link: {status.st_nlink} names share its content"
    return ""


def _change(path: Path, record: FileRecord, hashes: bool) -> str:
    try:
        if (size := path.stat().st_size) != record.bytes:
            return f"has {size} bytes, expected {record.bytes}"
        if hashes and (digest := _sha256(path)) != record.sha256:
            return f"has the sha256 {digest}, expected {record.sha256}"
    except OSError as error:
        return f"can't be read: {error.strerror}"
    return ""


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()

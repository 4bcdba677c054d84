"""The files of a folder against their records: size, sha256, links, paths."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from edgeadapt import bundle
from edgeadapt.bundle import FileRecord
from edgeadapt.errors import BundleError

CONTENT = b"weights" * 1000
DIGEST = sha256(CONTENT).hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    (folder / "sub").mkdir(parents=True)
    (folder / "model.onnx").write_bytes(CONTENT)
    (folder / "sub" / "vocab.txt").write_bytes(b"")
    (tmp_path / "outside").write_bytes(CONTENT)
    return folder


def problems(folder: Path, files: dict[str, FileRecord], *, hashes: bool = True) -> list[str]:
    with pytest.raises(BundleError) as caught:
        bundle.verify_files(folder, files, hashes=hashes)
    headline, *lines, remedy = str(caught.value).splitlines()
    assert str(folder) in headline
    assert remedy.startswith("Copy the folder again")
    return [line.strip() for line in lines]


def test_what_was_recorded_verifies(folder: Path) -> None:
    files = bundle.record_files(folder, ["sub/vocab.txt", "model.onnx", "model.onnx"])
    assert list(files) == ["model.onnx", "sub/vocab.txt"]
    assert files["model.onnx"] == FileRecord(7000, DIGEST)
    bundle.verify_files(folder, files)


def test_a_file_larger_than_a_chunk_is_hashed_whole(tmp_path: Path) -> None:
    content = os.urandom((2 << 20) + 1)
    (tmp_path / "large").write_bytes(content)
    assert bundle.record_files(tmp_path, ["large"])["large"].sha256 == sha256(content).hexdigest()


def test_a_bundle_behind_a_link_is_good(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(folder)
    bundle.verify_files(tmp_path / "current", bundle.record_files(folder, ["model.onnx"]))


def test_all_problems_are_told_at_once(folder: Path) -> None:
    record = FileRecord(7000, DIGEST)
    (folder / "short").write_bytes(CONTENT[1:])
    (folder / "flipped").write_bytes(b"W" + CONTENT[1:])
    flipped = sha256(b"W" + CONTENT[1:]).hexdigest()
    names = ["model.onnx", "gone", "model.onnx/inside", "short", "flipped"]
    assert problems(folder, dict.fromkeys(names, record)) == [
        "gone: is missing",
        "model.onnx/inside: is missing",
        "short: has 6999 bytes, expected 7000",
        f"flipped: has the sha256 {flipped}, expected {DIGEST}",
    ]


def test_without_hashes_everything_else_is_checked(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"W" + CONTENT[1:])
    record = FileRecord(7000, DIGEST)
    bundle.verify_files(folder, {"model.onnx": record}, hashes=False)
    found = problems(
        folder, {"model.onnx": replace(record, bytes=1), "gone": record, "../outside": record}, hashes=False
    )
    assert found == [
        "model.onnx: has 7000 bytes, expected 1",
        "gone: is missing",
        "../outside: the path has a part '..'",
    ]


@pytest.mark.parametrize(
    ("put", "name", "problem"),
    [
        (lambda folder: (folder / "x").symlink_to("model.onnx"), "x", "is a symbolic link"),
        (lambda folder: (folder / "x").symlink_to(folder.parent / "outside"), "x", "is a symbolic link"),
        (lambda folder: (folder / "x").symlink_to("nowhere"), "x", "is a symbolic link"),
        (lambda folder: (folder / "x").symlink_to(folder.parent), "x/outside", "lies behind the symbolic link x"),
        (lambda folder: (folder / "y").symlink_to("sub"), "y/vocab.txt", "lies behind the symbolic link y"),
        (lambda folder: (folder / "x").symlink_to("sub"), "x/x", "lies behind the symbolic link x"),
        (lambda folder: (folder / "x").hardlink_to(folder.parent / "outside"), "x", "is a hard link: 2 names share"),
        (lambda folder: (folder / "x").mkdir(), "x", "is not a regular file"),
        (lambda folder: os.mkfifo(folder / "x"), "x", "is not a regular file"),
    ],
)
def test_a_file_must_be_itself(folder: Path, put: Callable[[Path], None], name: str, problem: str) -> None:
    put(folder)
    (told,) = problems(folder, {name: FileRecord(7000, DIGEST)})
    assert told.startswith(f"{name}: {problem}")
    with pytest.raises(BundleError, match=problem):
        bundle.record_files(folder, ["model.onnx", name])


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("../outside", "the path has a part '..'"),
        ("sub/../model.onnx", "the path has a part '..'"),
        ("./model.onnx", "the path has a part '.'"),
        ("sub//vocab.txt", "the path has a part ''"),
        ("sub\\vocab.txt", "the path has the character '\\\\'"),
        ("C:/model.onnx", "the path has the character ':'"),
        ("model.onnx:stream", "the path has the character ':'"),
        ("model.onnx\0", "the path has the character '\\x00'"),
        ("", "the path is empty"),
    ],
)
def test_a_path_must_stay_in_the_folder(folder: Path, name: str, problem: str) -> None:
    assert problems(folder, {name: FileRecord(7000, DIGEST)}) == [f"{name}: {problem}"]


def test_an_absolute_path_is_refused_though_its_file_is_right(folder: Path) -> None:
    name = str(folder / "model.onnx")
    assert problems(folder, {name: FileRecord(7000, DIGEST)}) == [f"{name}: the path is absolute"]


def test_where_links_have_another_kind_the_folder_is_still_not_left(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "x").symlink_to(folder.parent)
    monkeypatch.setattr(Path, "is_symlink", lambda path: False)  # as for a junction on Windows
    assert problems(folder, {"x/outside": FileRecord(7000, DIGEST)}) == ["x/outside: leads out of the folder"]


def test_a_file_that_can_not_be_read_is_a_problem_like_others(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    files = bundle.record_files(folder, ["model.onnx"])
    monkeypatch.setattr(Path, "open", refuse)
    assert problems(folder, files) == ["model.onnx: can't be read: Permission denied"]

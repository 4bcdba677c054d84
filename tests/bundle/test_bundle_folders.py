"""Folders and files appear whole or not at all."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeadapt import bundle
from edgeadapt.errors import BundleError, OutputExistsError


def test_a_new_folder_appears_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "parent" / "bundle"
    with bundle.new_folder(target) as folder:
        (folder / "model.onnx").write_bytes(b"x")
        assert folder.parent == target.parent
        assert folder.name.startswith(".bundle.")
        assert folder.name.endswith(".partial")
        assert not target.exists()
    assert [path.name for path in target.parent.iterdir()] == ["bundle"]
    assert (target / "model.onnx").read_bytes() == b"x"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), bundle.new_folder(tmp_path / "bundle") as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "file").write_bytes(b"x")
        raise error
    assert list(tmp_path.iterdir()) == []


PUT: list[Callable[[Path], object]] = [
    lambda target: target.mkdir(),
    lambda target: (target / "sub").mkdir(parents=True),
    lambda target: target.write_bytes(b"mine"),
    lambda target: target.symlink_to("nowhere"),
]
KINDS = ["an empty folder", "a folder", "a file", "a dangling link"]


@pytest.mark.parametrize("put", PUT, ids=KINDS)
def test_a_target_that_is_there_is_left_as_it_is(tmp_path: Path, put: Callable[[Path], object]) -> None:
    target = tmp_path / "bundle"
    put(target)
    before = target.lstat()
    with pytest.raises(OutputExistsError, match="already there"), bundle.new_folder(target):
        pytest.fail("the work was done in vain")
    assert target.lstat() == before
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("put", PUT, ids=KINDS)
def test_a_target_that_appears_meanwhile_is_left_as_it_is(tmp_path: Path, put: Callable[[Path], object]) -> None:
    target = tmp_path / "bundle"
    with pytest.raises(OutputExistsError, match="already there"), bundle.new_folder(target) as folder:
        (folder / "model.onnx").write_bytes(b"x")
        put(target)
        before = target.lstat()
    assert target.lstat() == before
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("put", PUT[1:], ids=KINDS[1:])
def test_a_target_that_appears_at_the_last_moment_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, put: Callable[[Path], object]
) -> None:
    target = tmp_path / "bundle"
    rename = Path.rename

    def late(path: Path, to: Path) -> Path:
        put(target)
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", late)
    with pytest.raises(OutputExistsError, match="already there"), bundle.new_folder(target):
        pass
    assert list(tmp_path.iterdir()) == [target]


def test_a_parent_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BundleError, match="can't be made"), bundle.new_folder(tmp_path / "file" / "bundle"):
        pass


WRITER = """
import sys, time
from pathlib import Path
from edgeadapt import bundle
with bundle.new_folder(Path(sys.argv[1])) as folder:
    (folder / "model.onnx").write_bytes(b"half")
    print("writing", flush=True)
    time.sleep(60)
"""


def test_a_killed_process_leaves_no_target(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(target)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        process.kill()
        assert process.wait() == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name.endswith(".partial")
    with bundle.new_folder(target):
        pass
    assert target.is_dir()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_nothing_and_is_named(tmp_path: Path, code: int) -> None:
    def write(path: Path) -> None:
        path.write_bytes(b"part")
        raise OSError(code, "No space left on device")

    full = r"The disk is full: .*bundle was not written"
    with pytest.raises(BundleError, match=full), bundle.new_folder(tmp_path / "bundle") as folder:
        write(folder / "model.onnx")
    with pytest.raises(BundleError, match=r"The disk is full: .*file was not written"):
        bundle.replace_file(tmp_path / "file", write)
    assert list(tmp_path.iterdir()) == []


def test_another_failure_of_the_disk_is_not_called_full(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Input/output error"), bundle.new_folder(tmp_path / "bundle"):
        raise OSError(errno.EIO, "Input/output error")


def test_a_file_is_replaced_by_bytes_or_by_a_writer(tmp_path: Path) -> None:
    path = tmp_path / "file"
    bundle.replace_file(path, b"one")
    assert path.read_bytes() == b"one"
    bundle.replace_file(path, lambda partial: partial.write_bytes(b"two"))
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def write(partial: Path) -> None:
        assert partial.parent == path.parent
        partial.write_bytes(b"ne")
        assert path.read_bytes() == b"old"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bundle.replace_file(path, write)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_replaced_and_what_it_leads_to_is_not(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"old")
    (tmp_path / "link").symlink_to("precious")
    bundle.replace_file(tmp_path / "link", b"new")
    assert (tmp_path / "precious").read_bytes() == b"old"
    assert not (tmp_path / "link").is_symlink()

"""Writes a folder or a file beside its target and renames it into place: a target is whole or not there."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeadapt.errors import BundleError, OutputExistsError

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yields a temporary folder beside `target` that becomes `target` when the block ends well.

    An exception in the block removes the temporary folder. A process that is killed leaves it behind as
    `.<name>.<pid>.<random>.partial`, safe to delete, and never a `target`. The parent is created where it is missing.

    Raises:
        OutputExistsError: `target` is there, at the start or by the end; it is left as it is.
        BundleError: The disk is full, or the folder can't be made.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "bundle"
        >>> with new_folder(target) as folder:
        ...     _ = (folder / "model.onnx").write_bytes(b"...")
        >>> [path.name for path in target.iterdir()]
        ['model.onnx']
    """
    target = Path(target)
    _refuse_existing(target)
    partial = _partial(target)
    try:
        partial.mkdir(parents=True)
    except OSError as error:
        raise BundleError(f"{target} can't be made: {error.strerror}: {error.filename}.") from error
    try:
        yield partial
        # A rename replaces an empty folder without a word, so look once more.
        _refuse_existing(target)
        _rename(partial, target)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        _raise_disk_full(error, target)
        raise


def replace_file(path: Path, content: bytes | Callable[[Path], object]) -> None:
    """Writes `path` in one step: a reader sees the old file or the new one, never a part.

    Args:
        path: The file, there already or not.
        content: The bytes, or a function that writes them to the path it is given (a sibling of `path`).

    Raises:
        BundleError: The disk is full; `path` is left as it was.
    """
    path = Path(path)
    partial = _partial(path)
    try:
        if callable(content):
            content(partial)
        else:
            partial.write_bytes(content)
        partial.replace(path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        _raise_disk_full(error, path)
        raise


def _partial(target: Path) -> Path:
    return target.with_name(f".{target.name}.{os.getpid()}.{secrets.token_hex(4)}.partial")


def _refuse_existing(target: Path) -> None:
    if os.path.lexists(target):
        raise OutputExistsError(f"{target} is already there, and nothing is overwritten.\nRemove it or choose another.")


def _rename(partial: Path, target: Path) -> None:
    try:
        partial.rename(target)
    except OSError:
        _refuse_existing(target)
        raise


def _raise_disk_full(error: BaseException, target: Path) -> None:
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        raise BundleError(f"The disk is full: {target} was not written.\nFree some space and run it again.") from error

"""Reads a checkpoint's files: JSON, and tensors as safetensors or, with permission, as a pickle. No torch is needed.

A pickle is read by a process of its own that writes safetensors back.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open

from edgeadapt.adapter import Array
from edgeadapt.errors import CheckpointError, PickleError

LFS = b"version https://git-lfs"
BF16 = np.dtype(ml_dtypes.bfloat16)  # also makes numpy know the type by its name
PICKLE_TIMEOUT_S = 300


def read_json(path: Path) -> dict[str, Any]:
    """Returns the object in a JSON file.

    Raises:
        CheckpointError: The file isn't there, or holds no object.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path} can't be read: {error}") from error
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} is not a configuration: got a JSON {type(config).__name__}, expected an object.")
    return config


def read(folder: Path, weights: str, pickle: str, *, allow_pickle: bool) -> dict[str, Array]:
    """Returns a folder's tensors in fp32.

    Args:
        folder: The folder.
        weights: Name of its safetensors file.
        pickle: Name of the pickle that stands in for it.
        allow_pickle: Permits the pickle, which can run code, to be loaded in a process of its own.

    Raises:
        CheckpointError: There is neither file, or it is a git-lfs pointer or damaged.
        PickleError: There is only the pickle, and `allow_pickle` is not given.
    """
    if (folder / weights).is_file():
        return _tensors(folder / weights)
    if (folder / pickle).is_file():
        return _unpickled(folder / pickle, allow_pickle)
    raise CheckpointError(f"{folder} holds no weights: neither {weights} nor {pickle}.")


def refuse_infinite(folder: Path, tensors: Mapping[str, Array]) -> None:
    """Raises CheckpointError where a tensor holds NaN or Inf; it names all."""
    problems = [
        f"{name}: {np.count_nonzero(~np.isfinite(array))} of {array.size} values"
        for name, array in tensors.items()
        if not np.isfinite(array).all()
    ]
    if problems:
        raise CheckpointError.collect(
            f"{folder} holds NaN or Inf:", problems, "The training diverged; take an earlier checkpoint."
        )


def _tensors(path: Path) -> dict[str, Array]:
    _refuse_pointer(path)
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: np.asarray(file.get_tensor(name)).astype(np.float32) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path} can't be read as safetensors: {error}\nDownload or save it again.") from error


def _refuse_pointer(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(len(LFS)) == LFS:
            raise CheckpointError(
                f"{path} is a git-lfs pointer of {path.stat().st_size} bytes, not weights.\n"
                "Fetch them with `git lfs pull`."
            )


def _unpickled(path: Path, allowed: bool) -> dict[str, Array]:
    """Returns a pickle's tensors, loaded with `weights_only=True` by a process that shares nothing but two files."""
    _refuse_pointer(path)
    if not allowed:
        raise PickleError(
            f"{path} is a pickle, which can run any code when it is loaded.\n"
            "Save the adapter as safetensors, or pass --allow-pickle if you trust its author."
        )
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "tensors.safetensors"
        command = [sys.executable, "-I", str(Path(__file__).with_name("unpickle.py")), str(path), str(target)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PICKLE_TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise PickleError(f"{path} took more than {PICKLE_TIMEOUT_S} s to load.") from error
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise PickleError(f"{path} can't be loaded as plain tensors: {reason}")
        return _tensors(target)

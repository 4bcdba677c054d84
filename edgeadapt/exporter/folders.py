"""Reads an adapter's folder, whichever library saved it."""

from __future__ import annotations

from pathlib import Path

from edgeadapt.exporter import adapterhub, checkpoint, compositions
from edgeadapt.exporter.checkpoint import Checkpoint


def read(folder: Path, *, allow_pickle: bool = False) -> Checkpoint:
    """Reads the folder of a PEFT or an AdapterHub adapter, or of AdapterHub's adapters put together.

    See `checkpoint.read`, `adapterhub.read` and `compositions.read`.

    Args:
        folder: The folder.
        allow_pickle: Permits `.bin` files, which can run code, to be loaded in a process of their own.

    Raises:
        EdgeAdaptError: It can't be read, or is not one that edgeadapt can do exactly.
    """
    if compositions.is_folder(folder):
        return compositions.read(folder, allow_pickle=allow_pickle)
    read_folder = adapterhub.read if adapterhub.is_folder(folder) else checkpoint.read
    return read_folder(folder, allow_pickle=allow_pickle)

"""`adapters/index.json`: the adapters' names, for readers where a folder can't be listed, such as a browser."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from edgeadapt.bundle.documents import ADAPTERS
from edgeadapt.bundle.folders import replace_file
from edgeadapt.bundle.names import NONE

INDEX = "index.json"


def write_index(folder: Path, names: Iterable[str]) -> None:
    """Writes the index of a bundle, in one step: a list of names, sorted, without `none`, which is always there."""
    listed = sorted(name for name in names if name != NONE)
    replace_file(folder / ADAPTERS / INDEX, f"{json.dumps(listed)}\n".encode())


def has_index(folder: Path) -> bool:
    """Tells whether a bundle has an index, which has to follow its adapters then."""
    return (folder / ADAPTERS / INDEX).is_file()

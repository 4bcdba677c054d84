"""What ONNX Runtime's reader of `weights.onnx_adapter` doesn't tell: it keeps the last of two arrays of one name."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from edgeadapt.errors import BundleError

_PARAMETERS = 3
"""The field of the file's first table that holds the arrays; the schema is in section 6 of the bundle's format."""


def array_count(path: Path) -> int:
    """Returns how many arrays a file holds that ONNX Runtime has read, and so found to be sound.

    A FlatBuffer begins with where its first table is, a table with how far before it its fields' places are, and a
    place is that of an offset to the list of arrays, which begins with its length.

    Raises:
        BundleError: It isn't there any more, or is another one by now.
    """
    try:
        with path.open("rb") as file:
            return _count(file)
    except (OSError, ValueError, struct.error) as error:
        raise BundleError(f"{path} changed while it was read: {error}\nPut an adapter there in one step.") from error


def _count(file: BinaryIO) -> int:
    def number(at: int, kind: str = "<I") -> int:
        file.seek(at)
        (found,) = struct.unpack(kind, file.read(struct.calcsize(kind)))
        return int(found)

    table = number(0)
    places = table - number(table, "<i")
    if number(places, "<H") <= 4 + 2 * _PARAMETERS:
        return 0
    place = number(places + 4 + 2 * _PARAMETERS, "<H")
    return number(table + place + number(table + place)) if place else 0

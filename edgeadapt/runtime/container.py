"""Where the arrays of a `weights.onnx_adapter` lie, which ONNX Runtime's reader of it doesn't tell.

That one keeps the last of two arrays of one name, and parses a file that is read again as if it were new.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from edgeadapt.errors import BundleError
from edgeadapt.runtime.layout import Layout, layout

if TYPE_CHECKING:
    from edgeadapt.runtime.filling import Array
    from edgeadapt.runtime.layout import Allocate, Block


class Places(NamedTuple):
    """Where the arrays of a file lie.

    Attributes:
        layout: What they are, and how they lie in memory.
        starts: Of each the byte of the file at which it starts, and its number in the layout; in the order of these.
    """

    layout: Layout
    starts: tuple[tuple[int, int], ...]


_PARAMETERS, _NAME, _DATA = 3, 0, 3
"""Fields of the file's tables, `Adapter` and `Parameter`; the schema is in section 6 of the bundle's format."""
_GROUP = 500
"""How many arrays one call of the system reads, each with what lies before it; Linux and macOS take 1024 pieces."""


def places_of(path: Path, arrays: Mapping[str, Array]) -> Places:
    """Returns where the arrays of a file lie that ONNX Runtime has read, and so found to be sound.

    Raises:
        BundleError: A name stands twice; the file isn't there any more, or is another one by now.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            found = sorted(_parameters(content))
    except (OSError, ValueError, struct.error) as error:
        raise _changed(path, str(error)) from error
    names = [name for _, name, _ in found]
    if len(set(names)) < len(names):
        raise BundleError(f"In {path} a name stands twice.\nConvert the adapter again.")
    if {name: size for _, name, size in found} != {name: array.nbytes for name, array in arrays.items()}:
        raise _changed(path, "it holds other arrays now")
    own = layout({name: (array.shape, array.dtype) for name, array in arrays.items()})
    return Places(own, tuple((start, own.numbers[name]) for start, name, _ in found))


def read_places(path: Path, places: Places, allocate: Allocate) -> Block:
    """Returns the arrays of a file whose places are known, copied into what `allocate` gives.

    Raises:
        BundleError: It isn't there any more, or is a shorter one by now.
    """
    arrays = allocate(places.layout)
    try:
        file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            _fill(file, [(start, arrays.raw(number)) for start, number in places.starts])
        finally:
            os.close(file)
    except OSError as error:
        raise _changed(path, str(error)) from error
    return arrays


def _parameters(content: mmap.mmap) -> Iterator[tuple[int, str, int]]:
    """Yields of each array where it starts, its name and its bytes.

    A FlatBuffer begins with where its first table is, and a table with how far before it the places of its fields are.
    What a field refers to lies so many bytes behind it, and lists and texts begin with their length.
    """

    def number(at: int, kind: str = "<I") -> int:
        (found,) = struct.unpack_from(kind, content, at)
        return int(found)

    def field(table: int, index: int) -> int:
        fields = table - number(table, "<i")
        known = number(fields, "<H") > 4 + 2 * index
        place = number(fields + 4 + 2 * index, "<H") if known else 0
        return table + place + number(table + place) if place else 0

    listed = field(number(0), _PARAMETERS)
    for index in range(number(listed) if listed else 0):
        at = listed + 4 + 4 * index
        table = at + number(at)
        name, data = field(table, _NAME), field(table, _DATA)
        yield data + 4, content[name + 4 : name + 4 + number(name)].decode(), number(data) if data else 0


def _fill(file: int, wanted: Sequence[tuple[int, memoryview]]) -> None:
    """Reads bytes from where each piece starts: those one behind the other in one call, with what is between."""
    group: list[tuple[int, memoryview]] = []
    end = 0
    for start, piece in wanted:
        if group and (start < end or len(group) == _GROUP):
            _read(file, group)
            group = []
        group.append((start, piece))
        end = start + len(piece)
    if group:
        _read(file, group)


def _read(file: int, group: Sequence[tuple[int, memoryview]]) -> None:
    first = end = group[0][0]
    pieces: list[bytearray | memoryview] = []
    for start, piece in group:
        if start > end:
            pieces.append(bytearray(start - end))
        pieces.append(piece)
        end = start + len(piece)
    if hasattr(os, "preadv"):
        read = os.preadv(file, pieces, first)
    else:  # Windows
        os.lseek(file, first, os.SEEK_SET)
        read = 0
        for each in pieces:
            found = os.read(file, len(each))
            each[: len(found)] = found
            read += len(found)
    if read != end - first:
        raise OSError("it ends too early")


def _changed(path: Path, how: str) -> BundleError:
    return BundleError(f"{path} changed while it was read: {how}\nPut an adapter there in one step.")

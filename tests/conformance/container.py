"""Breaks a `weights.onnx_adapter` where its FlatBuffer says how to read it: version, offsets, lengths, names.

The schema is that of section 6 of the format. A table's first four bytes lead back to its vtable, which has the place
of each field; what is no number in place is an offset from where the offset itself lies.
"""

from __future__ import annotations

import struct

FORMAT_VERSION, PARAMETERS = 0, 3
"""Fields of the root table."""
NAME, DIMS, DATA_TYPE, RAW_DATA = range(4)
"""Fields of a parameter."""


def wrong_identifier(content: bytes) -> bytes:
    """Returns a file of another format."""
    return content[:4] + b"TORX" + content[8:]


def newer_version(content: bytes) -> bytes:
    """Returns a file of a newer version of the container."""
    return _put(content, _field(content, _root(content), FORMAT_VERSION), 2)


def cut_in_half(content: bytes) -> bytes:
    """Returns the first half of a file."""
    return content[: len(content) // 2]


def cut_short(content: bytes) -> bytes:
    """Returns a file whose last name is cut off in its middle."""
    return content[:-12]


def root_beyond_the_end(content: bytes) -> bytes:
    """Returns a file whose first table lies behind its end."""
    return _put(content, 0, len(content))


def vtable_beyond_the_start(content: bytes) -> bytes:
    """Returns a file whose first table says that its vtable lies before the file."""
    return _put(content, _root(content), len(content))


def offset_beyond_the_end(content: bytes) -> bytes:
    """Returns a file in which the values of an array lie behind its end."""
    return _put(content, _field(content, _parameter(content), RAW_DATA), len(content))


def length_beyond_the_end(content: bytes) -> bytes:
    """Returns a file in which an array has more bytes than there are."""
    return _put(content, _follow(content, _field(content, _parameter(content), RAW_DATA)), len(content))


def huge_length(content: bytes) -> bytes:
    """Returns a file in which an array has so many bytes that their end overflows 32 bits."""
    return _put(content, _follow(content, _field(content, _parameter(content), RAW_DATA)), 0xFFFFFFFC)


def dims_beyond_the_end(content: bytes) -> bytes:
    """Returns a file in which an array has more dimensions than there are bytes for."""
    return _put(content, _follow(content, _field(content, _parameter(content), DIMS)), 0x20000001)


def name_beyond_the_end(content: bytes) -> bytes:
    """Returns a file in which a name is longer than the file."""
    return _put(content, _follow(content, _field(content, _parameter(content), NAME)), len(content))


def parameters_beyond_the_end(content: bytes) -> bytes:
    """Returns a file in which there are more arrays than there is room for."""
    return _put(content, _follow(content, _field(content, _root(content), PARAMETERS)), 0x40000001)


def fewer_values(content: bytes) -> bytes:
    """Returns a file in which an array has one value less than its dimensions say."""
    length = _follow(content, _field(content, _parameter(content), RAW_DATA))
    return _put(content, length, _number(content, length) - 4)


def more_dimensions_than_values(content: bytes) -> bytes:
    """Returns a file in which the dimensions of an array say twice as many values as it has."""
    first = _follow(content, _field(content, _parameter(content), DIMS)) + 4
    return content[:first] + struct.pack("<q", 2) + content[first + 8 :]


def no_arrays(content: bytes) -> bytes:
    """Returns a file without a list of arrays."""
    return _without(content, _root(content), PARAMETERS)


def no_names(content: bytes) -> bytes:
    """Returns a file whose arrays have no names."""
    return _without(content, _parameter(content), NAME)


def no_dimensions(content: bytes) -> bytes:
    """Returns a file whose arrays have no dimensions."""
    return _without(content, _parameter(content), DIMS)


def no_types(content: bytes) -> bytes:
    """Returns a file whose arrays have no type, which is ONNX's undefined one then."""
    return _without(content, _parameter(content), DATA_TYPE)


def no_values(content: bytes) -> bytes:
    """Returns a file whose arrays have no values."""
    return _without(content, _parameter(content), RAW_DATA)


def unknown_type(content: bytes) -> bytes:
    """Returns a file in which an array's values are of a type that ONNX has not."""
    return _put(content, _field(content, _parameter(content), DATA_TYPE), 99)


def negative_dimension(content: bytes) -> bytes:
    """Returns a file in which a dimension of an array is below zero."""
    first = _follow(content, _field(content, _parameter(content), DIMS)) + 4
    return content[:first] + struct.pack("<q", -1) + content[first + 8 :]


def overflowing_dimensions(content: bytes) -> bytes:
    """Returns a file in which the dimensions of an array come to more values than 64 bits can count."""
    first = _follow(content, _field(content, _parameter(content), DIMS)) + 4
    return content[:first] + struct.pack("<qq", 1 << 40, 1 << 40) + content[first + 16 :]


def name_twice(content: bytes, name: str, other: str) -> bytes:
    """Returns a file in which an array is called as another one is; both names are of one length."""
    return content.replace(name.encode(), other.encode())


def _root(content: bytes) -> int:
    return _follow(content, 0)


def _parameter(content: bytes) -> int:
    """Returns the place of the first array's table."""
    vector = _follow(content, _field(content, _root(content), PARAMETERS))
    return _follow(content, vector + 4)


def _follow(content: bytes, place: int) -> int:
    """Returns where the offset at a place leads."""
    return place + _number(content, place)


def _number(content: bytes, place: int) -> int:
    """Returns the number of four bytes at a place."""
    return int(struct.unpack_from("<I", content, place)[0])


def _field(content: bytes, table: int, index: int) -> int:
    """Returns the place of a table's field.

    Raises:
        ValueError: The table leaves the field out, so that it has its default.
    """
    entry = _entry(content, table, index)
    offset = int(struct.unpack_from("<H", content, entry)[0])
    if not offset:
        raise ValueError(f"The table at {table} has no field {index}.")
    return table + offset


def _entry(content: bytes, table: int, index: int) -> int:
    """Returns the place in a table's vtable that says where a field is.

    Raises:
        ValueError: The vtable ends before it.
    """
    vtable = table - int(struct.unpack_from("<i", content, table)[0])
    size = int(struct.unpack_from("<H", content, vtable)[0])
    if 4 + 2 * index >= size:
        raise ValueError(f"The table at {table} has no field {index}.")
    return vtable + 4 + 2 * index


def _without(content: bytes, table: int, index: int) -> bytes:
    """Returns a file in which a table has a field no more, nor have those tables that share its vtable."""
    entry = _entry(content, table, index)
    return content[:entry] + b"\0\0" + content[entry + 2 :]


def _put(content: bytes, place: int, number: int) -> bytes:
    """Returns a file with another number of four bytes at a place."""
    return content[:place] + struct.pack("<I", number) + content[place + 4 :]

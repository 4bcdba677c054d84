"""The C library as Python calls it, for comparisons alone."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np

from tests.runtime.tiny_bundle import Array

Outputs: TypeAlias = "dict[str, Array | list[Array]]"

_DTYPES = {1: np.float32}


class RefusedError(Exception):
    """A call failed; `kind` is the class that Python's error would have."""

    def __init__(self, kind: str, message: str) -> None:
        """Takes both."""
        super().__init__(message)
        self.kind = kind


class _Error(ctypes.Structure):
    _fields_ = (("status", ctypes.c_int), ("message", ctypes.c_char * 2048))


class _Array(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("dtype", ctypes.c_int),
        ("rank", ctypes.c_size_t),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("data", ctypes.c_void_p),
        ("bytes", ctypes.c_size_t),
    )


class _Options(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("onnxruntime", ctypes.c_char_p),
        ("threads", ctypes.c_int),
        ("verify", ctypes.c_int),
    )


class CBundle:
    """A bundle that the C library has opened, with one thread; it is never closed."""

    def __init__(self, library: Path, folder: Path) -> None:
        """Opens it.

        Raises:
            RefusedError: The library refuses the bundle.
        """
        self._library = ctypes.CDLL(str(library))
        self._library.ea_status_name.restype = ctypes.c_char_p
        self._library.ea_result_count.restype = ctypes.c_size_t
        self._library.ea_result_arrays.restype = ctypes.c_size_t
        self._library.ea_result_array.restype = ctypes.POINTER(_Array)
        self._bundle = ctypes.c_void_p()
        options = _Options(size=ctypes.sizeof(_Options), threads=1)
        self._call("ea_bundle_open", str(folder).encode(), ctypes.byref(options), ctypes.byref(self._bundle))

    def add(self, folder: Path, name: str) -> None:
        """Adds an adapter, or raises `RefusedError`."""
        self._call("ea_bundle_add", self._bundle, str(folder).encode(), name.encode())

    def remove(self, name: str) -> None:
        """Removes one, or raises `RefusedError`."""
        self._call("ea_bundle_remove", self._bundle, name.encode())

    def run(self, x: Array, adapter: str | Sequence[str | None] | None) -> Outputs:
        """Runs the tiny model on `x` `(rows, sequence, in)`, or raises `RefusedError`."""
        shape = (ctypes.c_int64 * x.ndim)(*x.shape)
        array = _Array(b"x", 1, x.ndim, shape, x.ctypes.data, x.nbytes)
        result = ctypes.c_void_p()
        given = (self._bundle, ctypes.byref(array), ctypes.c_size_t(1))
        if adapter is None or isinstance(adapter, str):
            self._call("ea_bundle_run", *given, _encoded(adapter), ctypes.byref(result))
        else:
            names = (ctypes.c_char_p * len(adapter))()
            for row, name in enumerate(adapter):
                names[row] = _encoded(name)
            self._call("ea_bundle_run_rows", *given, names, ctypes.c_size_t(len(names)), ctypes.byref(result))
        outputs = dict(self._output(result, index) for index in range(self._library.ea_result_count(result)))
        self._library.ea_result_free(result)
        return outputs

    def _output(self, result: ctypes.c_void_p, index: int) -> tuple[str, Array | list[Array]]:
        output = ctypes.c_size_t(index)
        count = self._library.ea_result_arrays(result, output)
        found = [self._library.ea_result_array(result, output, ctypes.c_size_t(row)).contents for row in range(count)]
        arrays = [
            np.frombuffer(ctypes.string_at(each.data, each.bytes), _DTYPES[each.dtype]).reshape(
                [each.shape[axis] for axis in range(each.rank)]
            )
            for each in found
        ]
        return found[0].name.decode(), arrays[0] if count == 1 else list(arrays)

    def _call(self, function: str, *arguments: object) -> None:
        error = _Error()
        status = getattr(self._library, function)(*arguments, ctypes.byref(error))
        if status:
            raise RefusedError(self._library.ea_status_name(status).decode(), error.message.decode())


def _encoded(name: str | None) -> bytes | None:
    return None if name is None else name.encode()

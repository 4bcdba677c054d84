"""The adapter methods, one file each, named as PEFT names them: `ls` of this folder is the support table.

A method is a module with four functions; nothing outside its file knows how it computes:

    shapes(site)                          its params at a site of this kind, in order, with their dimensions
    graph(op, site, x, y, params) -> y'   a few lines of ONNX; slots and constants alike
    neutral(site)                         params with which graph() gives y back, or None where there are none
    fold(site, weight, bias, params)      the weight and bias that compute the same without the method

All arrays a graph sees are three-dimensional, whatever the module's own rank: `x` `(batch, n, in)` (token ids
`(batch, n)` at an embedding), `y` `(batch, n, out)`. Params have a leading axis `rows`, 1 or the batch size.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import Any, Protocol, TypeAlias

from edgeadapt.adapter import Array, Params, Site
from edgeadapt.errors import UnsupportedError, listed, nearest

Shape: TypeAlias = tuple[int | str, ...]
Value: TypeAlias = Any  # a value of the graph library; methods hand it on without looking inside


class Op(Protocol):
    """Makes ONNX nodes: `op.MatMul(x, a)` is the value that a new MatMul node gives."""

    def constant(self, value: Array) -> Value:
        """Returns `value` as a constant of the graph."""
        ...

    def __getattr__(self, op_type: str) -> Any: ...


class Method(Protocol):
    """What a module of this folder offers."""

    def shapes(self, site: Site) -> dict[str, Shape]:
        """Returns the params at this site, in order, with dimensions such as `("rows", 384, "rank")`."""
        ...

    def graph(self, op: Op, site: Site, x: Value, y: Value, params: dict[str, Value]) -> Value:
        """Returns the site's output with the adapter, as nodes made by `op`."""
        ...

    def neutral(self, site: Site) -> Params | None:
        """Returns params that leave the site as the base has it, or None where only the base's own weights do."""
        ...

    def fold(self, site: Site, weight: Array, bias: Array | None, params: Params) -> tuple[Array, Array | None]:
        """Returns `weight` `(in, out)` and `bias` `(out,)` with the adapter absorbed."""
        ...


@cache
def names() -> tuple[str, ...]:
    """Returns the names of the methods that exist, sorted."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def get(name: str) -> Method:
    """Returns the method of this name.

    Raises:
        UnsupportedError: There is no such method; the message lists those there are.

    Example:
        >>> get("lora").shapes(Site("q", "linear", 4, 6))
        {'lora_A': ('rows', 4, 'rank'), 'lora_B': ('rows', 'rank', 6)}
    """
    if name not in names():
        raise UnsupportedError(
            f"There is no adapter method {name!r}{nearest(name, names())}.\nThere are: {listed(names())}."
        )
    module: Method = importlib.import_module(f"{__name__}.{name}")
    return module

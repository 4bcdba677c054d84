"""The adapter methods, one file each, named as PEFT and AdapterHub name them: `ls` of this folder is the support table.

A file has a form, a reader, or both. The *form* is what an adapter computes; nothing outside its file knows it:

    shapes(site)                          its params at a site of this kind, in order, with their dimensions
    graph(op, at, params) -> value        a few lines of ONNX; slots and constants alike
    neutral(site)                         params with which graph() changes nothing, or None where there are none
    fold(site, weight, bias, params)      the weight and bias that compute the same without it; a method that is not
                                          linear has none, and is spliced in as constants instead
    REPLACES                              what graph() gives: the site's output `y` (the default), its input `x`, what
                                          its sublayer gives, `out`, or `keys`: keys and values to put before those of
                                          an attention, and which of them are there; or `sequence`: `y` of tokens that
                                          have moved on, so that there is room before them

A method whose graph has variants (block sizes, activations) has `variant(options)` in place of these: it returns the
form of `<method>-<options>`, whose params have names of their own.

The *reader* turns what a checkpoint stores into params of one form or more, so that methods that compute the same (VeRA
is a LoRA whose halves are shared) share a form:

    TITLE, TYPE, FIELDS                   its name for people, its type in `adapter_config.json` (AdapterHub's
                                          architectures are in small letters), and the options it takes into account
    split(name)                           module and tensor of a name, or None where it isn't this method's
    read(config, module, tensors)         params by form
    spread(config, shared, ...)           what read() takes for each module, where the checkpoint has one tensor for all
    start(config, shared, layers, after)  what a decoder's cache begins with, where the checkpoint comes down to that in
                                          a decoder with a cache; no form and no slot is needed for it

All arrays a graph sees are three-dimensional, whatever the module's own rank: `x` `(batch, n, in)` (token ids
`(batch, n)` at an embedding), `y` `(batch, n, out)`. Params have a leading axis `rows`, 1 or the batch size. No two
methods that may meet at a site have a param of the same name, since slots are named by it.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from edgeadapt.adapter import Array, Params, Site
from edgeadapt.errors import UnsupportedError, nearest

Shape: TypeAlias = tuple[int | str, ...]
Value: TypeAlias = Any  # a value of the graph library; methods hand it on without looking inside
Replaces: TypeAlias = Literal["x", "y", "out", "keys", "sequence"]


class Op(Protocol):
    """Makes ONNX nodes: `op.MatMul(x, a)` is the value that a new MatMul node gives."""

    def constant(self, value: Array) -> Value:
        """Returns `value` as a constant of the graph."""
        ...

    def call(self, body: Any, *inputs: Value) -> Value:
        """Returns what a function of the graph library gives for `inputs`, of which it may take the last alone."""
        ...

    def branch(self, condition: Value, then: Callable[[Any], Value], otherwise: Value) -> Value:
        """Returns what the nodes give that `then` makes with the maker it is handed, or `otherwise`, which costs less.

        Only one of both is computed: `then` where `condition`, one boolean, is true.
        """
        ...

    def __getattr__(self, op_type: str) -> Any: ...


@dataclass(frozen=True, slots=True)
class Sublayer:
    """What follows a module whose output is added to a residual (the last of an attention or a feed-forward block).

    Attributes:
        residual: What `y` is added to, `(batch, n, out)`.
        out: What comes of the sum: itself, or normalised where the base normalises after the sum.
        finish: Returns what the base would make of a value in place of `y`: the sum with the residual, or its norm.
    """

    residual: Value
    out: Value
    finish: Callable[[Op, Value], Value]


@dataclass(frozen=True, slots=True)
class Point:
    """One call of a site, as a method's graph sees it.

    Attributes:
        site: The site.
        x: What enters the module.
        y: What leaves it.
        sublayer: What follows, at a site that ends a sublayer.
        body: A function of the graph library, where a method's graph is not known from its name.
    """

    site: Site
    x: Value
    y: Value
    sublayer: Sublayer | None = None
    body: Any = None


class Form(Protocol):
    """What an adapter computes at a site."""

    def shapes(self, site: Site) -> dict[str, Shape]:
        """Returns the params at this site, in order, with dimensions such as `("rows", 384, "rank")`; none: no such."""
        ...

    def graph(self, op: Op, at: Point, params: dict[str, Value]) -> Value:
        """Returns what the method replaces (see `replaces`), as nodes made by `op`."""
        ...

    def neutral(self, site: Site) -> Params | None:
        """Returns params that leave the site as the base has it, or None where only the base's own weights do.

        Each is `(1, ...)` and one number all over.
        """
        ...


@runtime_checkable
class Foldable(Protocol):
    """A form that the base's weights can absorb."""

    def fold(self, site: Site, weight: Array, bias: Array | None, params: Params) -> tuple[Array, Array | None]:
        """Returns `weight` `(in, out)` and `bias` `(out,)` with the adapter absorbed."""
        ...


@dataclass(frozen=True, slots=True)
class Module:
    """A module of the base, as a checkpoint's reader sees it.

    Attributes:
        name: Its path in the checkpoint.
        site: The site it is in this base.
        base: Gives its weight `(in, out)` (a norm's `(out,)`) and bias `(out,)` or None, as the base has them.
        shared: Tensors of the checkpoint that belong to no module, by name.
    """

    name: str
    site: Site
    base: Callable[[], tuple[Array, Array | None]]
    shared: Mapping[str, Array]


class Reader(Protocol):
    """What turns a checkpoint's tensors into params."""

    TITLE: str
    TYPE: str
    FIELDS: frozenset[str]

    def split(self, name: str) -> tuple[str, str] | None:
        """Returns module path and tensor of a name without PEFT's wrappers; None where it isn't this method's.

        The path of a tensor that belongs to no module is empty.
        """
        ...

    def read(
        self, config: Mapping[str, Any], module: Module, tensors: Mapping[str, Array]
    ) -> dict[str, dict[str, Array]]:
        """Returns the params of a module by form, each `(1, ...)` in float32.

        Raises:
            BindingError: Tensors are missing, spare, or of shapes that don't go together; all of it at once.
            UnsupportedError: The configuration asks for something that can't be done exactly.
        """
        ...


@runtime_checkable
class Spreader(Protocol):
    """A reader of checkpoints that store tensors for many modules as one."""

    def spread(
        self, config: Mapping[str, Any], shared: Mapping[str, Array], model_type: str, sites: Sequence[Site]
    ) -> dict[str, dict[str, Array]]:
        """Returns what each module has of the tensors that belong to none, by site.

        Raises:
            BindingError: Tensors are missing, spare, or of other shapes.
            UnsupportedError: The configuration or the base ask for something that can't be done exactly.
        """
        ...


After: TypeAlias = Callable[[Array], Mapping[str, Array]]
"""Gives the cache of a decoder after the embeddings `(n, width)` of some tokens."""


@runtime_checkable
class Starter(Protocol):
    """A reader of checkpoints that come down to what a decoder's cache holds before a text's first token."""

    def start(
        self,
        config: Mapping[str, Any],
        shared: Mapping[str, Array],
        layers: Mapping[str, tuple[int, int]],
        after: After,
    ) -> Mapping[str, Array]:
        """Returns keys and values of all layers, `(1, heads, n, head_dim)`.

        Args:
            config: The checkpoint's options.
            shared: Its tensors that belong to no module.
            layers: The names of a layer's keys and of its values, in turn, each with its heads and head_dim.
            after: Runs the base.

        Raises:
            BindingError: Tensors are missing, spare, or of other shapes.
            UnsupportedError: The configuration or the base ask for something that can't be done exactly.
        """
        ...


@runtime_checkable
class Composer(Protocol):
    """A reader of several adapters put together."""

    def members(
        self, config: Mapping[str, Any], names: Mapping[str, Array]
    ) -> Sequence[tuple[str, Collection[int], set[str]]]:
        """Returns every adapter's name, the layers it leaves out, and the modules it is at in a checkpoint."""
        ...


@cache
def names() -> tuple[str, ...]:
    """Returns the names of the methods that exist, sorted."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")))


@cache
def forms() -> tuple[str, ...]:
    """Returns the names of the methods that are a form, or have variants that are one, sorted."""
    return tuple(name for name in names() if any(hasattr(_file(name), part) for part in ("graph", "variant")))


@cache
def get(name: str) -> Form:
    """Returns the form of this name: a method, or a variant of one, `<method>-<options>`.

    Raises:
        UnsupportedError: There is no such method; the message lists those there are.

    Example:
        >>> get("lora").shapes(Site("q", "linear", 4, 6))
        {'lora_A': ('rows', 4, 'rank'), 'lora_B': ('rows', 'rank', 6)}
    """
    method, _, options = name.partition("-")
    if method not in forms() or bool(options) != hasattr(_file(method), "variant"):
        raise UnsupportedError(
            f"There is no adapter method {name!r}{nearest(method, forms())}.\nThere are: {', '.join(forms())}."
        )
    form: Form = _file(method).variant(options) if options else _file(method)
    return form


def _file(name: str) -> Any:
    return importlib.import_module(f"{__name__}.{name}")


def replaces(name: str) -> Replaces:
    """Returns what the graph of this method gives in place of the base's."""
    found: Replaces = getattr(get(name), "REPLACES", "y")
    return found


@cache
def readers() -> Mapping[str, tuple[str, Reader]]:
    """Returns the methods that read checkpoints, by type: name and reader. PEFT's types are in capitals."""
    modules: list[tuple[str, Any]] = [(name, _file(name)) for name in names()]
    return {module.TYPE: (name, module) for name, module in modules if hasattr(module, "TYPE")}

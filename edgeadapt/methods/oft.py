"""OFT: the input of a module is rotated block by block, `y' = module(x + x (R - I))`.

Source: Qiu et al., arXiv 2306.07280; Qiu et al., arXiv 2506.19847; `peft.tuners.oft.layer.OFTRotationModule`. A
checkpoint holds the upper triangles of skew-symmetric matrices Q; the rotations they stand for, by Cayley's formula or
by the first terms of its Neumann series, are computed when it is read.

Graphs differ in the size of the blocks, so every size is a variant: `oft-16`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from edgeadapt.adapter import Array, Params, Site
from edgeadapt.errors import BindingError, UnsupportedError
from edgeadapt.methods import Module, Op, Point, Replaces, Shape, Value

TITLE = "OFT"
TYPE = "OFT"
FIELDS = frozenset({
    "block_share", "coft", "eps", "fan_in_fan_out", "init_weights", "module_dropout", "num_cayley_neumann_terms",
    "oft_block_size", "r", "use_cayley_neumann",
})  # fmt: skip
SUFFIXES = {".oft_R.weight": "oft_R", ".oft_embedding_R.weight": "oft_embedding_R", ".oft_r": "oft_r"}
SERIES_SINCE = (0, 18)
"""The version of PEFT since which the series has its present terms (`peft.OFTConfig.check_kwargs`)."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """The form of one size of blocks.

    Attributes:
        size: Rows and columns of a block.
    """

    size: int

    @property
    def REPLACES(self) -> Replaces:  # noqa: N802  # as every form has it
        """The module's input."""
        return "x"

    def shapes(self, site: Site) -> dict[str, Shape]:
        """Returns the blocks of `R - I`, `(rows, in / size, size, size)`, at a linear layer that they fit."""
        if site.kind != "linear" or site.in_features % self.size:
            return {}
        return {f"oft_R.{self.size}": (site.rows, site.in_features // self.size, self.size, self.size)}

    def graph(self, op: Op, at: Point, params: dict[str, Value]) -> Value:
        """Returns `x + x (R - I)`, with x seen as `(batch, blocks, n, size)`."""
        (blocks,) = params.values()
        width, size = at.site.in_features, self.size
        cut = op.Reshape(at.x, op.constant(np.array([0, 0, width // size, size], np.int64)))
        turned = op.MatMul(op.Transpose(cut, perm=[0, 2, 1, 3]), blocks)
        whole = op.Reshape(op.Transpose(turned, perm=[0, 2, 1, 3]), op.constant(np.array([0, 0, width], np.int64)))
        return op.Add(at.x, whole)

    def neutral(self, site: Site) -> Params:
        """Returns zeros: `x + 0` is `x`."""
        size = self.size
        return {f"oft_R.{size}": np.zeros((1, site.in_features // size, size, size), np.float32)}

    def fold(self, site: Site, weight: Array, bias: Array | None, params: Params) -> tuple[Array, Array | None]:
        """Returns `R weight` (`peft.tuners.oft.layer.Linear.merge`)."""
        blocks = params[f"oft_R.{self.size}"][0].astype(np.float64)
        old = weight.astype(np.float64)
        change = blocks @ old.reshape(len(blocks), self.size, -1)
        return (old + change.reshape(old.shape)).astype(weight.dtype), bias


@cache
def variant(options: str) -> Rotation:
    """Returns the form of `oft-<size of the blocks>`.

    Raises:
        UnsupportedError: The size is no number above 0.
    """
    if not re.fullmatch("[1-9][0-9]*", options):
        raise UnsupportedError(f"There is no OFT with blocks of the size {options!r}, expected a number such as oft-16")
    return Rotation(int(options))


def split(name: str) -> tuple[str, str] | None:
    """Returns module path and tensor of an OFT tensor's name."""
    for suffix, tensor in SUFFIXES.items():
        if name.endswith(suffix):
            return name.removesuffix(suffix), tensor
    return None


def read(config: Mapping[str, Any], module: Module, tensors: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """Returns a module's rotation; nothing where its blocks are single numbers, which there is no way to rotate.

    Raises:
        BindingError: The blocks are more or fewer than the module has.
        UnsupportedError: The checkpoint has PEFT's arithmetic before 0.18, or the module is an embedding.
    """
    if set(tensors) != {"oft_R"}:
        what = "an embedding is" if "oft_embedding_R" in tensors else "the form that PEFT had before 0.16 is"
        raise UnsupportedError(f"{module.name}: OFT on {what} not supported")
    triangles = tensors["oft_R"].astype(np.float64)
    size = (1 + math.isqrt(1 + 8 * triangles.shape[-1])) // 2
    count = 1 if config.get("block_share") else module.site.in_features // size
    if triangles.shape != (count, size * (size - 1) // 2) or module.site.in_features % size:
        raise BindingError(
            f"{module.name}: got {triangles.shape[0]} blocks of OFT, of {triangles.shape[-1]} numbers each, expected "
            f"them to fit {module.site.in_features} inputs"
        )
    if size == 1:
        return {}
    blocks = _rotations(config, module, _skew(triangles, size))
    return rotation(np.broadcast_to(blocks, (module.site.in_features // size, size, size)))


def rotation(blocks: Array) -> dict[str, dict[str, Array]]:
    """Returns the params of rotations `(blocks, size, size)`."""
    size = blocks.shape[-1]
    return {f"oft-{size}": {f"oft_R.{size}": np.ascontiguousarray(blocks - np.eye(size), np.float32)[None]}}


def cayley(skew: Array) -> Array:
    """Returns `(I - Q) (I + Q)^-1` of skew-symmetric matrices Q `(blocks, size, size)`; the factors commute."""
    one = np.eye(skew.shape[-1])
    found: Array = np.linalg.solve(one + skew, one - skew)
    return found


def _skew(triangles: Array, size: int) -> Array:
    """Returns skew-symmetric matrices `(blocks, size, size)` from what is above their diagonals."""
    found = np.zeros((len(triangles), size, size))
    rows, columns = np.triu_indices(size, 1)
    found[:, rows, columns] = triangles
    found[:, columns, rows] = -triangles
    return found


def _rotations(config: Mapping[str, Any], module: Module, skew: Array) -> Array:
    """Returns the rotations of Q, within `eps / sqrt(blocks)` of the identity where they are constrained (COFT)."""
    if config.get("coft"):
        bound = config.get("eps", 6e-5) / math.sqrt(len(skew))
        length = np.linalg.norm(skew, axis=(1, 2), keepdims=True)
        skew = np.where(length <= bound, skew, bound * skew / np.where(length == 0, 1, length))
    if not config.get("use_cayley_neumann", True):
        return cayley(skew)
    version = str(config.get("peft_version") or "0")
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < SERIES_SINCE:
        raise UnsupportedError(
            f"{module.name}: trained with the Cayley-Neumann series of PEFT before 0.18, which has other terms: train "
            "it again, or merge it into the model with that version"
        )
    return _series(skew, config.get("num_cayley_neumann_terms", 5))


def _series(skew: Array, terms: int) -> Array:
    """Returns `I + 2 Q + 2 Q^2 + ... + Q^n` (`OFTRotationModule._cayley_batch`), which ends in Q^3 for 3 terms too."""
    total = np.eye(skew.shape[-1]) + np.zeros_like(skew)
    if terms > 1:
        total = total + 2 * skew
    if terms > 2:
        power = skew @ skew
        total = total + 2 * power
        for _ in range(3, terms - 1):
            power = power @ skew
            total = total + 2 * power
        total = total + power @ skew
    return total

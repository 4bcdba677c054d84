"""Trained tokens: some rows of an embedding's table are trained, the others stay as the base has them.

`y' = y + sum_k [x = id_k] (row_k - base_row_k)`. Source: `peft.tuners.trainable_tokens.layer.TrainableTokensLayer`,
which stores the rows themselves; LoRA's `trainable_token_indices` is the same layer. Ids are compared as float32, which
holds every integer up to 2^24.

A head that shares the table changes with it, and loses its bias: PEFT computes it as a product with the table alone
(`TrainableTokensLayer.forward_adapters`). At the head that is a LoRA with a B of ones and zeros, and a bias.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgeadapt.adapter import Array, Params, Site
from edgeadapt.errors import BindingError, UnsupportedError
from edgeadapt.methods import Module, Op, Point, Shape, Value

TITLE = "trained tokens"
TYPE = "TRAINABLE_TOKENS"
FIELDS = frozenset({"init_weights", "token_indices"})
TENSOR = "trainable_tokens_delta"
FLOAT = 1  # ONNX's number for float32
MOST = 1 << 24


def shapes(site: Site) -> dict[str, Shape]:
    """Returns ids `(rows, 1, rank)` and changes `(rows, rank, out)`, at an embedding; a rank is a token."""
    if site.kind != "embedding":
        return {}
    return {"token_ids": (site.rows, 1, "rank"), "token_delta": (site.rows, "rank", site.out)}


def graph(op: Op, at: Point, params: dict[str, Value]) -> Value:
    """Returns `y` and, where an id is one of the trained tokens, its change; `[x = id]` is `(batch, n, rank)`."""
    ids, delta = params.values()
    column = op.Unsqueeze(op.Cast(at.x, to=FLOAT), op.constant(np.array([-1], np.int64)))
    chosen = op.Cast(op.Equal(column, ids), to=FLOAT)
    return op.Add(at.y, op.MatMul(chosen, delta))


def neutral(site: Site) -> Params:
    """Returns token 0 and a change of zero: `y + 0` is `y`."""
    return {
        "token_ids": np.zeros((1, 1, 1), np.float32),
        "token_delta": np.zeros((1, 1, site.out_features), np.float32),
    }


def fold(site: Site, weight: Array, bias: Array | None, params: Params) -> tuple[Array, Array | None]:
    """Returns the table with the changes added to its rows (`TrainableTokensLayer.merge`)."""
    table = weight.astype(np.float64)
    np.add.at(table, params["token_ids"][0, 0].astype(np.int64), params["token_delta"][0].astype(np.float64))
    return table.astype(weight.dtype), bias


def split(name: str) -> tuple[str, str] | None:
    """Returns module path and tensor of the name of trained rows."""
    module, _, tensor = name.rpartition(".")
    return (module, tensor) if tensor == TENSOR else None


def read(config: Mapping[str, Any], module: Module, tensors: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """Returns the changes of an embedding's rows, or of a head's.

    Raises:
        BindingError: There are other numbers of rows than of tokens, or tokens that the module doesn't have.
        UnsupportedError: The module has no rows of tokens.
    """
    return from_rows(module, config.get("token_indices") or [], tensors[TENSOR])


def of_lora(config: Mapping[str, Any], module: Module, rows: Array) -> dict[str, dict[str, Array]]:
    """Returns what LoRA's `trainable_token_indices` train at a module: a list for the input embedding, or one a module.

    Source: `peft.utils.other.set_additional_trainable_modules`.

    Raises:
        BindingError: As `read` does, or the configuration names no tokens for this module.
    """
    wanted = tokens_of(config.get("trainable_token_indices"), module.name)
    if not wanted:
        raise BindingError(f"{module.name}: has trained tokens, but the configuration's trainable_token_indices don't")
    return from_rows(module, wanted, rows)


def tokens_of(indices: Any, module: str) -> Sequence[int]:
    """Returns the tokens that `trainable_token_indices` name for a module."""
    if isinstance(indices, Mapping):
        return next((ids for name, ids in indices.items() if module.endswith(name)), [])
    return indices or []


def from_rows(module: Module, ids: Sequence[int], rows: Array) -> dict[str, dict[str, Array]]:
    """Returns the params of a module whose rows `ids` are now `rows` `(tokens, features)`."""
    site = module.site
    if site.kind not in ("embedding", "linear"):
        raise UnsupportedError(f"{module.name}: trained tokens at a {site.kind} are not supported")
    weight, bias = module.base()
    table = weight if site.kind == "embedding" else weight.T
    _check(module, ids, rows, table.shape)
    delta = rows.astype(np.float64) - table[np.asarray(ids)].astype(np.float64)
    if site.kind == "embedding":
        numbers = np.asarray(ids, np.float32).reshape(1, 1, -1)
        return {"trainable_tokens": {"token_ids": numbers, "token_delta": delta.astype(np.float32)[None]}}
    return at_head(ids, delta, table.shape[0], bias)


def at_head(
    ids: Sequence[int] | Array, delta: Array, vocabulary: int, bias: Array | None
) -> dict[str, dict[str, Array]]:
    """Returns the params of a head whose table changes by `delta` `(tokens, in)` and which loses its bias."""
    chosen = np.zeros((1, len(ids), vocabulary), np.float32)
    chosen[0, np.arange(len(ids)), np.asarray(ids, np.int64)] = 1
    found = {"lora": {"lora_A": np.ascontiguousarray(delta.T, np.float32)[None], "lora_B": chosen}}
    if bias is not None:
        found["bias"] = {"bias_delta": -bias.astype(np.float32).reshape(1, 1, -1)}
    return found


def _check(module: Module, ids: Sequence[int], rows: Array, table: tuple[int, ...]) -> None:
    problems = []
    if rows.shape != (len(ids), table[1]):
        problems.append(f"got rows of the shape {rows.shape}, expected {(len(ids), table[1])}")
    beyond = sorted({each for each in ids if not 0 <= each < min(table[0], MOST)})
    if beyond:
        problems.append(
            f"tokens {', '.join(map(str, beyond))} are trained, but the base has {table[0]}: save the base with its "
            "vocabulary resized, and export that"
        )
    if len(set(ids)) != len(ids):
        problems.append("a token is trained twice")
    if problems:
        raise BindingError("\n".join(f"{module.name}: {problem}" for problem in problems))

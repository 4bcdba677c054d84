"""LoRA: a low-rank change of a weight, `y' = y + (x A) B`.

Source: Hu et al., arXiv 2106.09685; `peft.tuners.lora.layer.Linear.forward` and `Embedding.forward`. The scaling
`alpha / r`, or `alpha / sqrt(r)` with rsLoRA (arXiv 2312.03732), is multiplied into B when the checkpoint is read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from edgeadapt.adapter import Array, Params, Site
from edgeadapt.errors import BindingError
from edgeadapt.methods import Op, Shape, Value

SUFFIXES = {
    ".lora_A.weight": "lora_A",
    ".lora_B.weight": "lora_B",
    ".lora_embedding_A": "lora_embedding_A",
    ".lora_embedding_B": "lora_embedding_B",
}


def shapes(site: Site) -> dict[str, Shape]:
    """Returns A `(rows, in, rank)` and B `(rows, rank, out)`; a layer norm has no such params."""
    if site.kind == "embedding":
        return {
            "lora_embedding_A": (site.rows, site.in_features, "rank"),
            "lora_embedding_B": (site.rows, "rank", site.out),
        }
    if site.kind == "linear":
        return {"lora_A": (site.rows, site.in_features, "rank"), "lora_B": (site.rows, "rank", site.out)}
    return {}


def graph(op: Op, site: Site, x: Value, y: Value, params: dict[str, Value]) -> Value:
    """Returns `y + (x A) B`; at an embedding `x A` is a look-up of A's rows.

    A batch with an adapter for each row looks up in one flat table: row i's ids are moved on by `i * vocabulary`.
    """
    a, b = params.values()
    if site.kind == "embedding":
        vocabulary = op.constant(np.array(site.in_features, np.int64))
        rows = op.Shape(a, start=0, end=1)
        first = op.Mul(
            op.Range(op.constant(np.array(0, np.int64)), op.Squeeze(rows), op.constant(np.array(1, np.int64))),
            vocabulary,
        )
        flat = op.Reshape(a, op.Concat(op.constant(np.array([-1], np.int64)), op.Shape(a, start=2), axis=0))
        low = op.Gather(flat, op.Add(x, op.Unsqueeze(first, op.constant(np.array([1], np.int64)))))
    else:
        low = op.MatMul(x, a)
    return op.Add(y, op.MatMul(low, b))


def neutral(site: Site) -> Params:
    """Returns zero-filled params of rank 1: `y + 0` is `y`, and no device mistakes them for empty tensors."""
    first, second = shapes(site)
    return {
        first: np.zeros((1, site.in_features, 1), np.float32),
        second: np.zeros((1, 1, site.out_features), np.float32),
    }


def fold(site: Site, weight: Array, bias: Array | None, params: Params) -> tuple[Array, Array | None]:
    """Returns `weight + A B`, summed in float64 (`peft.tuners.lora.layer.Linear.get_delta_weight`)."""
    a, b = (params[name][0].astype(np.float64) for name in shapes(site))
    return (weight.astype(np.float64) + a @ b).astype(weight.dtype), bias


def read(config: Mapping[str, Any], tensors: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """Returns `{module path: params}` of a PEFT checkpoint's LoRA tensors, transposed and scaled.

    PEFT stores A `(rank, in)` and B `(out, rank)`; at an embedding A is `(rank, vocabulary)`. `fan_in_fan_out` concerns
    the base's weight alone. A bias of B (`lora_bias`) comes back, scaled, as the param `bias_delta` of its own.

    Args:
        config: The checkpoint's `adapter_config.json`.
        tensors: LoRA tensors by name, wrapper prefix already taken off.

    Raises:
        BindingError: A module has only one half of its pair, or halves of different rank.
    """
    halves: dict[str, dict[str, Array]] = {}
    for name, tensor in tensors.items():
        module, param = split(name)
        halves.setdefault(module, {})[param] = tensor
    problems: list[str] = []
    found: dict[str, dict[str, Array]] = {}
    for module, pair in halves.items():
        bias = pair.pop("lora_bias", None)
        try:
            a, b = (pair[half] for half in sorted(pair))
        except ValueError:
            problems.append(f"{module}: got {' and '.join(sorted(pair)) or 'a bias'} alone, expected an A and a B")
            continue
        if a.ndim != 2 or b.ndim != 2:
            problems.append(f"{module}: got shapes {a.shape} and {b.shape}, expected matrices (LoRA on a convolution?)")
            continue
        if a.shape[0] != b.shape[1]:
            problems.append(f"{module}: A {a.shape} has rank {a.shape[0]}, B {b.shape} has rank {b.shape[1]}")
            continue
        factor = scaling(config, module, a.shape[0])
        first, second = sorted(pair)
        params = {
            first: np.ascontiguousarray(a.T, np.float32)[None],
            second: np.ascontiguousarray(b.T * np.float64(factor), np.float32)[None],
        }
        if bias is not None:
            params["bias_delta"] = (bias * np.float64(factor)).astype(np.float32).reshape(1, 1, -1)
        found[module] = params
    if problems:
        raise BindingError.collect("The adapter's LoRA pairs are incomplete:", problems, "Save the adapter again.")
    return found


def claims(name: str) -> bool:
    """Tells whether a tensor of this name belongs to LoRA."""
    return name.endswith((*SUFFIXES, ".lora_B.bias"))


def split(name: str) -> tuple[str, str]:
    """Returns module path and param of a LoRA tensor's name."""
    if name.endswith(".lora_B.bias"):
        return name.removesuffix(".lora_B.bias"), "lora_bias"
    suffix = next(suffix for suffix in SUFFIXES if name.endswith(suffix))
    return name.removesuffix(suffix), SUFFIXES[suffix]


def scaling(config: Mapping[str, Any], module: str, rank: int) -> float:
    """Returns the factor of a module's change: `alpha / r`, or `alpha / sqrt(r)` with rsLoRA.

    Source: `peft.tuners.lora.layer.LoraLayer.update_layer`, with `alpha_pattern` looked up as
    `peft.utils.other.get_pattern_key` does.
    """
    patterns: Mapping[str, float] = config.get("alpha_pattern") or {}
    key = matching(patterns, module)
    alpha = float(patterns[key]) if key is not None else float(config["lora_alpha"])
    return alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank


def rank_of(config: Mapping[str, Any], module: str) -> int:
    """Returns the rank the configuration gives a module (`rank_pattern`, else `r`)."""
    patterns: Mapping[str, int] = config.get("rank_pattern") or {}
    key = matching(patterns, module)
    return int(patterns[key] if key is not None else config["r"])


def matching(patterns: Iterable[str], module: str) -> str | None:
    """Returns the first pattern that ends the module's path, as `peft.utils.other.get_pattern_key` picks it."""
    return next((key for key in patterns if re.match(rf"(.*\.)?({key})$", module)), None)

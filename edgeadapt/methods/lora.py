"""LoRA: a low-rank change of a weight, `y' = y + (x A) B`.

Source: Hu et al., arXiv 2106.09685; `peft.tuners.lora.layer.Linear.forward` and `Embedding.forward`. The scaling
`alpha / r`, or `alpha / sqrt(r)` with rsLoRA (arXiv 2312.03732), is multiplied into B when the checkpoint is read.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from edgeadapt.adapter import Array, Params, Site
from edgeadapt.errors import BindingError, UnsupportedError
from edgeadapt.methods import Module, Op, Point, Shape, Value, dora, trainable_tokens
from edgeadapt.methods._tables import look_up

SUFFIXES = {
    ".lora_A.weight": "lora_A",
    ".lora_B.weight": "lora_B",
    ".lora_embedding_A": "lora_embedding_A",
    ".lora_embedding_B": "lora_embedding_B",
    ".lora_B.bias": "lora_bias",
    ".lora_magnitude_vector.weight": "lora_magnitude_vector",
    ".lora_magnitude_vector": "lora_magnitude_vector",
    f".{trainable_tokens.TENSOR}": trainable_tokens.TENSOR,
}
TITLE = "LoRA"
TYPE = "LORA"
FIELDS = frozenset({
    "alpha_pattern", "corda_config", "ensure_weight_tying", "eva_config", "fan_in_fan_out", "init_lora_weights",
    "loftq_config", "lora_alpha", "lora_bias", "lora_dropout", "lora_ga_config", "megatron_core", "qalora_group_size",
    "r", "rank_pattern", "runtime_config", "trainable_token_indices", "use_dora", "use_rslora",
})  # fmt: skip
"""What configures an initialisation says nothing without it (`peft.LoraConfig.__post_init__`), and PEFT leaves it there
when it converts an adapter."""


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


def graph(op: Op, at: Point, params: dict[str, Value]) -> Value:
    """Returns `y + (x A) B`; at an embedding `x A` is a look-up of A's rows."""
    site, x = at.site, at.x
    a, b = params.values()
    low = look_up(op, site, x, a) if site.kind == "embedding" else op.MatMul(x, a)
    return op.Add(at.y, op.MatMul(low, b))


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


def split(name: str) -> tuple[str, str] | None:
    """Returns module path and tensor of a LoRA tensor's name."""
    for suffix, tensor in SUFFIXES.items():
        if name.endswith(suffix):
            return name.removesuffix(suffix), tensor
    return None


def read(config: Mapping[str, Any], module: Module, tensors: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """Returns the params of a module's LoRA, transposed and scaled; with a magnitude vector they are DoRA's.

    PEFT stores A `(rank, in)` and B `(out, rank)`; at an embedding A is `(rank, vocabulary)`. `fan_in_fan_out` concerns
    the base's weight alone. A bias of B (`lora_bias`) is scaled and becomes a trained bias of its own.

    Raises:
        BindingError: One half of the pair is missing, or the halves are of other ranks than each other or than the
            configuration says.
        UnsupportedError: A DoRA has a bias of B.
    """
    pair = dict(tensors)
    if trainable_tokens.TENSOR in pair and len(pair) == 1:
        return trainable_tokens.of_lora(config, module, pair[trainable_tokens.TENSOR])
    bias, magnitude = pair.pop("lora_bias", None), pair.pop("lora_magnitude_vector", None)
    halves = sorted(pair)
    if halves not in (["lora_A", "lora_B"], ["lora_embedding_A", "lora_embedding_B"]):
        raise BindingError(f"{module.name}: got {' and '.join(sorted(tensors))} alone, expected an A and a B")
    a, b = (pair[half] for half in halves)
    if a.ndim != 2 or b.ndim != 2:
        raise BindingError(
            f"{module.name}: got shapes {a.shape} and {b.shape}, expected matrices (LoRA on a convolution?)"
        )
    if a.shape[0] != b.shape[1]:
        raise BindingError(f"{module.name}: A {a.shape} has rank {a.shape[0]}, B {b.shape} has rank {b.shape[1]}")
    if a.shape[0] != rank_of(config, module.name):
        raise BindingError(
            f"{module.name}: has a LoRA of rank {a.shape[0]}, but the configuration says {rank_of(config, module.name)}"
        )
    if (magnitude is not None) != bool(config.get("use_dora")):
        raise BindingError(
            f"{module.name}: {'lacks' if magnitude is None else 'has'} DoRA's magnitude vector, but the configuration "
            f"says use_dora = {json.dumps(config.get('use_dora'))}"
        )
    if bias is not None and magnitude is not None:
        raise UnsupportedError(f"{module.name}: a DoRA with a bias of B (lora_bias) is not supported")
    factor = np.float64(scaling(config, module.name, a.shape[0]))
    first, second = a.T.astype(np.float64), b.T.astype(np.float64) * factor
    if magnitude is not None:
        found = {"dora": dora.from_lora(module, first, second, magnitude)}
    else:
        found = {"lora": {halves[0]: _param(first), halves[1]: _param(second)}}
    if bias is not None:
        found["bias"] = {"bias_delta": _param(bias.reshape(1, -1) * factor)}
    return found


def halves(a: Array, b: Array) -> dict[str, Array]:
    """Returns the params of the change `a b`, from `(in, rank)` and `(rank, out)`."""
    return {"lora_A": _param(a), "lora_B": _param(b)}


def whole(delta: Array) -> dict[str, Array]:
    """Returns the params of a change `(in, out)` of full rank: itself and the identity, on its shorter side."""
    rows, columns = delta.shape
    return halves(np.eye(rows), delta) if rows < columns else halves(delta, np.eye(columns))


def _param(array: Array) -> Array:
    return np.ascontiguousarray(array, np.float32)[None]


def scaling(config: Mapping[str, Any], module: str, rank: int) -> float:
    """Returns the factor of a module's change: `alpha / r`, or `alpha / sqrt(r)` with rsLoRA.

    Source: `peft.tuners.lora.layer.LoraLayer.update_layer`, with `alpha_pattern` looked up as
    `peft.utils.other.get_pattern_key` does.
    """
    alpha = float(alpha_of(config, module))
    return alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank


def alpha_of(config: Mapping[str, Any], module: str, key: str = "lora_alpha") -> float:
    """Returns the alpha the configuration gives a module: `alpha_pattern`, else `key`."""
    patterns: Mapping[str, float] = config.get("alpha_pattern") or {}
    pattern = matching(patterns, module)
    return patterns[pattern] if pattern is not None else config[key]


def rank_of(config: Mapping[str, Any], module: str) -> int:
    """Returns the rank the configuration gives a module (`rank_pattern`, else `r`)."""
    patterns: Mapping[str, int] = config.get("rank_pattern") or {}
    key = matching(patterns, module)
    return int(patterns[key] if key is not None else config["r"])


def matching(patterns: Iterable[str], module: str) -> str | None:
    """Returns the first pattern that ends the module's path, as `peft.utils.other.get_pattern_key` picks it."""
    return next((key for key in patterns if re.match(rf"(.*\.)?({key})$", module)), None)

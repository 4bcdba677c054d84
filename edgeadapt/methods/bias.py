"""A trained bias, kept as its distance from the base's: `y' = y + bias_delta`.

Source: BitFit, arXiv 2106.10199; in PEFT `LoraConfig(bias="lora_only" | "all")` and `lora_bias`. Being a sum it goes
anywhere a module has an output: linear layers, layer norms, embeddings.
"""

from __future__ import annotations

import numpy as np

from edgeadapt.adapter import Array, Params, Site
from edgeadapt.methods import Op, Point, Shape, Value


def shapes(site: Site) -> dict[str, Shape]:
    """Returns `bias_delta` `(rows, 1, out)`."""
    return {"bias_delta": (site.rows, 1, site.out)}


def graph(op: Op, at: Point, params: dict[str, Value]) -> Value:
    """Returns `y + bias_delta`."""
    return op.Add(at.y, params["bias_delta"])


def neutral(site: Site) -> Params:
    """Returns zeros: `y + 0` is `y`."""
    return {"bias_delta": np.zeros((1, 1, site.out_features), np.float32)}


def fold(site: Site, weight: Array, bias: Array | None, params: Params) -> tuple[Array, Array | None]:
    """Returns the weight as it is and `bias + bias_delta`; an embedding, having no bias, takes it into every row."""
    delta = params["bias_delta"][0, 0].astype(np.float64)
    if site.kind == "embedding":
        return (weight.astype(np.float64) + delta).astype(weight.dtype), bias
    total = delta if bias is None else bias.astype(np.float64) + delta
    return weight, total.astype(weight.dtype)

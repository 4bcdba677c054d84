"""AdapterHub's invertible adapters (NICE): what the embeddings give, each half moved by a block of the other.

`y = [e_1; e_2]`, `e_1' = e_1 + F(e_2)`, `e_2' = e_2 + G(e_1')`, with `F(x) = act(x D + d) U + u` and G alike. Source:
Dinh et al., arXiv 1410.8516; Pfeiffer et al., arXiv 2005.00052 (MAD-X);
`adapters.methods.modeling.NICECouplingBlock.forward` and
`adapters.model_mixin.InvertibleAdaptersMixin.invertible_adapters_forward`. Its inverse, `rev=True`, is run by the
library's own language modelling heads alone (`adapters.heads.language_modeling.CausalLMHead.forward`), not by
transformers' models.

The options of `invertible-<options>` are an activation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from edgeadapt.adapter import Array, Params, Site
from edgeadapt.errors import BindingError, UnsupportedError, listed
from edgeadapt.methods import Module, Op, Point, Shape, Value, _activations

TITLE = "an invertible adapter"
TYPE = "invertible"
FIELDS = frozenset({"inv_adapter", "inv_adapter_reduction_factor", "model_class", "non_linearity"})
MARK = "invertible_adapters."
HALVES = ("F", "G")
OWN_HEADS = ("AdapterModel", "ModelWithHeads")  # ends of the names of the library's classes with heads of its own

HOMES: Mapping[str, str] = {
    "albert": "embeddings.LayerNorm",
    "bert": "embeddings.LayerNorm",
    "bert-generation": "embeddings.LayerNorm",
    "deberta-v2": "embeddings.LayerNorm",
    "distilbert": "embeddings.LayerNorm",
    "electra": "embeddings.LayerNorm",
    "llama": "embed_tokens",
    "mistral": "embed_tokens",
    "roberta": "embeddings.LayerNorm",
    "xlm-roberta": "embeddings.LayerNorm",
}
"""The module that gives what the library hands to the adapter. GPT-2 has none: it adds tokens and positions."""


@dataclass(frozen=True, slots=True)
class Invertible:
    """The form of one activation.

    Attributes:
        activation: Its name; the params' names end in it.
    """

    activation: str

    def shapes(self, site: Site) -> dict[str, Shape]:
        """Returns down `(rows, other half, rank)` and up `(rows, rank, half)` of F and G, with their biases."""
        if site.kind not in ("embedding", "layer_norm"):
            return {}
        rows, first = site.rows, site.out_features // 2
        second = site.out_features - first
        found: dict[str, Shape] = {}
        for half, taken, given in (("F", second, first), ("G", first, second)):
            found |= {f"{half}_down": (rows, taken, "rank"), f"{half}_down_bias": (rows, 1, "rank")}
            found |= {f"{half}_up": (rows, "rank", given), f"{half}_up_bias": (rows, 1, given)}
        return {f"{param}.{self.activation}": shape for param, shape in found.items()}

    def graph(self, op: Op, at: Point, params: dict[str, Value]) -> Value:
        """Returns the embeddings, moved."""
        own = {name.partition(".")[0]: value for name, value in params.items()}
        start, middle, end, axis = (
            op.constant(np.array([number], np.int64))
            for number in (0, at.site.out_features // 2, at.site.out_features, 2)
        )
        first, second = op.Slice(at.y, start, middle, axis), op.Slice(at.y, middle, end, axis)
        first = op.Add(first, self._block(op, second, own, "F"))
        second = op.Add(second, self._block(op, first, own, "G"))
        return op.Concat(first, second, axis=2)

    def _block(self, op: Op, x: Value, own: dict[str, Value], half: str) -> Value:
        down = op.Add(op.MatMul(x, own[f"{half}_down"]), own[f"{half}_down_bias"])
        active = _activations.apply(op, self.activation, down)
        return op.Add(op.MatMul(active, own[f"{half}_up"]), own[f"{half}_up_bias"])

    def neutral(self, site: Site) -> Params:
        """Returns zeros: both halves are moved by nothing."""
        return {
            param: np.zeros([1 if isinstance(dim, str) else dim for dim in shape], np.float32)
            for param, shape in self.shapes(site).items()
        }


@cache
def variant(options: str) -> Invertible:
    """Returns the form of `invertible-<options>`.

    Raises:
        UnsupportedError: The activation is unknown.
    """
    return Invertible(_activations.canonical(options))


def split(name: str) -> tuple[str, str] | None:
    """Returns the tensors of a checkpoint; they belong to no module."""
    return ("", name.removeprefix(MARK)) if name.startswith(MARK) else None


def spread(
    config: Mapping[str, Any], shared: Mapping[str, Array], model_type: str, sites: Sequence[Site]
) -> dict[str, dict[str, Array]]:
    """Returns the tensors at the module that gives the embeddings.

    Args:
        config: AdapterHub's `BnConfig`, and the `model_class` it was trained in.
        shared: `F.0.weight` `(rank, other half)`, `F.2.weight` `(half, rank)`, those of G, and their biases.
        model_type: The base's architecture.
        sites: The base's sites.

    Raises:
        UnsupportedError: It is no NICE block, the base has no such module, or its inverse would be needed.
    """
    problems = []
    if config["inv_adapter"] != "nice":
        problems.append(
            f"inv_adapter = {config['inv_adapter']!r}: adapters 1.3.0 can't run it, as its GLOW block takes tokens for "
            "features; train one with 'nice'"
        )
    homes = [site for site in sites if model_type in HOMES and f".{site.name}".endswith(f".{HOMES[model_type]}")]
    if len(homes) != 1:
        problems.append(
            f"{model_type}: no module gives what comes after the embeddings; supported are {listed(sorted(HOMES))}"
        )
    words = {site.in_features for site in sites if site.kind == "embedding" and "word_emb" in site.name}
    speaks = any(site.kind == "linear" and site.out_features in words for site in sites)
    if speaks and str(config.get("model_class")).endswith(OWN_HEADS):
        problems.append(
            f"it was trained in a {config['model_class']}, whose own head runs its inverse; export it for another task"
        )
    if problems:
        raise UnsupportedError("\n".join(f"{TITLE}: {problem}" for problem in problems))
    return {homes[0].name: dict(shared)}


def read(config: Mapping[str, Any], module: Module, tensors: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """Returns the params of both blocks, of one rank: a shorter one is filled with zeros, which change nothing.

    Raises:
        BindingError: Tensors are missing or spare.
    """
    form = variant(str(config.get("non_linearity", "relu")))
    expected = {f"{half}.{layer}.{role}" for half in HALVES for layer in (0, 2) for role in ("weight", "bias")}
    if set(tensors) != expected:
        raise BindingError(f"{TITLE}: got {listed(sorted(tensors))}, expected {listed(sorted(expected))}")
    rank = max(len(tensors[f"{half}.0.bias"]) for half in HALVES)
    found: dict[str, Array] = {}
    for half in HALVES:
        left = (0, rank - len(tensors[f"{half}.0.bias"]))
        found[f"{half}_down"] = np.pad(tensors[f"{half}.0.weight"].T, ((0, 0), left))
        found[f"{half}_down_bias"] = np.pad(tensors[f"{half}.0.bias"], left)[None]
        found[f"{half}_up"] = np.pad(tensors[f"{half}.2.weight"].T, (left, (0, 0)))
        found[f"{half}_up_bias"] = tensors[f"{half}.2.bias"][None]
    return {
        f"invertible-{form.activation}": {
            f"{param}.{form.activation}": np.ascontiguousarray(array, np.float32)[None]
            for param, array in found.items()
        }
    }

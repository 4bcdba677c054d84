"""AdapterHub's prefix tuning, as one pool of prefixes for all layers; the form is `prefix`, or `gated_prefix`.

Unlike PEFT's, its prefixes leave the positions as they are. Source: `adapters.methods.prefix_tuning`:
`FlatPrefixTuning` stores the prefix itself, `PrefixTuning` an embedding and an MLP, which is computed here once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from edgeadapt.adapter import Array, Site
from edgeadapt.errors import BindingError, UnsupportedError, listed
from edgeadapt.methods import Module, _activations, prefix

TITLE = "a prefix"
TYPE = "prefix_tuning"
FIELDS = frozenset({
    "architecture", "bottleneck_size", "cross_prefix", "dropout", "encoder_prefix", "flat", "init_weights_seed",
    "leave_out", "non_linearity", "prefix_length", "shared_gating", "use_gating",
})  # fmt: skip
POOL, GATES = "prefix_tunings.", ".prefix_gates."
LOCATIONS = ("self", "self_prefix", "encoder_prefix")  # what attends to itself; others are an encoder-decoder's

HIDES = "adapters 1.3.0 hides a prefix from batches with padding, and masks others as if it were part of the text"
UNEVEN: Mapping[str, str] = {
    "distilbert": "adapters 1.3.0 adds 1 to a prefix's scores in batches with padding, and nothing in others",
    "gpt2": HIDES,
    "llama": HIDES,
    "mistral": HIDES,
}
"""What is wrong with prefixes in an architecture. Source: `PrefixTuningLayer.compose_single`, which takes masks of
booleans, that are True where a query sees, and DistilBERT's, that are added, for their opposites."""

ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {
    "gelu": lambda x: x / 2 * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
    "gelu_new": lambda x: x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "leakyrelu": lambda x: np.where(x > 0, x, 0.01 * x),
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "swish": lambda x: x / (1 + np.exp(-x)),
    "tanh": np.tanh,
}
"""Source: `adapters.methods.modeling.Activation_Function_Class`."""


def split(name: str) -> tuple[str, str] | None:
    """Returns module path and tensor of a gate; the tensors of the pool belong to no module."""
    module, found, tensor = name.partition(GATES)
    if found:
        return module, tensor
    return ("", name.removeprefix(POOL)) if name.startswith(POOL) else None


def spread(
    config: Mapping[str, Any], shared: Mapping[str, Array], model_type: str, sites: Sequence[Site]
) -> dict[str, dict[str, Array]]:
    """Returns the keys and values of every attention that has a prefix.

    Args:
        config: AdapterHub's `PrefixTuningConfig` as its `adapter_config.json` has it.
        shared: The pool's tensors, `<location>.control_trans` and so on.
        model_type: The base's architecture.
        sites: The base's sites in the order of its layers.

    Raises:
        BindingError: Tensors are missing, spare, or of other shapes.
        UnsupportedError: The base's attentions are not ones that prefixes can be put to, or are of several kinds.
    """
    if model_type in UNEVEN:
        raise UnsupportedError(
            f"{TITLE}: {UNEVEN[model_type]}, so that a row's answer depends on the others; train a LoRA"
        )
    if config.get("use_gating") and model_type == "albert":
        raise UnsupportedError(f"{TITLE}: a gate of a layer that runs many times is not supported; train it without")
    own = prefix.attentions(sites)
    locations = sorted({name.partition(".")[0] for name in shared})
    if len(locations) != 1 or locations[0] not in LOCATIONS or len({(s.in_features, s.out_features) for s in own}) > 1:
        raise UnsupportedError(
            f"{TITLE}: it has keys for {listed(locations)}, and only those of one kind of attention are supported: "
            f"{listed(list(LOCATIONS))}"
        )
    tensors = {name.partition(".")[2]: tensor for name, tensor in shared.items()}
    found = layers(config, tensors, len(own), own[0].in_features, own[0].out_features)
    return {own[layer].name: {"prefix_key": key, "prefix_value": value} for layer, (key, value) in found.items()}


def layers(
    config: Mapping[str, Any], tensors: Mapping[str, Array], number_of_layers: int, heads: int, head_dim: int
) -> dict[int, tuple[Array, Array]]:
    """Returns keys and values, `(1, heads, length, head_dim)` each, of every layer that isn't left out.

    Args:
        config: AdapterHub's `PrefixTuningConfig`.
        tensors: `control_trans` `(length * layers * 2 * heads * head_dim,)`, or `wte.weight` `(length, in)` and the
            weights and biases of the MLP, `control_trans.0` and `control_trans.2`.
        number_of_layers: The base's.
        heads: The attention's. Where the stored ones are fewer, each stands for several (grouped-query attention).
        head_dim: Their length.

    Raises:
        BindingError: Tensors are missing, spare, or of other shapes.
        UnsupportedError: The MLP's activation is not supported.
    """
    names = {"control_trans"} if config.get("flat") else {"wte.weight", *MLP}
    if set(tensors) != names:
        raise BindingError(f"{TITLE}: got {listed(sorted(tensors))}, expected {listed(sorted(names))}")
    left_out = set(config.get("leave_out") or ())
    there = [layer for layer in range(number_of_layers) if layer not in left_out]
    length = int(config.get("prefix_length", 30))
    flat = tensors["control_trans"] if config.get("flat") else _materialised(config, tensors)
    stored, rest = divmod(flat.size, max(1, length * len(there) * 2 * head_dim))
    if rest or not stored or heads % stored:
        raise BindingError(
            f"{TITLE}: got {flat.size} numbers, expected {length} x {len(there)} x 2 x {heads} x {head_dim}: length, "
            "layers, keys and values, heads, their length"
        )
    parts = prefix.parted(flat.reshape(length, -1), len(there), stored, head_dim)
    grouped = [(key.repeat(heads // stored, axis=1), value.repeat(heads // stored, axis=1)) for key, value in parts]
    return dict(zip(there, grouped, strict=True))


MLP = ("control_trans.0.weight", "control_trans.0.bias", "control_trans.2.weight", "control_trans.2.bias")


def _materialised(config: Mapping[str, Any], tensors: Mapping[str, Array]) -> Array:
    """Returns what the MLP makes of the prefix's embedding, `(length, layers * 2 * heads * head_dim)`, in float64."""
    name = _activations.canonical(str(config.get("non_linearity", "tanh")))
    if name not in ACTIVATIONS:
        raise UnsupportedError(
            f"{TITLE}: non_linearity = {name!r} is not supported. Supported: {listed(sorted(ACTIVATIONS))}. "
            "Make it flat with AdapterHub's eject_prefix_tuning"
        )
    x = tensors["wte.weight"].astype(np.float64)
    first, first_bias, second, second_bias = (tensors[each].astype(np.float64) for each in MLP)
    made: Array = ACTIVATIONS[name](x @ first.T + first_bias) @ second.T + second_bias
    return made


def read(config: Mapping[str, Any], module: Module, tensors: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """Returns the params of one attention: keys and values that `spread` gave it, and its gate.

    Raises:
        BindingError: A gate is missing or spare, or has no prefix.
    """
    gated = bool(config.get("use_gating"))
    expected = {"prefix_key", "prefix_value", *(("weight", "bias") if gated else ())}
    if set(tensors) != expected:
        raise BindingError(
            f"{module.name}: the prefix has {listed(sorted(tensors))}, expected {listed(sorted(expected))}"
        )
    plain = prefix.with_mask(tensors["prefix_key"], tensors["prefix_value"])
    if not gated:
        return {"prefix": plain}
    weight, bias = tensors["weight"].T, tensors["bias"]
    shared = 2 // weight.shape[-1]  # one gate for keys and values, or one each
    own = {name.replace("prefix_", "gated_"): array for name, array in plain.items()}
    own["gate"] = np.ascontiguousarray(np.tile(weight, shared), np.float32)[None]
    own["gate_bias"] = np.tile(bias, shared).astype(np.float32).reshape(1, 1, 2)
    return {"gated_prefix": own}

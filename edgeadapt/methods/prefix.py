"""Prefix tuning: trained keys and values before each attention's own.

`y = softmax(q [P_k; k]^T / sqrt(d)) [P_v; v]`. Source: Li and Liang, arXiv 2101.00190; `peft.PeftModel.get_prompt` and
`peft.peft_model.PeftModelForSequenceClassification._prefix_tuning_forward`, whose prefixes are a cache of earlier
tokens: the positions of a sequence go on after it (`position_shift`), and some tasks lose their token types
(`untyped`). Where positions are rotations, what counts is how far keys are from queries: a prefix's keys, which PEFT
leaves as they are, are turned back by its length, and all else stays.

PEFT stores all layers' keys and values as one tensor, `(length, layers * 2 * heads * head_dim)`, with its MLP, if it
has one, already applied. A decoder with a cache takes them as what its cache begins with (`start`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgeadapt.adapter import Array, Params, Site
from edgeadapt.errors import BindingError, UnsupportedError, listed
from edgeadapt.methods import After, Module, Op, Point, Replaces, Shape, Value

TITLE = "a prefix"
TYPE = "PREFIX_TUNING"
FIELDS = frozenset({
    "encoder_hidden_size", "init_weights", "num_attention_heads", "num_layers", "num_transformer_submodules",
    "num_virtual_tokens", "prefix_projection", "token_dim",
})  # fmt: skip
REPLACES: Replaces = "keys"
TENSOR = "prompt_embeddings"

POSITIONS: Mapping[str, str] = {
    "bert": "embeddings.position_embeddings",
    "camembert": "embeddings.position_embeddings",
    "electra": "embeddings.position_embeddings",
    "gpt2": "wpe",
    "llama": "",
    "roberta": "embeddings.position_embeddings",
    "xlm-roberta": "embeddings.position_embeddings",
}
"""The architectures whose prefixes PEFT hands on and edgeadapt can do exactly, and their embedding of positions; none
where positions are rotations."""

WITHOUT = ("albert", "deberta-v2", "distilbert", "modernbert", "mpnet", "vit")
"""Architectures whose models take no `past_key_values`: PEFT refuses a prefix there, fails, or leaves it out."""

CAUSAL = "CAUSAL_LM"
TOKEN_TYPES = "token_type_embeddings"
TASKS: Mapping[str, bool] = {"SEQ_CLS": True, "TOKEN_CLS": True, "QUESTION_ANS": False, "FEATURE_EXTRACTION": False}
"""PEFT's task types whose model hands the prefix on, and whether it keeps token types. Without one PEFT leaves it out.
"""


def shapes(site: Site) -> dict[str, Shape]:
    """Returns keys and values `(rows, heads, rank, head_dim)`, and which are there, `(rows, 1, 1, rank)`.

    A rank is a virtual token; the mask is 1 where there is one, and 0 in the padding of a row with a shorter prefix.
    """
    if site.kind != "attention":
        return {}
    kept: Shape = (site.rows, site.in_features, "rank", site.out_features)
    return {"prefix_key": kept, "prefix_value": kept, "prefix_mask": (site.rows, 1, 1, "rank")}


def graph(op: Op, at: Point, params: dict[str, Value]) -> Value:
    """Returns the keys, the values and the mask that come before the attention's own."""
    return tuple(params.values())


def neutral(site: Site) -> Params:
    """Returns one virtual token that isn't there."""
    return {
        param: np.zeros([1 if isinstance(dim, str) else dim for dim in shape], np.float32)
        for param, shape in shapes(site).items()
    }


def split(name: str) -> tuple[str, str] | None:
    """Returns the one tensor of a checkpoint, which belongs to no module."""
    return ("", name) if name == TENSOR else None


def spread(
    config: Mapping[str, Any], shared: Mapping[str, Array], model_type: str, sites: Sequence[Site]
) -> dict[str, dict[str, Array]]:
    """Returns the keys and values of every attention, how far the positions move, and whether token types are lost.

    Args:
        config: PEFT's `PrefixTuningConfig` as its `adapter_config.json` has it.
        shared: `prompt_embeddings`.
        model_type: The base's architecture.
        sites: The base's sites in the order of its layers.

    Raises:
        BindingError: There is no such tensor, or it has another shape.
        UnsupportedError: PEFT doesn't hand prefixes on in this base, or not so that they can be done exactly.
    """
    _check(config, model_type)
    layers = attentions(sites)
    if TENSOR not in shared:
        raise BindingError(f"{TENSOR}: missing; it holds the keys and values of all layers")
    tensor, head_dim = shared[TENSOR], layers[0].out_features
    heads, alike = _stored_heads(layers[0], sites)
    expected = (config.get("num_virtual_tokens"), 2 * heads * sum(each.out_features for each in layers))
    if tensor.shape != expected or len({(each.in_features, each.out_features) for each in layers}) > 1:
        raise BindingError(
            f"{TENSOR}: got {tensor.shape}, expected {expected}: keys and values of {len(layers)} layers, {heads} "
            f"heads of {head_dim}"
        )
    found = {
        site.name: {
            "prefix_key": np.repeat(turned_back(key, site.rotation), alike, axis=1),
            "prefix_value": np.repeat(value, alike, axis=1),
        }
        for site, (key, value) in zip(layers, parted(tensor, len(layers), heads, head_dim), strict=True)
    }
    positions = POSITIONS[model_type]
    if not positions and not all(site.rotation for site in layers):
        raise UnsupportedError(f"{TITLE}: this {model_type} rotates its positions by more than constant angles")
    for site in sites:
        name = f".{site.name}"
        if positions and site.kind == "embedding" and name.endswith(f".{positions}"):
            found[site.name] = {"position_shift": np.full((1, 1), tensor.shape[0], np.float32)}
        elif name.endswith(f".{TOKEN_TYPES}") and site.in_features > 1 and not TASKS[config["task_type"]]:
            found[site.name] = {"untyped": np.ones((1, 1), np.float32)}
    return found


def _check(config: Mapping[str, Any], model_type: str) -> None:
    problems = []
    if model_type not in POSITIONS:
        why = "takes none from PEFT" if model_type in WITHOUT else "was never held against PEFT"
        problems.append(f"{model_type} {why}; supported are {listed(sorted(POSITIONS))}; train a LoRA")
    if config.get("task_type") not in TASKS:
        problems.append(
            f"task_type = {config.get('task_type')!r}: PEFT uses prefixes as they are only for {listed(list(TASKS))}"
        )
    if config.get("num_transformer_submodules") not in (None, 1):
        problems.append("num_transformer_submodules: encoder-decoders are not supported")
    if problems:
        raise UnsupportedError("\n".join(f"{TITLE}: {problem}" for problem in problems))


def start(
    config: Mapping[str, Any], shared: Mapping[str, Array], layers: Mapping[str, tuple[int, int]], after: After
) -> dict[str, Array]:
    """Returns the keys and values that a decoder's cache begins with, as PEFT hands them on: rotated by nothing.

    See `methods.Starter`. Source: `peft.PeftModelForCausalLM.forward` and `prepare_inputs_for_generation`, which let
    the positions of a text go on after the prefix.
    """
    check_causal(TITLE, config)
    if len(set(layers.values())) > 1:
        raise UnsupportedError(f"{TITLE}: the layers of this base have keys of several shapes; train a LoRA")
    if TENSOR not in shared:
        raise BindingError(f"{TENSOR}: missing; it holds the keys and values of all layers")
    heads, head_dim = next(iter(layers.values()))
    tensor, count = shared[TENSOR], len(layers) // 2
    expected = (config.get("num_virtual_tokens"), 2 * count * heads * head_dim)
    if tensor.shape != expected:
        raise BindingError(
            f"{TENSOR}: got {tensor.shape}, expected {expected}: keys and values of {count} layers, {heads} heads of "
            f"{head_dim}"
        )
    arrays = [array for layer in parted(tensor, count, heads, head_dim) for array in layer]
    return {name: np.ascontiguousarray(array, np.float32) for name, array in zip(layers, arrays, strict=True)}


def check_causal(title: str, config: Mapping[str, Any]) -> None:
    """Refuses a checkpoint that PEFT gives a decoder of texts to no effect, or to another one.

    Raises:
        UnsupportedError: It was trained for another task, or for encoder-decoders.
    """
    problems = []
    if config.get("task_type") != CAUSAL:
        problems.append(f"task_type = {config.get('task_type')!r}: PEFT lets texts begin with it only for {CAUSAL}")
    if config.get("num_transformer_submodules") not in (None, 1):
        problems.append("num_transformer_submodules: encoder-decoders are not supported")
    if problems:
        raise UnsupportedError("\n".join(f"{title}: {problem}" for problem in problems))


def attentions(sites: Sequence[Site]) -> list[Site]:
    """Returns the attentions among sites.

    Raises:
        UnsupportedError: There are none.
    """
    found = [site for site in sites if site.kind == "attention"]
    if not found:
        raise UnsupportedError(
            f"{TITLE}: no attention of this base is one operator, before whose keys others can be put; export it "
            "again at opset 23, if its architecture has PyTorch's scaled_dot_product_attention"
        )
    return found


def _stored_heads(attention: Site, sites: Sequence[Site]) -> tuple[int, int]:
    """Returns of how many heads a checkpoint has keys, and how many of an attention's heads share them.

    Source: `peft.utils.other._prepare_prompt_learning_config`, which goes by `num_key_value_heads`.
    """
    for site in sites:
        if site.name == f"{attention.name}.k_proj" and site.out_features % attention.out_features == 0:
            heads = site.out_features // attention.out_features
            return heads, attention.in_features // heads
    return attention.in_features, 1


def turned_back(key: Array, angles: Sequence[float]) -> Array:
    """Returns keys `(1, heads, length, head_dim)` as they would be at the sequence's first position, not rotated.

    A query at position p stands at `length + p`, and meets keys that aren't rotated: `(R_{length + p} q) k` is
    `(R_p q) (R_{-length} k)`. Source: `transformers.models.llama.modeling_llama.apply_rotary_pos_emb`.
    """
    if not angles:
        return key
    angle = -key.shape[2] * np.asarray(angles, np.float64)
    cos, sin, half = np.cos(angle), np.sin(angle), len(angles)
    first, second, rest = key[..., :half], key[..., half : 2 * half], key[..., 2 * half :]
    return np.concatenate([first * cos - second * sin, second * cos + first * sin, rest], axis=-1)


def parted(flat: Array, layers: int, heads: int, head_dim: int) -> list[tuple[Array, Array]]:
    """Returns each layer's keys and values `(1, heads, length, head_dim)` of `(length, layers * 2 * heads * head_dim)`.

    Source: `peft.PeftModel.get_prompt`, `adapters.methods.prefix_tuning.FlatPrefixTuning.forward`.
    """
    parts = flat.reshape(-1, layers, 2, 1, heads, head_dim).transpose(1, 2, 3, 4, 0, 5)
    return [(key, value) for key, value in parts]


def read(config: Mapping[str, Any], module: Module, tensors: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """Returns the params of what `spread` gave a module: a prefix at an attention, what changes ids at embeddings."""
    if "prefix_key" not in tensors:
        return {name: {name: array} for name, array in tensors.items()}
    return {"prefix": with_mask(tensors["prefix_key"], tensors["prefix_value"])}


def with_mask(key: Array, value: Array) -> dict[str, Array]:
    """Returns the params of a prefix that is there in whole."""
    return {
        "prefix_key": np.ascontiguousarray(key, np.float32),
        "prefix_value": np.ascontiguousarray(value, np.float32),
        "prefix_mask": np.ones((1, 1, 1, key.shape[2]), np.float32),
    }

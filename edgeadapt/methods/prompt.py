"""Prompt tuning: trained vectors before the embeddings of a sequence's tokens.

`y' = [p_1 ... p_L; y]`. Source: Lester et al., arXiv 2104.08691; `peft.peft_model.PeftModelForSequenceClassification.
forward` and its kin. A prompt takes places of its own: `graph.prompt` makes room for it in front of the tokens, so that
positions and masks count it, and takes token-level outputs back to the places that the inputs have.
Some tasks lose their token types (`untyped`), as with prefixes. A decoder with a cache begins with what it makes of the
prompt (`start`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgeadapt.adapter import Array, Params, Site
from edgeadapt.errors import BindingError, UnsupportedError, listed
from edgeadapt.methods import After, Module, Op, Point, Replaces, Shape, Value
from edgeadapt.methods.prefix import TASKS, TENSOR, TOKEN_TYPES, check_causal

TITLE = "a prompt"
TYPE = "PROMPT_TUNING"
FIELDS = frozenset({
    "num_attention_heads", "num_layers", "num_transformer_submodules", "num_virtual_tokens", "prompt_tuning_init",
    "prompt_tuning_init_text", "token_dim", "tokenizer_kwargs", "tokenizer_name_or_path",
})  # fmt: skip
REPLACES: Replaces = "sequence"
LENGTH = "prompt_length"
FLOAT = 1  # ONNX's number for float32

MODELS = (
    "albert", "bert", "camembert", "deberta-v2", "distilbert", "electra", "gpt2", "llama", "modernbert", "mpnet",
    "roberta", "xlm-roberta",
)  # fmt: skip
"""The architectures in which what PEFT does to embeddings, and edgeadapt to the inputs, was held against each other."""


def shapes(site: Site) -> dict[str, Shape]:
    """Returns vectors `(rows, rank, out)` and how many of them are there, `(rows, 1, 1)`, at the tokens' embedding."""
    if site.filler is None:
        return {}
    return {"prompt": (site.rows, "rank", site.out_features), LENGTH: (site.rows, 1, 1)}


def graph(op: Op, at: Point, params: dict[str, Value]) -> Value:
    """Returns `y` with the vectors at the first places of each row, `[j < length] p_j + [j >= length] y_j`."""
    vectors, length = params.values()
    number, one = (op.constant(np.array(value, np.int64)) for value in (0, 1))
    places = op.Range(number, op.Squeeze(op.Shape(at.y, start=1, end=2)), one)
    taken = op.Less(op.Unsqueeze(op.Cast(places, to=FLOAT), op.constant(np.array([1], np.int64))), length)
    last = op.Sub(op.Shape(vectors, start=1, end=2), one)
    return op.Where(taken, op.Gather(vectors, op.Min(places, last), axis=1), at.y)


def neutral(site: Site) -> Params:
    """Returns one vector that isn't there."""
    return {"prompt": np.zeros((1, 1, site.out_features), np.float32), LENGTH: np.zeros((1, 1, 1), np.float32)}


def split(name: str) -> tuple[str, str] | None:
    """Returns the one tensor of a checkpoint, which belongs to no module."""
    return ("", name) if name == TENSOR else None


def spread(
    config: Mapping[str, Any], shared: Mapping[str, Array], model_type: str, sites: Sequence[Site]
) -> dict[str, dict[str, Array]]:
    """Returns the prompt at the embedding of the tokens, and whether token types are lost.

    Args:
        config: PEFT's `PromptTuningConfig` or `PromptEncoderConfig` as its `adapter_config.json` has it.
        shared: `prompt_embeddings`; of P-tuning it is what the encoder gave (`peft.PeftModel.
            get_prompt_embedding_to_save`).
        model_type: The base's architecture.
        sites: The base's sites.

    Raises:
        BindingError: There is no such tensor, or it has another shape.
        UnsupportedError: PEFT doesn't put prompts into this base, or not so that they can be done exactly.
    """
    homes = [site for site in sites if site.filler is not None]
    problems = []
    if model_type not in MODELS or not homes:
        problems.append(f"{model_type}: prompts are supported in {listed(MODELS)}; train a LoRA")
    if config.get("task_type") not in TASKS:
        problems.append(f"task_type = {config.get('task_type')!r}: supported are {listed(list(TASKS))}")
    if config.get("num_transformer_submodules") not in (None, 1):
        problems.append("num_transformer_submodules: encoder-decoders are not supported")
    if problems:
        raise UnsupportedError("\n".join(f"{TITLE}: {problem}" for problem in problems))
    if TENSOR not in shared:
        raise BindingError(f"{TENSOR}: missing; it holds the prompt's vectors")
    expected = (config.get("num_virtual_tokens"), homes[0].out_features)
    if shared[TENSOR].shape != expected:
        raise BindingError(
            f"{TENSOR}: got {shared[TENSOR].shape}, expected {expected}: virtual tokens, and the width of "
            f"{homes[0].name}"
        )
    found = {homes[0].name: dict(shared)}
    for site in sites:
        if f".{site.name}".endswith(f".{TOKEN_TYPES}") and site.in_features > 1 and not TASKS[config["task_type"]]:
            found[site.name] = {"untyped": np.ones((1, 1), np.float32)}
    return found


def start(
    config: Mapping[str, Any], shared: Mapping[str, Array], layers: Mapping[str, tuple[int, int]], after: After
) -> Mapping[str, Array]:
    """Returns the cache of a decoder that has seen the prompt, `(1, heads, n, head_dim)`; see `methods.Starter`.

    No token of a prompt sees one that follows it, so that what the base makes of a prompt is the same in every text.
    """
    check_causal(TITLE, config)
    if TENSOR not in shared:
        raise BindingError(f"{TENSOR}: missing; it holds the prompt's vectors")
    vectors, length = shared[TENSOR], config.get("num_virtual_tokens")
    if vectors.ndim != 2 or len(vectors) != length:
        raise BindingError(f"{TENSOR}: got {vectors.shape}, expected ({length}, width): virtual tokens and their width")
    return after(np.ascontiguousarray(vectors, np.float32))


def read(config: Mapping[str, Any], module: Module, tensors: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """Returns the params of what `spread` gave a module: a prompt that is there in whole, or no token types."""
    if "untyped" in tensors:
        return {"untyped": dict(tensors)}
    vectors = np.ascontiguousarray(tensors[TENSOR], np.float32)[None]
    return {"prompt": {"prompt": vectors, LENGTH: np.full((1, 1, 1), vectors.shape[1], np.float32)}}

"""AdapterHub's prompt tuning: trained vectors before what the embeddings give; the forms are `late_prompt` and kin.

Unlike PEFT's, its vectors come after the embeddings' norm, and the tokens keep their positions. A head that looks at
the first place looks at the prompt. Source: `adapters.methods.prompt_tuning.PromptTuning.forward`,
`adapters.utils.prefix_attention_mask`. Its room is taken from the base's positions, as PEFT takes it: tokens and prompt
together are at most as many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgeadapt.adapter import Array, Site
from edgeadapt.errors import BindingError, UnsupportedError, listed
from edgeadapt.methods import Module, late_prompt, prompt

TITLE = "a prompt"
TYPE = "prompt_tuning"
FIELDS = frozenset({
    "architecture", "combine", "init_weights_seed", "prompt_init", "prompt_init_text", "prompt_length",
    "random_uniform_scale",
})  # fmt: skip
POOL = "prompt_tunings."
TENSOR = "prompt_embedding.weight"

MODELS = ("electra",)
"""The architectures whose masks the library lengthens so that a row's answer is its own."""
SEES = "adapters 1.3.0 lets a prompt attend to the padding of its row"
UNEVEN: Mapping[str, str] = {
    "albert": SEES,
    "bert": SEES,
    "bert-generation": SEES,
    "deberta-v2": SEES,
    "distilbert": "adapters 1.3.0 adds 1 to a prompt's scores in batches with padding, and nothing in others",
    "roberta": SEES,
    "xlm-roberta": SEES,
}
"""What is wrong with prompts in an architecture. Source: the library's `prefix_attention_mask`, which lengthens masks
by what hides nothing, in the direction of the queries too."""
POSITIONS, NORM = "embeddings.position_embeddings", "embeddings.LayerNorm"


def split(name: str) -> tuple[str, str] | None:
    """Returns the tensor of a checkpoint; it belongs to no module."""
    return ("", name.removeprefix(POOL)) if name.startswith(POOL) else None


def spread(
    config: Mapping[str, Any], shared: Mapping[str, Array], model_type: str, sites: Sequence[Site]
) -> dict[str, dict[str, Array]]:
    """Returns room at the embedding of the tokens, their own positions, and the vectors at the embeddings' norm.

    Args:
        config: AdapterHub's `PromptTuningConfig` as its `adapter_config.json` has it.
        shared: `prompt_embedding.weight` `(length, width)`.
        model_type: The base's architecture.
        sites: The base's sites.

    Raises:
        BindingError: There is no such tensor, or it has another shape.
        UnsupportedError: The library doesn't put prompts into this base, or not so that they can be done exactly.
    """
    problems = []
    if model_type in UNEVEN:
        problems.append(
            f"{UNEVEN[model_type]}, so that a row's answer depends on the others; train a LoRA, or the prompt with PEFT"
        )
    elif model_type not in MODELS:
        problems.append(f"{model_type}: AdapterHub's prompts are supported in {listed(MODELS)}; train a LoRA")
    if config.get("combine", "prefix") != "prefix":
        problems.append(f"combine = {config['combine']!r}: only 'prefix' is supported; train it so")
    if problems:
        raise UnsupportedError("\n".join(f"{TITLE}: {problem}" for problem in problems))
    tokens = next((site for site in sites if site.filler is not None), None)
    positions, norm = (
        next((site for site in sites if f".{site.name}".endswith(f".{end}")), None) for end in (POSITIONS, NORM)
    )
    if tokens is None or positions is None or norm is None:
        raise UnsupportedError(f"{TITLE}: this base has no embeddings of tokens and positions with a norm of their own")
    length = int(config.get("prompt_length", 10))
    if set(shared) != {TENSOR} or shared[TENSOR].shape != (length, norm.out_features):
        got = {name: array.shape for name, array in shared.items()}
        raise BindingError(f"{TITLE}: got {got}, expected {TENSOR} of {(length, norm.out_features)}")
    return {
        tokens.name: {"prompt": np.zeros((1, 1, tokens.out_features)), prompt.LENGTH: np.full((1, 1, 1), length)},
        positions.name: {"position_shift": np.full((1, 1), -length)},
        norm.name: {"late_prompt": shared[TENSOR][None], late_prompt.LENGTH: np.full((1, 1, 1), length)},
    }


def read(config: Mapping[str, Any], module: Module, tensors: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """Returns the params of what `spread` gave a module; the form is named as the first of them."""
    return {next(iter(tensors)): {name: np.ascontiguousarray(array, np.float32) for name, array in tensors.items()}}

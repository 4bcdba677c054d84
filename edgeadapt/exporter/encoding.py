"""An encoder with its decoder: what it is traced with, and the tokens on which it is compared with PyTorch.

Both are traced as one graph of two halves (`forward.Forward`), so that every site is found, spliced and folded as in
any other base; `graph.halves` parts it where it is written to be run. The case of the parity gate is what the encoder
reads and what the decoder goes on with: ONNX Runtime runs the encoder, then the decoder's first tokens at once and the
others one by one, each adapter on its own cache, and PyTorch all at once without a cache.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache, EncoderDecoderCache

from edgeadapt.adapter import Array
from edgeadapt.bundle import CROSS, ENCODED, PAST, PRESENT
from edgeadapt.errors import UnsupportedError
from edgeadapt.exporter import decoding
from edgeadapt.exporter.base import Base
from edgeadapt.exporter.decoding import Axes
from edgeadapt.exporter.forward import MASK, READ, SEEN_MASK, tensors

FOLLOWING = 6
"""How many tokens of a case follow the decoder's first one."""
CUT = 3
"""How many of them the cache of the traced example holds."""


def is_one(base: Base) -> bool:
    """Tells whether a base is an encoder with a decoder."""
    return bool(getattr(base.model.config, "is_encoder_decoder", False))


def case(base: Base, read: Mapping[str, Array]) -> dict[str, Array]:
    """Returns what is compared: what the encoder reads, and `decoder_input_ids` `(batch, 1 + FOLLOWING)`.

    Args:
        base: The base.
        read: The encoder's inputs; where these are tokens, each row's are what the decoder of the row before goes on
            with, else tokens are drawn at random.
    """
    batch = len(next(iter(read.values())))
    if "input_ids" in read:
        rows = [np.resize(row, FOLLOWING) for row in np.roll(read["input_ids"], 1, axis=0)]
        following = np.array(rows, np.int64)
    else:
        following = np.random.default_rng(batch).integers(0, base.model.config.vocab_size, (batch, FOLLOWING))
    first = np.full((batch, 1), start(base), np.int64)
    return {**read, "decoder_input_ids": np.concatenate([first, following], axis=1)}


def start(base: Base) -> int:
    """Returns the token that the decoder begins with.

    Raises:
        UnsupportedError: The base doesn't say it.
    """
    for given in (getattr(base.model, "generation_config", None), base.model.config):
        found = getattr(given, "decoder_start_token_id", None)
        found = getattr(given, "bos_token_id", None) if found is None else found
        if isinstance(found, int):
            return found
    raise UnsupportedError(
        f"{base.source} doesn't say which token its decoder begins with.\n"
        "Set decoder_start_token_id in its generation_config.json."
    )


def positions(base: Base) -> int | None:
    """Returns how many tokens the decoder takes, or None where it knows no limit."""
    found = getattr(base.model.config, "max_target_positions", None)
    return int(found) if found else decoding.positions(base)


def example(base: Base, found: Mapping[str, Array]) -> tuple[dict[str, Array], Axes]:
    """Returns inputs of both halves, to trace the model with, and the names of their axes.

    The halves have names of their own for equal lengths (`dimensions.RENAMED`): the exporter would take a length in one
    half from an input of the other.

    Args:
        base: The base.
        found: What `case` returned.

    Raises:
        UnsupportedError: The model doesn't keep keys and values of all layers as a cache of transformers.
    """
    given = {name: array[:2] for name, array in found.items() if name in READ}
    tokens = "input_ids" in given
    axes: Axes = {
        name: ("read_batch", "read_source") if tokens else ("read_batch", *(str(length) for length in array.shape[1:]))
        for name, array in given.items()
    }
    cache = _run(base, {**given, "decoder_input_ids": found["decoder_input_ids"][:2, :CUT]}).past_key_values
    if MASK in given:
        given[SEEN_MASK], axes[SEEN_MASK] = given[MASK], ("batch", "source")
    given["decoder_input_ids"] = found["decoder_input_ids"][:2, CUT:]
    axes["decoder_input_ids"] = ("batch", "sequence")
    for prefix, part, free in (
        (PAST, cache.self_attention_cache, "past"),
        (CROSS, cache.cross_attention_cache, "source"),
    ):
        for index, layer in enumerate(part.layers):
            for role, tensor in (("key", layer.keys), ("value", layer.values)):
                _, heads, length, width = tensor.shape
                given[f"{prefix}{index}.{role}"] = tensor.numpy()
                third = free if free == "past" or tokens else str(length)
                axes[f"{prefix}{index}.{role}"] = ("batch", str(heads), third, str(width))
    return {name: np.ascontiguousarray(array) for name, array in given.items()}, axes


def outputs(axes: Axes) -> Axes:
    """Returns the names of the axes of the cache as it leaves the decoder, and of what leaves the encoder."""
    found = {
        name.replace(PAST, PRESENT): (own[0], own[1], "total", own[3])
        for name, own in axes.items()
        if name.startswith(PAST)
    }
    return found | {name.replace(CROSS, ENCODED): own for name, own in axes.items() if name.startswith(CROSS)}


def cross(base: Base, inputs: Mapping[str, Array]) -> tuple[str, ...]:
    """Returns the linear layers that give keys and values of what the encoder gives, in the order of the cache.

    They are known by what they do: they take what the encoder gave, and what they give is in the cache.

    Args:
        base: The base.
        inputs: What it is traced with; none are returned where these are no encoder-decoder's.

    Raises:
        UnsupportedError: Something else is done to these keys and values, or nothing is kept of them.
    """
    if not any(name.startswith(CROSS) for name in inputs):
        return ()
    given = {name: array for name, array in inputs.items() if name in (*READ, "decoder_input_ids")}
    calls: list[tuple[str, torch.Tensor, torch.Tensor]] = []

    def noted(name: str) -> Callable[..., None]:
        return lambda _, entered, left: calls.append((name, entered[0], left))

    linear = {name: each for name, each in base.model.named_modules() if isinstance(each, torch.nn.Linear)}
    hooks = [module.register_forward_hook(noted(name)) for name, module in linear.items()]
    try:
        seen = _run(base, given)
    finally:
        for hook in hooks:
            hook.remove()
    found: list[str] = []
    hidden = seen.encoder_last_hidden_state
    for layer in seen.past_key_values.cross_attention_cache.layers:
        for tensor in (layer.keys, layer.values):
            flat = tensor.transpose(1, 2).flatten(2)
            own = [name for name, entered, left in calls if entered is hidden and torch.equal(left, flat)]
            found.append(next((name for name in own if name not in found), ""))
    if not found or not all(found):
        raise UnsupportedError(
            f"{base.model_type} makes the keys and values of its cross-attention in another way than by one linear "
            "layer each, and edgeadapt can't compute them once for all tokens."
        )
    return tuple(found)


def _run(base: Base, given: Mapping[str, Array]) -> Any:
    """Returns what the model gives for some tokens of the decoder, a whole cache among it."""
    model: Any = base.model
    try:
        with torch.no_grad():
            found = model(
                **tensors(given),
                past_key_values=EncoderDecoderCache(DynamicCache(), DynamicCache()),
                use_cache=True,
                return_dict=True,
            )
    except Exception as error:
        raise UnsupportedError(
            f"{base.model_type} does not run with a cache of keys and values:\n  {type(error).__name__}: {error}"
        ) from error
    batch, length = given["decoder_input_ids"].shape
    layers = getattr(getattr(found.past_key_values, "self_attention_cache", None), "layers", ())
    if not layers or any(layer.keys.ndim != 4 or layer.keys.shape[::2] != (batch, length) for layer in layers):
        raise UnsupportedError(
            f"{base.model_type} keeps something else than keys and values (batch, heads, past, head_dim) of every "
            "token in its cache, and edgeadapt can't carry that."
        )
    return found

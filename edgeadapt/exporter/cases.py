"""The inputs of the parity gate: real sentences or images through the base's own preprocessing."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeadapt import tasks
from edgeadapt.adapter import Array
from edgeadapt.errors import UnsupportedError
from edgeadapt.exporter import decoding, encoding, hearing
from edgeadapt.exporter.base import Base
from edgeadapt.tasks import Task

SEED = 7
LENGTHS = (3, 5, 9, 12)
TEXT_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


@dataclass(frozen=True, slots=True)
class Case:
    """What a model is traced with, and what it is compared with PyTorch on.

    Attributes:
        inputs: Arrays by name, a row for each sample; of a decoder, tokens alone (see `decoding`).
        axes: The names of every input's axes; a fixed one is its length in digits.
        real: The rows are the task's samples, not random tokens (a base without tokenizer).
        outputs: The names of every output's axes.
        example: An array for every input, of two rows, to trace the model with.
    """

    inputs: dict[str, Array]
    axes: dict[str, tuple[str, ...]]
    real: bool
    outputs: Mapping[str, tuple[str, ...]]
    example: dict[str, Array]


def case(base: Base, preprocessor: Any | None) -> Case:
    """Returns the parity case of a base.

    Args:
        base: The base, opened for a task.
        preprocessor: Its tokenizer or image processor, or None where its folder has none: then ids are drawn at random.

    Raises:
        UnsupportedError: The model takes inputs that no task knows how to make.
    """
    task = tasks.get(base.task)
    outputs = task.OUTPUTS
    if base.model.main_input_name == "pixel_values":
        return _images(base, preprocessor)
    if hearing.is_one(base):
        return _read(base, {"input_features": hearing.features(base)}, {}, real=True)
    if task.CACHED and not encoding.is_one(base):
        inputs = decoding.case(base, _rows_of_tokens(base, preprocessor))
        example, axes = decoding.example(base, inputs)
        return Case(inputs, axes, preprocessor is not None, {**outputs, **decoding.outputs(axes)}, example)
    names = _text_inputs(base)
    axes = dict.fromkeys(names, ("batch", "sequence"))
    if preprocessor is None:
        return _read(base, _random_tokens(base, names), axes, real=False)
    limit = min(128, getattr(base.model.config, "max_position_embeddings", 0) or 128)
    encoded = preprocessor(
        *_texts(task, preprocessor), padding=True, truncation=True, max_length=limit - 2, return_tensors="np"
    )
    inputs = {
        name: encoded[name].astype(np.int64) if name in encoded else np.zeros_like(encoded["input_ids"])
        for name in names
    }
    return _read(base, inputs, axes, real=True)


def _read(base: Base, inputs: dict[str, Array], axes: dict[str, tuple[str, ...]], *, real: bool) -> Case:
    """Returns the case of a model that reads texts, and of one that goes on to write others, where the task has it."""
    task = tasks.get(base.task)
    if not task.CACHED:
        return Case(inputs, axes, real, task.OUTPUTS, _two_rows(inputs))
    inputs = encoding.case(base, inputs)
    example, axes = encoding.example(base, inputs)
    return Case(inputs, axes, real, {**task.OUTPUTS, **encoding.outputs(axes)}, example)


def _rows_of_tokens(base: Base, tokenizer: Any | None) -> Array:
    """Returns the tokens of a decoder's case, `(batch, total)`."""
    shape = len(decoding.PROMPTS), decoding.TOTAL
    if tokenizer is None:
        return np.random.default_rng(SEED).integers(0, base.model.config.vocab_size, shape)
    encoded = tokenizer([*tasks.get(base.task).SAMPLES], add_special_tokens=False)["input_ids"]
    enough = [each[: shape[1]] for each in encoded if len(each) >= shape[1]]
    return np.array([enough[row % len(enough)] for row in range(shape[0])], np.int64)


def _text_inputs(base: Base) -> list[str]:
    """Returns the inputs a text model needs: token types only where there is more than one."""
    accepted = inspect.signature(base.model.forward).parameters
    types = getattr(base.model.config, "type_vocab_size", 0) or 0
    names = [name for name in TEXT_INPUTS if name in accepted and (name != "token_type_ids" or types > 1)]
    if "input_ids" not in names:
        raise UnsupportedError(f"{base.model_type} takes no input_ids, which {base.task} gives it.")
    return names


def _texts(task: Task, tokenizer: Any) -> list[list[str]]:
    """Returns the task's samples as columns: texts, and second texts where there are pairs."""
    rows = [(sample,) if isinstance(sample, str) else tuple(sample) for sample in task.SAMPLES]
    if task.NAME == "fill-mask":
        rows = [(text.replace("[MASK]", tokenizer.mask_token),) for (text,) in rows]
    return [list(column) for column in zip(*rows, strict=True)]


def _random_tokens(base: Base, names: list[str]) -> dict[str, Array]:
    """Returns ids drawn at random, in rows of several lengths with padding on the right."""
    generator = np.random.default_rng(SEED)
    config = base.model.config
    pad = config.pad_token_id if getattr(config, "pad_token_id", None) is not None else 0
    low = min(pad + 1, config.vocab_size - 1)
    mask = (np.arange(max(LENGTHS))[None, :] < np.array(LENGTHS)[:, None]).astype(np.int64)
    ids = np.where(mask == 1, generator.integers(low, config.vocab_size, mask.shape), pad).astype(np.int64)
    arrays: Mapping[str, Array] = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    return {name: arrays[name] for name in names}


def _images(base: Base, processor: Any | None) -> Case:
    """Returns sample images as the processor prepares them, or noise of the model's size."""
    config = base.model.config
    if processor is not None:
        from PIL import Image

        images = [Image.fromarray(np.asarray(sample)) for sample in tasks.get("image-classification").SAMPLES]
        pixels = np.asarray(processor(images=images, return_tensors="np")["pixel_values"], np.float32)
    else:
        size = config.image_size
        height, width = (size, size) if isinstance(size, int) else tuple(size)
        pixels = np.random.default_rng(SEED).normal(0, 1, (4, config.num_channels, height, width)).astype(np.float32)
    axes = {"pixel_values": ("batch", *(str(length) for length in pixels.shape[1:]))}
    inputs = {"pixel_values": pixels}
    return Case(inputs, axes, processor is not None, tasks.get(base.task).OUTPUTS, _two_rows(inputs))


def _two_rows(inputs: Mapping[str, Array]) -> dict[str, Array]:
    return {name: np.ascontiguousarray(array[:2]) for name, array in inputs.items()}

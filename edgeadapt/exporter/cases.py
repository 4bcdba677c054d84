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
from edgeadapt.exporter import decoding
from edgeadapt.exporter.base import Base
from edgeadapt.tasks import Task

SEED = 7
LENGTHS = (3, 5, 9, 12)
TEXT_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


@dataclass(frozen=True, slots=True)
class Case:
    """Inputs of one run.

    Attributes:
        inputs: Arrays by input name, a row for each sample.
        axes: The names of every input's axes; a fixed one is its length in digits.
        real: The rows are the task's samples, not random tokens (a base without tokenizer).
        outputs: The names of every output's axes.
    """

    inputs: dict[str, Array]
    axes: dict[str, tuple[str, ...]]
    real: bool
    outputs: Mapping[str, tuple[str, ...]]


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
    if task.CACHED:
        inputs, axes = decoding.inputs(base, _left_padded(base, preprocessor))
        return Case(inputs, axes, preprocessor is not None, {**outputs, **decoding.outputs(axes)})
    names = _text_inputs(base)
    axes = dict.fromkeys(names, ("batch", "sequence"))
    if preprocessor is None:
        return Case(_random_tokens(base, names), axes, False, outputs)
    limit = min(128, getattr(base.model.config, "max_position_embeddings", 0) or 128)
    encoded = preprocessor(
        *_texts(task, preprocessor), padding=True, truncation=True, max_length=limit - 2, return_tensors="np"
    )
    inputs = {
        name: encoded[name].astype(np.int64) if name in encoded else np.zeros_like(encoded["input_ids"])
        for name in names
    }
    return Case(inputs, axes, True, outputs)


def _left_padded(base: Base, tokenizer: Any | None) -> dict[str, Array]:
    """Returns ids and masks of rows of the lengths that a decoder's case has, padded on the left."""
    config = base.model.config
    most = max(decoding.LENGTHS)
    if tokenizer is None:
        ids = np.random.default_rng(SEED).integers(0, config.vocab_size, (len(decoding.LENGTHS), most))
    else:
        encoded = tokenizer([*tasks.get(base.task).SAMPLES], add_special_tokens=False)["input_ids"]
        long_enough = [each[:most] for each in encoded if len(each) >= most]
        ids = np.array([long_enough[row % len(long_enough)] for row in range(len(decoding.LENGTHS))], np.int64)
    mask = (np.arange(most)[None] >= most - np.array(decoding.LENGTHS)[:, None]).astype(np.int64)
    return {"input_ids": ids.astype(np.int64) * mask, "attention_mask": mask}


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
    return Case({"pixel_values": pixels}, axes, processor is not None, tasks.get(base.task).OUTPUTS)


def example(found: Case) -> dict[str, Array]:
    """Returns two rows of a case, for the exporter to trace the model with."""
    return {name: np.ascontiguousarray(array[:2]) for name, array in found.inputs.items()}

"""Reads the prediction head that AdapterHub saves beside an adapter, as the head of transformers' own model.

AdapterHub's heads are sequences of linear layers; where transformers' model for the task is the same sequence, each
layer is a module of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeadapt.adapter import Array, ProblemType
from edgeadapt.errors import CheckpointError, UnsupportedError
from edgeadapt.exporter import tensor_files

CONFIG, WEIGHTS, PICKLE = "head_config.json", "model_head.safetensors", "pytorch_model_head.bin"

PLAIN = {"tagging": ("classifier",), "question_answering": ("qa_outputs",)}
ROBERTA = {
    **PLAIN,
    "classification": ("classifier.dense", "tanh", "classifier.out_proj"),
    "multiple_choice, pooled": ("classifier",),
    "multiple_choice": ("roberta.pooler.dense", "tanh", "classifier"),
}
DEBERTA = {**PLAIN, "classification": ("pooler.dense", "gelu", "classifier")}
LLAMA = {"tagging": ("score",), "question_answering": ("qa_outputs",), "classification": ("score",)}

HEADS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "albert": {
        **PLAIN,
        "classification, pooled": ("classifier",),
        "classification": ("albert.pooler", "tanh", "classifier"),
        "multiple_choice, pooled": ("classifier",),
        "multiple_choice": ("albert.pooler", "tanh", "classifier"),
    },
    "bert": {
        **PLAIN,
        "classification, pooled": ("classifier",),
        "classification": ("bert.pooler.dense", "tanh", "classifier"),
        "multiple_choice, pooled": ("classifier",),
        "multiple_choice": ("bert.pooler.dense", "tanh", "classifier"),
    },
    "deberta": DEBERTA,
    "deberta-v2": {**DEBERTA, "multiple_choice": ("pooler.dense", "gelu", "classifier")},
    "distilbert": {
        **PLAIN,
        "classification": ("pre_classifier", "relu", "classifier"),
        "multiple_choice": ("pre_classifier", "relu", "classifier"),
    },
    "electra": {
        **PLAIN,
        "classification": ("classifier.dense", "gelu", "classifier.out_proj"),
        "multiple_choice": ("sequence_summary.summary", "gelu", "classifier"),
    },
    "gpt2": {**PLAIN, "classification": ("score",)},
    "llama": LLAMA,
    "mistral": LLAMA,
    "roberta": ROBERTA,
    "vit": {"image_classification": ("classifier",)},
    "xlm-roberta": ROBERTA,
}
"""For each architecture and kind of head the modules, and the activations between them, of transformers' own model.
Source: `adapters.head_utils.STATIC_TO_FLEX_HEAD_MAP`."""


@dataclass(frozen=True, slots=True)
class Head:
    """A prediction head.

    Attributes:
        tensors: Its tensors, by the names that transformers' model has for them.
        labels: Its labels in order, or None.
        problem_type: What it was trained to answer, or None where it doesn't say.
        record: Its `head_config.json`, or None where there is no head.
    """

    tensors: Mapping[str, Array]
    labels: tuple[str, ...] | None
    problem_type: ProblemType | None
    record: Mapping[str, Any] | None


NONE = Head({}, None, None, None)


def read(folder: Path, model_type: str, *, allow_pickle: bool = False) -> Head:
    """Reads the head in an AdapterHub folder; a folder without one gives an empty one.

    Raises:
        CheckpointError: A file is missing or damaged.
        PickleError: The weights are a pickle and `allow_pickle` is not given.
        UnsupportedError: transformers' own model for the task has no such head.
    """
    if not (folder / CONFIG).is_file():
        return NONE
    saved = tensor_files.read_json(folder / CONFIG)
    stored = tensor_files.read(folder, WEIGHTS, PICKLE, allow_pickle=allow_pickle)
    config = saved.get("config")
    if not isinstance(config, dict):  # the head of transformers' own model, under its own names
        return Head(stored, _labels(folder, saved), None, saved)
    modules = _modules(folder, model_type, config)
    tensors: dict[str, Array] = {}
    problems = []
    for name, tensor in stored.items():
        match = re.fullmatch(rf"heads\.{re.escape(str(saved.get('name')))}\.(\d+)\.(weight|bias)", name)
        if match and int(match.group(1)) in modules:
            tensors[f"{modules[int(match.group(1))]}.{match.group(2)}"] = tensor
        else:
            problems.append(name)
    if problems:
        raise CheckpointError.collect(f"{folder} has a head with tensors that edgeadapt doesn't know:", problems)
    return Head(tensors, _labels(folder, config), _problem_type(config), saved)


def _modules(folder: Path, model_type: str, config: Mapping[str, Any]) -> dict[int, str]:
    """Returns the modules of transformers' model by their number in the head (`PredictionHead.build`)."""
    kind, count, between = str(config.get("head_type")), config.get("layers"), config.get("activation_function")
    known = HEADS.get(model_type, {})
    wanted = {"multilabel_classification": "classification"}.get(kind, kind)
    sequence = known.get(f"{wanted}, pooled" if config.get("use_pooler") else wanted, ())
    linear, activations = sequence[::2], sequence[1::2]
    if len(linear) != count or any(str(between) != activation for activation in activations):
        own = "; ".join(f"{name}: {', '.join(each)}" for name, each in known.items())
        raise UnsupportedError(
            f"{folder} has a head that transformers' own {model_type} model lacks:\n"
            f"  {kind} of {count} layers, activation {between}, use_pooler {json.dumps(config.get('use_pooler'))}\n"
            f"Known for {model_type}: {own or 'none'}.\n"
            f"Train one of these, or export a copy of the folder without {CONFIG}."
        )
    step = 3 if between else 2  # dropout, linear layer, activation
    return {1 + step * number: module for number, module in enumerate(linear)}


def _labels(folder: Path, config: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Returns the labels of `label2id` in order, or None where it isn't there, or names the choices of a question."""
    found = config.get("label2id")
    if config.get("head_type") == "multiple_choice":
        return None
    if not isinstance(found, dict) or not found:
        return None
    by_id = {int(number): str(label) for label, number in found.items()}
    if sorted(by_id) != list(range(len(found))):
        raise CheckpointError(f"{folder / CONFIG} doesn't name labels 0 to n-1: {found}")
    return tuple(by_id[number] for number in range(len(by_id)))


def _problem_type(config: Mapping[str, Any]) -> ProblemType | None:
    """Returns what a head was trained to answer (the losses of `adapters.heads`)."""
    if config.get("head_type") == "multilabel_classification":
        return "multi_label_classification"
    if config.get("head_type") in ("classification", "image_classification"):
        return "regression" if config.get("num_labels") == 1 else "single_label_classification"
    return None

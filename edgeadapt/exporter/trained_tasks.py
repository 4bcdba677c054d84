"""The task that an adapter's head was trained for, as far as what its library saves tells it.

Modules of one name and shape are other things in models of other tasks: a `classifier` scores a whole text, each of its
tokens, or one choice of several.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeadapt.adapter import Adapter
from edgeadapt.errors import BindingError, UnsupportedError
from edgeadapt.exporter.checkpoint import Checkpoint
from edgeadapt.graph.sites import Wirings
from edgeadapt.graph.switch import HEAD

TASK_TYPES: Mapping[str, str] = {
    "SEQ_CLS": "text-classification",
    "TOKEN_CLS": "token-classification",
    "QUESTION_ANS": "question-answering",
    "FEATURE_EXTRACTION": "feature-extraction",
    "CAUSAL_LM": "text-generation",
    "SEQ_2_SEQ_LM": "text2text-generation",
}
"""PEFT's task types. It has none for other tasks, and saves the model's class in their place (`auto_mapping`)."""

READING = ("text2text-generation", "automatic-speech-recognition")
"""The tasks of encoders with their decoders."""

CLASSES: Mapping[str, str] = {
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
    "ForMultipleChoice": "multiple-choice",
    "ForImageClassification": "image-classification",
    "ForCausalLM": "text-generation",
    "WhisperForConditionalGeneration": "automatic-speech-recognition",
    "ForConditionalGeneration": "text2text-generation",
}
"""How the names of transformers' classes of a task end."""

HEAD_TYPES: Mapping[str, str] = {
    "classification": "text-classification",
    "multilabel_classification": "text-classification",
    "tagging": "token-classification",
    "question_answering": "question-answering",
    "multiple_choice": "multiple-choice",
    "image_classification": "image-classification",
}
"""AdapterHub's types of heads."""


def task_of(checkpoint: Checkpoint) -> str | None:
    """Returns the task that an adapter was trained for, or None where nothing tells."""
    if checkpoint.kind == "peft":
        known = TASK_TYPES.get(str(checkpoint.config.get("task_type")))
        return known or _of_class(_mapped(checkpoint.config))
    return _of_head(checkpoint.head or {})


def check_method(checkpoint: Checkpoint, task: str) -> None:
    """Refuses prompts and prefixes for an encoder with its decoder: which of both takes them is PEFT's own affair.

    Raises:
        UnsupportedError: The adapter is one.
    """
    kind = str(checkpoint.config.get("peft_type", ""))
    if task in READING and ("num_virtual_tokens" in checkpoint.config or kind == "ADAPTION_PROMPT"):
        raise UnsupportedError(
            f"{checkpoint.folder}: {kind} puts tokens or keys before those of a text, which edgeadapt does not do for "
            f"{task}.\nTrain an adapter of the model's layers, such as LoRA."
        )


def check(checkpoint: Checkpoint, adapter: Adapter, wirings: Wirings, task: str) -> None:
    """Refuses a head in a model of another task, by what the head itself says.

    PEFT's task types don't count: they are often left as they are where the model is another.

    Raises:
        BindingError: It was trained for another task.
    """
    said = _of_class(_mapped(checkpoint.config)) if checkpoint.kind == "peft" else _of_head(checkpoint.head or {})
    body = f"{wirings.prefix}."
    heads = [each.site for each in adapter.attachments if each.method == HEAD and not each.site.startswith(body)]
    if said is not None and said != task and heads:
        raise BindingError(
            f"{checkpoint.folder} has a head for {said}, and this is {task}: {', '.join(heads)} would be misread.\n"
            f"Export it for {said}, or export a copy without its head."
        )


def _mapped(config: Mapping[str, Any]) -> str:
    mapping = config.get("auto_mapping")
    return str(mapping.get("base_model_class")) if isinstance(mapping, dict) else ""


def _of_head(record: Mapping[str, Any]) -> str | None:
    """Returns the task of a head that AdapterHub saved: one of its own types, or of a class of transformers'."""
    config = record.get("config")
    if isinstance(config, dict):
        return HEAD_TYPES.get(str(config.get("head_type")))
    return _of_class(str(record.get("model_class")))


def _of_class(name: str) -> str | None:
    """Returns the task of a class of transformers'.

    Example:
        >>> _of_class("BertForMultipleChoice"), _of_class("BertModel")
        ('multiple-choice', None)
    """
    return next((task for ending, task in CLASSES.items() if name.endswith(ending)), None)

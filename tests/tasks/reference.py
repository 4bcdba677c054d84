"""A session that runs PyTorch instead of ONNX Runtime, so that pipelines can be compared with transformers' own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as _transformers

from edgeadapt import tasks
from edgeadapt.bundle import Manifest, ModelRecord, ProblemType, TensorRecord
from edgeadapt.exporter import preprocess
from edgeadapt.tasks import Array, Choice
from tests import tiny

transformers: Any = _transformers
"""Without types: those of its pipelines and processors differ between 4 and 5."""

TEXTS = [
    "Hello, our phone is late!",
    "never",
    "The film was rather long, and they changed the price of the tomorrow-trains twice: 3.50 it's zebra weather...",
    "Where are you? I am in New York City with runners running",
]
"""Texts of several lengths with words inside and outside of the vocabulary, and punctuation."""


HEADS = [
    *((count, kind) for count in (1, 3) for kind in (None, "regression", "multi_label_classification")),
    (3, "single_label_classification"),
]
"""Label counts with every problem type that transformers allows for them."""


class TorchSession:
    """What a pipeline sees of a `Session`, with a PyTorch model for the base and for every adapter.

    Args:
        path: Where the tokenizer is written.
        task: The task.
        preprocessor: A transformers tokenizer or image processor.
        models: The model of every adapter; that of None is the base.
        inputs: The names of the model's inputs.
    """

    def __init__(
        self, path: Path, task: str, preprocessor: Any, models: Mapping[Any, Any], inputs: Sequence[str] | None = None
    ) -> None:
        config = next(iter(models.values())).config
        tokenizer, image = preprocess.records(preprocessor, config, path)
        if inputs is None:
            inputs = ["pixel_values"] if image else ["input_ids", "attention_mask"]
            if tokenizer and getattr(config, "type_vocab_size", 0) > 1:
                inputs = [*inputs, "token_type_ids"]
        self.path = path
        self.models = models
        self.batches: list[int] = []
        self.manifest = Manifest(
            format="1.0",
            producer="test",
            task=task,
            model_type=config.model_type,
            fingerprint="sha256:" + "0" * 64,
            model=ModelRecord("model.onnx", None, "fp32", 23, ">=1.23"),
            inputs=tuple(TensorRecord(name, "int64", ("batch", "sequence")) for name in inputs),
            outputs=tuple(TensorRecord(name, "float32", axes) for name, axes in tasks.get(task).OUTPUTS.items()),
            slots=(),
            labels=None,
            problem_type=None,
            tokenizer=tokenizer,
            image=image,
            generation=None,
            files={},
        )

    def labels(self, adapter: Choice = None) -> tuple[str, ...]:
        labels = self.models[adapter].config.id2label
        return tuple(labels[index] for index in range(len(labels)))

    def problem_type(self, adapter: Choice = None) -> ProblemType | None:
        problem_type: ProblemType | None = self.models[adapter].config.problem_type
        return problem_type

    def run(self, inputs: Mapping[str, Array], adapter: Choice | Sequence[Choice] = None) -> dict[str, Any]:
        assert list(inputs) == [record.name for record in self.manifest.inputs]
        rows = len(next(iter(inputs.values())))
        assert isinstance(adapter, list) and len(adapter) == rows
        self.batches.append(rows)
        results = {choice: self._outputs(choice, inputs) for choice in dict.fromkeys(adapter)}
        names = [record.name for record in self.manifest.outputs]
        return {name: [results[choice][name][row] for row, choice in enumerate(adapter)] for name in names}

    def _outputs(self, choice: Any, inputs: Mapping[str, Array]) -> dict[str, Array]:
        with torch.no_grad():
            outputs = self.models[choice](**{name: torch.from_numpy(array) for name, array in inputs.items()})
        return {record.name: outputs[record.name].numpy() for record in self.manifest.outputs}


def model(task: str, model_type: str = "bert", seed: int = 0, **config: Any) -> Any:
    """Returns a tiny random model whose outputs are far from uniform."""
    vision = "image_size" in tiny.FAMILIES[model_type]
    text = {} if vision else {"vocab_size": len(tiny.vocabulary())}
    settings = transformers.AutoConfig.for_model(
        model_type, **{"initializer_range": 0.4, **text, **tiny.FAMILIES[model_type], **config}
    )
    torch.manual_seed(seed)
    return getattr(transformers, tiny.AUTO[task]).from_config(settings).eval()


def word_pieces(folder: Path) -> Any:
    """Returns a tokenizer whose tokens mark where words go on (`##`)."""
    return transformers.AutoTokenizer.from_pretrained(tiny.tokenizer(folder))


def byte_level(folder: Path, **options: Any) -> Any:
    """Returns a tokenizer of RoBERTa's kind, whose tokens mark spaces and not words."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    plain = Tokenizer(models.BPE())
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    special = ["<pad>", "<unk>", "<s>", "</s>", "<mask>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=len(tiny.vocabulary()) + 200, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    plain.train_from_iterator(TEXTS, trainer)
    plain.post_processor = processors.RobertaProcessing(("</s>", 3), ("<s>", 2), add_prefix_space=False)
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=plain,
        model_max_length=tiny.POSITIONS,
        **dict(zip(names, special, strict=True)),
        **options,
    )
    tokenizer.save_pretrained(folder)
    return transformers.AutoTokenizer.from_pretrained(folder)


def pipeline(task: str, live: Any, preprocessor: Any) -> Any:
    """Returns `transformers.pipeline` for the same model and tokenizer or image processor."""
    with tiny.quiet():
        if isinstance(preprocessor, transformers.PreTrainedTokenizerBase):
            return transformers.pipeline(task, model=live, tokenizer=preprocessor, device="cpu")
        return transformers.pipeline(task, model=live, image_processor=preprocessor, device="cpu")


def assert_same(got: Any, expected: Any) -> None:
    """Asserts that two results have the same nesting, keys in the same order, and equal values, floats within 2e-5."""
    if isinstance(expected, dict):
        assert isinstance(got, dict) and list(got) == list(expected), (got, expected)
        for key in expected:
            assert_same(got[key], expected[key])
    elif isinstance(expected, list):
        assert isinstance(got, list) and len(got) == len(expected), (got, expected)
        if expected and isinstance(expected[0], float):
            np.testing.assert_allclose(got, expected, rtol=2e-4, atol=2e-5)
            return
        for one, other in zip(got, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, (float, np.floating)):
        assert got == pytest.approx(float(expected), rel=2e-4, abs=2e-5), (got, expected)
        assert type(got) is float
    else:
        assert got == expected and type(got) is type(expected), (got, expected)

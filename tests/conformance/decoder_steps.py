"""What is asked of a decoder: a prompt with an empty cache, then a token with the cache that the prompt left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from edgeadapt import bundle as bundles
from edgeadapt.bundle import KEPT, PAST, PRESENT, TensorRecord
from tests.conformance.cases import Answer, Array, Case, Choices, Question, Refusal
from tests.conformance.python_loader import PythonLoader

PROMPT, ROWS = 6, 3
CHOICES: Mapping[str, Choices] = {
    "the base": None,
    "tales": "tales",
    "news": "news",
    "mixed": ["news", None, "tales"],
}
BEGUN: Mapping[str, Choices] = {"alone": "begun", "among others": ["tales", "begun", None]}
"""What a text begins with, of which a run that is given its cache can't know."""


def cases(root: Path, bundle: str, loader: PythonLoader) -> Iterator[Case]:
    """Yields the cases of a decoder; what a step takes of the one before, the loader gives.

    Raises:
        AssertionError: The cache is not of the kind that grows, or a run is refused.
    """
    folder = root / "bundles" / bundle
    manifest = bundles.read_manifest(folder)
    cache = {tensor.name: tensor for tensor in manifest.inputs if tensor.name.startswith(PAST)}
    assert cache and all(tensor.shape[2] == "past" for tensor in cache.values())
    with np.load(folder / "adapters" / "none" / "parity.npz", allow_pickle=False) as stored:
        case = {name.removeprefix("input/"): stored[name] for name in stored.files if name.startswith("input/")}
    names = [tensor.name for tensor in manifest.inputs]
    for what, choice in CHOICES.items():
        count = 1 if choice == "news" else ROWS
        empty = {name: _empty(tensor, count) for name, tensor in cache.items()}
        # The rows are padded on the left, so a prompt has several lengths.
        prompt = {**_tokens(case, count, 2, 2 + PROMPT), **empty}
        question = Question(f"{bundle}: a prompt, {what}", f"bundles/{bundle}", _only(prompt, names), choice)
        answer = loader.outcome(question)
        assert isinstance(answer, Answer), answer
        yield Case(question, answer)
        left = {name: answer.outputs[name.replace(PAST, PRESENT)] for name in cache}
        step = {**_tokens(case, count, 2 + PROMPT, 3 + PROMPT), **{name: np.asarray(left[name]) for name in left}}
        question = Question(f"{bundle}: a step, {what}", f"bundles/{bundle}", _only(step, names), choice)
        answer = loader.outcome(question)
        assert isinstance(answer, Answer), answer
        yield Case(question, answer)
    empty = {name: _empty(tensor, ROWS) for name, tensor in cache.items()}
    prompt = {**_tokens(case, ROWS, 2, 2 + PROMPT), **empty}
    for what, choice in BEGUN.items():
        name = f"{bundle}: what a text begins with, {what}"
        question = Question(name, f"bundles/{bundle}", _only(prompt, names), choice)
        refusal = loader.outcome(question)
        assert refusal == Refusal("run", "UnsupportedError"), refusal
        yield Case(question, refusal)


def _tokens(case: Mapping[str, Array], count: int, start: int, end: int) -> dict[str, Array]:
    """Returns what a run of tokens from `start` to `end` takes, beside the cache, and the logits of the last one."""
    mask = case["attention_mask"][:count, 2:end]
    own = {name: case[name][:count, start:end] for name in ("input_ids", "position_ids") if name in case}
    kept = np.full((count, 1), end - start - 1, np.int64)
    return {name: np.ascontiguousarray(array) for name, array in {**own, "attention_mask": mask, KEPT: kept}.items()}


def _empty(tensor: TensorRecord, count: int) -> Array:
    heads, width = tensor.shape[1], tensor.shape[3]
    assert isinstance(heads, int) and isinstance(width, int)
    return np.zeros((count, heads, 0, width), tensor.dtype)


def _only(inputs: Mapping[str, Array], names: list[str]) -> dict[str, Array]:
    return {name: inputs[name] for name in names}

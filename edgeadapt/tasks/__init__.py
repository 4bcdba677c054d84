"""The tasks, one file each, named as transformers names its pipelines: `ls` of this folder is the support table.

A task is a module; nothing outside its file knows what its inputs mean or what its outputs become. The file of
`text-classification` is `text_classification.py`. Files that start with an underscore are shared by tasks and
are none themselves. numpy and the standard library only.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

from edgeadapt.errors import UnsupportedError, listed, nearest
from edgeadapt.tasks._runner import Array, Choice, Row, Runner, Text, Tokens, Vocabulary, Writing

__all__ = ["Array", "Choice", "Row", "Runner", "Task", "Text", "Tokens", "Vocabulary", "Writing", "get", "names"]


class Task(Protocol):
    """What a module of this folder offers."""

    @property
    def NAME(self) -> str:  # noqa: N802  # a module's constant
        """The task's name in transformers and optimum, `text-classification`."""
        ...

    @property
    def OUTPUTS(self) -> Mapping[str, tuple[str, ...]]:  # noqa: N802
        """The model outputs the task needs, each with its axes: `{"logits": ("batch", "labels")}`."""
        ...

    @property
    def LABELS(self) -> bool:  # noqa: N802
        """Whether the model ends in a head with an axis of labels, which an adapter may bring along."""
        ...

    @property
    def CACHED(self) -> bool:  # noqa: N802
        """Whether the model is a decoder that goes on from what a cache keeps of the tokens before."""
        ...

    @property
    def INPUT(self) -> Literal["text", "text_pair", "choices", "image", "audio"]:  # noqa: N802
        """What one input is: a text, a pair of texts, a question with choices (pairs of texts), an image, a sound."""
        ...

    @property
    def SAMPLES(self) -> tuple[Any, ...]:  # noqa: N802
        """Real inputs of several lengths or sizes for the parity gate.

        A row is a str, a (str, str), or a uint8 array `(height, width, 3)`, or a float32
        array `(samples,)`, as `INPUT` says.
        """
        ...

    @property
    def postprocess(self) -> Callable[..., Any]:
        """Turns the outputs of one row into what `transformers.pipeline` returns for it; numpy only."""
        ...

    @property
    def Pipeline(self) -> Callable[[Runner], Callable[..., Any]]:  # noqa: N802  # a module's class
        """Makes the callable that `edgeadapt.pipeline` returns; its keyword arguments are the task's options."""
        ...


def names() -> list[str]:
    """Returns the names of the tasks that exist, sorted.

    Example:
        >>> "fill-mask" in names()
        True
    """
    modules = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name.replace("_", "-") for name in modules if not name.startswith("_"))


def get(name: str) -> Task:
    """Returns the task of this name.

    Raises:
        UnsupportedError: There is no such task; the message lists those there are.

    Example:
        >>> get("question-answering").INPUT
        'text_pair'
    """
    if name not in names():
        raise UnsupportedError(f"There is no task {name!r}{nearest(name, names())}.\nThere are: {listed(names())}.")
    module: Any = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    task: Task = module
    return task

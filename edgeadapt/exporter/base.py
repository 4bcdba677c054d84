"""The base: a pretrained model, what its checkpoint really holds, and the modules adapters may attach to."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from optimum.exporters.tasks import TasksManager
from torch import nn
from transformers import AutoConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D
from transformers.utils import logging as transformers_log

from edgeadapt.adapter import Site
from edgeadapt.errors import CheckpointError, ConfigError
from edgeadapt.graph.sites import Layout

SPEECH = "automatic-speech-recognition"


@dataclass(frozen=True, slots=True)
class Base:
    """A base model in evaluation mode, fp32, and where it came from.

    Attributes:
        source: Folder or hub id.
        task: Task it was opened for.
        model: The PyTorch model.
        invented: Full names of parameters that its checkpoint lacks, which `from_pretrained` made up.
    """

    source: str
    task: str
    model: PreTrainedModel
    invented: frozenset[str]

    @property
    def model_type(self) -> str:
        """The architecture, as transformers names it."""
        return str(self.model.config.model_type)

    @property
    def prefix(self) -> str:
        """The name under which a model with a head holds its headless one."""
        return str(getattr(self.model, "base_model_prefix", "") or "")

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the model's configuration, in order."""
        names: dict[Any, str] = dict(self.model.config.id2label or {})
        return tuple(str(names[index]) for index in sorted(names))


def load(source: str, task: str, num_labels: int | None = None) -> Base:
    """Opens a base for a task, fp32 and in evaluation mode.

    Args:
        source: Folder or hub id.
        task: An optimum task name.
        num_labels: Label count for a head other than the checkpoint's own; such a head is invented.

    Raises:
        CheckpointError: The folder or model can't be read.
        ConfigError: transformers doesn't know the model type, or has no such task for it.
    """
    options: dict[str, Any] = {"num_labels": num_labels} if num_labels is not None else {}
    try:
        config = AutoConfig.from_pretrained(source, **options)
        loader = TasksManager.get_model_class_for_task(task, model_type=config.model_type, library="transformers")
    except KeyError as error:
        raise ConfigError(f"Task {task!r} is not one that optimum knows: {error}") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{source} is not a model that transformers can open:\n  {_first_line(error)}") from error
    try:
        model, info = loader.from_pretrained(
            source, config=config, dtype=torch.float32, output_loading_info=True, ignore_mismatched_sizes=True
        )
    except ValueError as error:
        raise ConfigError(f"{config.model_type} has no model for {task}:\n  {_first_line(error)}") from error
    except OSError as error:
        raise CheckpointError(f"{source} has no weights that can be read:\n  {_first_line(error)}") from error
    mismatched = {str(entry[0]) for entry in info["mismatched_keys"]}
    tied = _tied_names(model)
    invented = {name for key in {*info["missing_keys"], *mismatched} for name in tied.get(key, (key,))}
    return Base(
        source,
        task,
        model.eval().requires_grad_(False),
        frozenset(invented & dict(model.named_parameters(remove_duplicate=False)).keys()),
    )


def infer_task(source: str) -> str:
    """Returns the task of the head that a base was trained with.

    Raises:
        ConfigError: Its configuration doesn't tell.
    """
    try:
        config = AutoConfig.from_pretrained(source)
        # By the class: optimum takes a name for that of a repository on the hub.
        found: str = TasksManager.infer_task_from_model(getattr(transformers, (config.architectures or [""])[0]))
        return found
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise ConfigError(
            f"Neither the adapters nor {source} tell the task: {_first_line(error)}\nGive it with --task."
        ) from error


def spoken(source: str, task: str) -> str:
    """Returns a task, or that of speech where a base reads sounds and the task has it write texts."""
    try:
        return SPEECH if AutoConfig.from_pretrained(source).model_type == "whisper" else task
    except (OSError, ValueError, KeyError):
        return task


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps transformers' load reports and progress bars off the terminal; what they tell is checked here."""
    verbosity, bars = transformers_log.get_verbosity(), transformers_log.is_progress_bar_enabled()
    transformers_log.set_verbosity_error()
    transformers_log.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers_log.set_verbosity(verbosity)
        if bars:
            transformers_log.enable_progress_bar()


def _tied_names(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """Returns for every parameter's name all the names that the same tensor has."""
    groups: dict[int, list[str]] = {}
    for name, tensor in model.named_parameters(remove_duplicate=False):
        groups.setdefault(id(tensor), []).append(name)
    return {name: tuple(names) for names in groups.values() for name in names}


def fingerprint(base: Base) -> str:
    """Returns the sha256 over names, dtypes, shapes and bytes of the weights that the checkpoint holds.

    The architecture's prefix is taken off the names, so that a model opened with and without a head compares.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(base.model.named_parameters(remove_duplicate=False)):
        if name not in base.invented:
            array = tensor.detach().contiguous().numpy()
            head = f"{name.removeprefix(base.prefix + '.')} {array.dtype} {list(array.shape)}\n"
            digest.update(head.encode())
            digest.update(array.tobytes())
    return f"sha256:{digest.hexdigest()}"


def modules(base: Base) -> Iterator[tuple[Site, Layout]]:
    """Yields the modules that adapters may attach to, as sites not yet found in a graph."""
    for name, module in base.model.named_modules():
        if isinstance(module, nn.Linear):
            yield Site(name, "linear", module.in_features, module.out_features), "out_in"
        elif isinstance(module, Conv1D):
            yield Site(name, "linear", module.weight.shape[0], module.weight.shape[1]), "in_out"
        elif isinstance(module, nn.Embedding):
            yield Site(name, "embedding", module.num_embeddings, module.embedding_dim), "in_out"
        elif isinstance(module, nn.LayerNorm) and module.elementwise_affine and len(module.normalized_shape) == 1:
            width = module.normalized_shape[0]
            yield Site(name, "layer_norm", width, width, epsilon=module.eps), "in_out"
        elif (epsilon := _rms_epsilon(module)) is not None:
            width = dict(module.named_parameters())["weight"].shape[0]
            yield Site(name, "rms_norm", width, width, epsilon=epsilon), "in_out"


def _rms_epsilon(module: nn.Module) -> float | None:
    """Returns the epsilon of a module that computes `x / sqrt(mean(x^2) + epsilon) * weight`, or None where it doesn't.

    Every architecture of transformers has a class of its own for it, and some that look the same multiply by
    `1 + weight`: what the module gives tells.
    """
    weights = dict(module.named_parameters())
    epsilon = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    if set(weights) != {"weight"} or weights["weight"].ndim != 1 or not isinstance(epsilon, float):
        return None
    x = torch.linspace(-1, 2, len(weights["weight"]))[None, None]
    expected = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + epsilon) * weights["weight"]
    try:
        with torch.no_grad():
            given = module(x)
    except (TypeError, RuntimeError):  # it takes more than x, or another shape
        return None
    same = isinstance(given, torch.Tensor) and given.shape == x.shape and torch.allclose(given, expected, atol=1e-5)
    return epsilon if same else None


def parameters(base: Base, sites: Mapping[str, Site]) -> dict[str, tuple[str, str] | None]:
    """Returns every parameter's full name with the site and role it has; a tied one has its twin's."""
    own: dict[str, tuple[str, str] | None] = {}
    roles: dict[int, tuple[str, str]] = {}
    tensors = dict(base.model.named_parameters(remove_duplicate=False))
    for name, tensor in tensors.items():
        site, _, role = name.rpartition(".")
        if site in sites and role in ("weight", "bias"):
            own[name] = roles[id(tensor)] = (site, role)
    return {name: own.get(name, roles.get(id(tensor))) for name, tensor in tensors.items()}


def idle(base: Base, outputs: tuple[torch.Tensor, ...]) -> frozenset[str]:
    """Returns the names of parameters on which `outputs` don't depend (a pooler whose output isn't exported)."""
    named = dict(base.model.named_parameters(remove_duplicate=False))
    gradients = torch.autograd.grad([each.sum() for each in outputs], list(named.values()), allow_unused=True)
    return frozenset(name for name, gradient in zip(named, gradients, strict=True) if gradient is None)


def renames(base: Base) -> tuple[tuple[str, str], ...]:
    """Returns how transformers renames the weights of older checkpoints of this architecture, in order.

    Adapters trained before a renaming find their sites by it (transformers 5 renamed the attention of ViT and its kin).
    Source: `transformers.conversion_mapping.get_model_conversion_mapping`; transformers 4 has no such table.
    """
    try:
        from transformers.conversion_mapping import get_model_conversion_mapping
        from transformers.core_model_loading import WeightRenaming
    except ImportError:
        return ()
    return tuple(
        (pattern, rename.target_patterns[0])
        for rename in get_model_conversion_mapping(base.model, add_legacy=False)
        if isinstance(rename, WeightRenaming) and len(rename.target_patterns) == 1
        for pattern in rename.source_patterns
    )


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0]

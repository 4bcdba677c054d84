"""Reads a PEFT adapter's folder as it lies on disk: configuration and tensors. No torch is needed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from edgeadapt import methods
from edgeadapt.adapter import Array, ProblemType
from edgeadapt.errors import CheckpointError, UnsupportedError, listed
from edgeadapt.exporter import tensor_files
from edgeadapt.methods import Reader

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PICKLE = "adapter_model.bin"


@dataclass(frozen=True, slots=True)
class Part:
    """One method of a checkpoint.

    Attributes:
        type: The type its reader goes by: PEFT's own, or `methods`' for AdapterHub's.
        config: Its options.
        modules: The modules that are its own, where another part has the same type, or None.
    """

    type: str
    config: Mapping[str, Any]
    modules: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An adapter's folder.

    Attributes:
        folder: Where it lies.
        config: Its `adapter_config.json`.
        tensors: Its tensors in fp32, by the names they were saved under.
        labels: The labels its `config.json` names, or None.
        problem_type: What its `config.json` says the head was trained to answer, or None.
        kind: Which library saved it.
        parts: Its methods; only AdapterHub's unions have more than one.
        head: The `head_config.json` of AdapterHub's head, or None.
        halved: The tensors were rounded to fp16 since they were read.
    """

    folder: Path
    config: Mapping[str, Any]
    tensors: Mapping[str, Array]
    labels: tuple[str, ...] | None
    problem_type: ProblemType | None
    kind: Literal["peft", "adapterhub"]
    parts: tuple[Part, ...]
    head: Mapping[str, Any] | None = None
    halved: bool = False


def read(folder: Path, *, allow_pickle: bool = False) -> Checkpoint:
    """Reads a PEFT adapter's folder.

    Args:
        folder: Holds `adapter_config.json` and `adapter_model.safetensors` (or `.bin`).
        allow_pickle: Permits a `.bin` file, which can run code, to be loaded in a process of its own.

    Raises:
        CheckpointError: A file is missing, is a git-lfs pointer, is damaged, or holds NaN or Inf; or `config.json`
            names labels or a problem type that there can't be.
        PickleError: The weights are a pickle and `allow_pickle` is not given.
    """
    config = _config(folder)
    tensors = tensor_files.read(folder, WEIGHTS, PICKLE, allow_pickle=allow_pickle)
    tensor_files.refuse_infinite(folder, tensors)
    return Checkpoint(folder, config, tensors, *_head(folder), "peft", (Part(str(config.get("peft_type")), config),))


def _config(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is not a folder.\nGive the folder of a PEFT adapter, with {CONFIG} in it.")
    path = folder / CONFIG
    if not path.is_file():
        inner = sorted(each.parent.name for each in folder.glob(f"*/{CONFIG}"))
        hint = f"\nThere are adapters in {listed(inner)} below it: give one of these folders." if inner else ""
        raise CheckpointError(f"{folder} is not a PEFT adapter: it has no {CONFIG}.{hint}")
    return tensor_files.read_json(path)


def _head(folder: Path) -> tuple[tuple[str, ...] | None, ProblemType | None]:
    """Returns the labels and the problem type in `config.json`, which trainers save beside an adapter."""
    path = folder / "config.json"
    if not path.is_file():
        return None, None
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        labels = _labels(config.get("id2label"))
    except (ValueError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{path} doesn't name labels 0 to n-1: {error}") from error
    problem_type = config.get("problem_type")
    if problem_type is not None and problem_type not in get_args(ProblemType):
        raise CheckpointError(
            f"{path}: problem_type: got {problem_type!r}, expected null or one of {', '.join(get_args(ProblemType))}.\n"
            "Put the one there that the head was trained with."
        )
    return labels, problem_type


def _labels(names: Mapping[str, Any] | None) -> tuple[str, ...] | None:
    """Returns the labels of `id2label`, in order."""
    if not names:
        return None
    if sorted(map(int, names)) != list(range(len(names))):
        raise ValueError(f"id2label has the numbers {', '.join(names)}")
    return tuple(str(names[key]) for key in sorted(names, key=int))


def stage(checkpoint: Checkpoint, folder: Path, tensors: Mapping[str, Array], config: Mapping[str, Any]) -> None:
    """Writes an adapter's folder with these tensors and configuration, for PEFT to load as reference."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True)
    save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(dict(config)), encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Reading:
    """One method of a checkpoint with its reader.

    Attributes:
        name: The method's name.
        reader: What reads its tensors.
        config: Its options.
        modules: The modules that are its own, where another method of the checkpoint has the same reader, or None.
    """

    name: str
    reader: Reader
    config: Mapping[str, Any]
    modules: frozenset[str] | None = None


def readings(checkpoint: Checkpoint) -> tuple[Reading, ...]:
    """Returns every method of a checkpoint with its reader.

    Raises:
        UnsupportedError: edgeadapt has no such method, or the configuration asks for something it can't do exactly.
    """
    return tuple(Reading(*_reader(checkpoint, part), part.config, part.modules) for part in checkpoint.parts)


def is_read(checkpoint: Checkpoint) -> bool:
    """Tells whether there is a reader for every method of a checkpoint."""
    return all(part.type in methods.readers() for part in checkpoint.parts)


def reader(checkpoint: Checkpoint) -> tuple[str, Reader]:
    """Returns the name and the reader of a PEFT checkpoint's method; raises as `readings` does."""
    return _reader(checkpoint, checkpoint.parts[0])


def _reader(checkpoint: Checkpoint, part: Part) -> tuple[str, Reader]:
    readers = methods.readers()
    if part.type not in readers:
        types = [each for each in readers if each.isupper()]
        raise UnsupportedError(
            f"{checkpoint.folder}: PEFT type {checkpoint.config.get('peft_type')!r} is not supported. "
            f"Supported: {listed(sorted(types))}.\n"
            "If PEFT can merge it, export it with the base; or train one of these."
        )
    name, found = readers[part.type]
    config = part.config
    problems = [
        f"{key} = {json.dumps(config.get(key))}: expected a number"
        for key in NUMBERS
        if key in found.FIELDS and not isinstance(config.get(key), int | float)
    ]
    problems += [
        f"{key} = {json.dumps(value)}: {REFUSED.get(key, 'edgeadapt does not know this option')}"
        for key, value in config.items()
        if value and key not in UNDERSTOOD | found.FIELDS
    ]
    problems += _broken_patterns(config)
    init = config.get("init_lora_weights", True)
    if isinstance(init, str) and init.lower() not in KEEPS_BASE:
        kind = init.split("_niter_")[0].lower()
        problems.append(f"init_lora_weights = {init!r}: {REWRITES.get(kind, 'edgeadapt does not know what this does')}")
    if problems:
        raise UnsupportedError.collect(f"{checkpoint.folder} holds {found.TITLE} that can't be done exactly:", problems)
    return name, found


def _broken_patterns(config: Mapping[str, Any]) -> list[str]:
    """Returns what is wrong with a configuration's regular expressions."""
    problems, expressions = [], []
    for key in ("rank_pattern", "alpha_pattern"):
        if isinstance(patterns := config.get(key) or {}, Mapping):
            expressions += [(key, each) for each in patterns]
        else:
            problems.append(f"{key} = {json.dumps(patterns)}: expected an object")
    for key in ("target_modules", "exclude_modules", "feedforward_modules"):
        expressions += [(key, config[key])] if isinstance(config.get(key), str) else []
    for key, expression in expressions:
        try:
            re.compile(expression)
        except re.error as error:
            problems.append(f"{key}: {expression!r} is no regular expression: {error}")
    return problems


def targets(config: Mapping[str, Any], module: str) -> bool | None:
    """Tells whether a configuration puts a LoRA on a module; None where its words alone don't tell.

    Source: `peft.tuners.tuners_utils.check_target_module_exists`.

    Example:
        >>> [targets({"target_modules": [name]}, "encoder.layer.0.query") for name in ("query", "0.query", "ery")]
        [True, True, False]
    """
    wanted = config.get("target_modules")
    if not wanted or (isinstance(wanted, str) and wanted.lower() == "all-linear"):
        return None
    if _is_among(config.get("exclude_modules") or (), module) or saves(config, module):
        return False
    if isinstance(wanted, str) or not _is_among(wanted, module):
        return _is_among(wanted, module)
    layers = config.get("layers_to_transform")
    if layers is None or layers == [] or module in wanted:
        return True
    patterns = config.get("layers_pattern") or []
    found = [
        re.match(rf"(?:^|.*?\.){pattern}\.(\d+)\.", module)
        for pattern in ([patterns] if isinstance(patterns, str) else patterns)
    ] or [re.match(r".*?\.[^.]*\.(\d+)\.", module)]
    number = next((int(match.group(1)) for match in found if match), None)
    return number in (layers if isinstance(layers, list) else [layers])


def saves(config: Mapping[str, Any], module: str) -> bool:
    """Tells whether a configuration trains a module whole, by itself or with one that it is part of."""
    return any(re.match(rf"(^|.*\.){name}($|\..*)", module) for name in config.get("modules_to_save") or ())


def _is_among(wanted: str | Sequence[str], module: str) -> bool:
    """Tells whether a regular expression matches a module's path, or one of some names ends it."""
    if isinstance(wanted, str):
        return re.fullmatch(wanted, module) is not None
    return any(module == name or module.endswith(f".{name}") for name in wanted)


KEEPS_BASE = {"gaussian", "eva", "orthogonal", "mica", "true", "false"}
"""Values of `init_lora_weights` under which the base's own weights stay as they are."""

CONVERTED = (
    "this initialisation rewrites the base's weights; convert the adapter with PEFT's "
    "save_pretrained(..., path_initial_model_for_weight_conversion=...)"
)
REWRITES = {
    **dict.fromkeys(("pissa", "olora", "corda", "lora_ga"), CONVERTED),
    "loftq": "LoftQ rewrites the base's weights, and PEFT can't convert it; save the base that it made, set "
    "init_lora_weights to true, and export the adapter with that base",
}
"""Values of `init_lora_weights` that change the base, with what to do. Source: `peft.LoraModel._convert_state_dict_for_
initial_model`."""

NUMBERS = ("r", "lora_alpha", "alpha", "init_r")
"""Options that must be there and be numbers, where a method takes them into account."""

UNDERSTOOD = {
    "auto_mapping", "base_model_name_or_path", "bias", "exclude_modules", "inference_mode", "layers_pattern",
    "layers_to_transform", "modules_to_save", "peft_type", "peft_version", "revision", "target_modules", "task_type",
}  # fmt: skip
"""Options of every PEFT type that the tensors already reflect, that concern training alone, or that binding follows."""

REFUSED = {
    "use_qalora": "QALoRA pools the inputs of a quantised base",
    "layer_replication": "the base would need layers that its checkpoint doesn't have",
    "target_parameters": "adapters on bare parameters (experts) have no module to attach to",
    "alora_invocation_tokens": "an activated LoRA depends on the tokens of each row",
    "arrow_config": "Arrow routes each token to another adapter",
    "megatron_config": "Megatron's parallel layers are not transformers' modules",
    "kasa_config": "KaSA takes the smallest singular values off the base's weights, and PEFT can't convert it",
    "monteclora_config": "MonteCLoRA keeps a sampler beside every LoRA",
    "velora_config": "VeLoRA keeps projections beside every LoRA",
    "use_bdlora": "BD-LoRA has matrices of blocks",
}

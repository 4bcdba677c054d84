"""Reads an adapter's folder as it lies on disk: configuration and tensors. No torch is needed.

A pickle is read only with permission, by a process of its own that writes safetensors back.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open

from edgeadapt import methods
from edgeadapt.adapter import Array, ProblemType
from edgeadapt.errors import CheckpointError, PickleError, UnsupportedError, listed
from edgeadapt.methods import Reader

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PICKLE = "adapter_model.bin"
LFS = b"version https://git-lfs"
BF16 = np.dtype(ml_dtypes.bfloat16)  # also makes numpy know the type by its name
PICKLE_TIMEOUT_S = 300


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An adapter's folder.

    Attributes:
        folder: Where it lies.
        config: Its `adapter_config.json`.
        tensors: Its tensors in fp32, by the names they were saved under.
        labels: The labels its `config.json` names, or None.
        problem_type: What its `config.json` says the head was trained to answer, or None.
    """

    folder: Path
    config: Mapping[str, Any]
    tensors: Mapping[str, Array]
    labels: tuple[str, ...] | None
    problem_type: ProblemType | None


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
    weights, pickle = folder / WEIGHTS, folder / PICKLE
    if weights.is_file():
        tensors = _tensors(weights)
    elif pickle.is_file():
        tensors = _unpickled(pickle, allow_pickle)
    else:
        raise CheckpointError(f"{folder} holds no weights: neither {WEIGHTS} nor {PICKLE}.")
    problems = [
        f"{name}: {np.count_nonzero(~np.isfinite(array))} of {array.size} values"
        for name, array in tensors.items()
        if not np.isfinite(array).all()
    ]
    if problems:
        raise CheckpointError.collect(
            f"{folder} holds NaN or Inf:", problems, "The training diverged; take an earlier checkpoint."
        )
    return Checkpoint(folder, config, tensors, *_head(folder))


def _config(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is not a folder.\nGive the folder of a PEFT adapter, with {CONFIG} in it.")
    path = folder / CONFIG
    if not path.is_file():
        raise CheckpointError(f"{folder} is not a PEFT adapter: it has no {CONFIG}.")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} is not a configuration: got a JSON {type(config).__name__}, expected an object.")
    return config


def _tensors(path: Path) -> dict[str, Array]:
    """Returns a safetensors file's tensors in fp32."""
    _refuse_pointer(path)
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: np.asarray(file.get_tensor(name)).astype(np.float32) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path} can't be read as safetensors: {error}\nDownload or save it again.") from error


def _refuse_pointer(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(len(LFS)) == LFS:
            raise CheckpointError(
                f"{path} is a git-lfs pointer of {path.stat().st_size} bytes, not weights.\n"
                "Fetch them with `git lfs pull`."
            )


def _unpickled(path: Path, allowed: bool) -> dict[str, Array]:
    """Returns a pickle's tensors, loaded with `weights_only=True` by a process that shares nothing but two files."""
    _refuse_pointer(path)
    if not allowed:
        raise PickleError(
            f"{path} is a pickle, which can run any code when it is loaded.\n"
            "Save the adapter as safetensors, or pass --allow-pickle if you trust its author."
        )
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / WEIGHTS
        command = [sys.executable, "-I", str(Path(__file__).with_name("unpickle.py")), str(path), str(target)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PICKLE_TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise PickleError(f"{path} took more than {PICKLE_TIMEOUT_S} s to load.") from error
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise PickleError(f"{path} can't be loaded as plain tensors: {reason}")
        return _tensors(target)


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


def reader(checkpoint: Checkpoint) -> tuple[str, Reader]:
    """Returns the name and the reader of a checkpoint's method.

    Raises:
        UnsupportedError: edgeadapt has no such method, or the configuration asks for something it can't do exactly.
    """
    kind, readers = checkpoint.config.get("peft_type"), methods.readers()
    if not isinstance(kind, str) or kind not in readers:
        raise UnsupportedError(
            f"{checkpoint.folder}: PEFT type {kind!r} is not supported. Supported: {listed(sorted(readers))}.\n"
            "Merge it into the model with PEFT, or train one of these."
        )
    name, found = readers[kind]
    problems = [
        f"{key} = {json.dumps(checkpoint.config.get(key))}: expected a number"
        for key in ("r", "lora_alpha")
        if key in found.FIELDS and not isinstance(checkpoint.config.get(key), int | float)
    ]
    problems += [
        f"{key} = {json.dumps(value)}: {REFUSED.get(key, 'edgeadapt does not know this option')}"
        for key, value in checkpoint.config.items()
        if value and key not in UNDERSTOOD | found.FIELDS
    ]
    init = checkpoint.config.get("init_lora_weights", True)
    if isinstance(init, str) and init.split("_niter_")[0].lower() not in KEEPS_BASE:
        problems.append(
            f"init_lora_weights = {init!r}: this initialisation rewrites the base's weights; convert the adapter with "
            "PEFT's save_pretrained(..., path_initial_model_for_weight_conversion=...)"
        )
    if problems:
        raise UnsupportedError.collect(f"{checkpoint.folder} holds {found.TITLE} that can't be done exactly:", problems)
    return name, found


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


KEEPS_BASE = {"gaussian", "eva", "orthogonal", "true", "false"}
"""Values of `init_lora_weights` under which the base's own weights stay as they are."""

UNDERSTOOD = {
    "auto_mapping", "base_model_name_or_path", "bias", "exclude_modules", "inference_mode", "layers_pattern",
    "layers_to_transform", "modules_to_save", "peft_type", "peft_version", "revision", "target_modules", "task_type",
}  # fmt: skip
"""Options of every PEFT type that the tensors already reflect, that concern training alone, or that binding follows."""

REFUSED = {
    "use_qalora": "QALoRA pools the inputs of a quantised base",
    "layer_replication": "the base would need layers that its checkpoint doesn't have",
    "target_parameters": "adapters on bare parameters (experts) have no module to attach to",
    "trainable_token_indices": "trained tokens are another method; it is not supported yet",
    "alora_invocation_tokens": "an activated LoRA depends on the tokens of each row",
    "arrow_config": "Arrow routes each token to another adapter",
    "megatron_config": "Megatron's parallel layers are not transformers' modules",
    "corda_config": "CorDA rewrites the base's weights",
    "lora_ga_config": "LoRA-GA rewrites the base's weights",
    "loftq_config": "LoftQ rewrites the base's weights",
}

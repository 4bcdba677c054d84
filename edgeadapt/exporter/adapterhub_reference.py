"""The live reference of AdapterHub's adapters: PyTorch's outputs with the `adapters` library."""

from __future__ import annotations

import importlib
import shutil
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from edgeadapt import tasks
from edgeadapt.adapter import Adapter, Array
from edgeadapt.errors import CheckpointError, UnsupportedError
from edgeadapt.exporter import adapterhub, compositions, forward, heads, reference, tensor_files
from edgeadapt.exporter import base as bases
from edgeadapt.exporter.checkpoint import CONFIG, Checkpoint
from edgeadapt.exporter.reference import Outputs
from edgeadapt.graph.sites import Wirings
from edgeadapt.methods import adapterhub_prompt
from edgeadapt.tasks import multiple_choice


def adapter_outputs(
    base: bases.Base,
    wirings: Wirings,
    checkpoint: Checkpoint,
    adapter: Adapter,
    inputs: Mapping[str, Array],
    names: Sequence[str],
) -> Outputs:
    """Returns PyTorch's outputs for an adapter that the `adapters` library loads into a fresh base.

    An adapter with a head of AdapterHub's own runs in the library's `AutoAdapterModel`, with that head.

    Raises:
        UnsupportedError: The library isn't there; it needs transformers 4.57.
        CheckpointError: It can't load what edgeadapt has read, or leaves weights of it untrained.
    """
    try:
        adapters: Any = importlib.import_module("adapters")
    except ImportError as error:
        raise UnsupportedError(
            f"{checkpoint.folder} is AdapterHub's, and its `adapters` library, which proves the numbers, isn't there.\n"
            "Install it (it needs transformers 4.57), or export without this adapter and `edgeadapt add` it."
        ) from error
    setup = compositions.read_setup(checkpoint.folder) if compositions.is_folder(checkpoint.folder) else None
    home = checkpoint.folder if setup is None else setup.head
    flexible = (
        home is not None
        and (home / heads.CONFIG).is_file()
        and isinstance(tensor_files.read_json(home / heads.CONFIG).get("config"), dict)
    )
    if flexible:
        model: Any = adapters.AutoAdapterModel.from_pretrained(base.source, dtype=base.model.dtype).eval()
    else:
        model = reference.with_heads(base, wirings, adapter).model
        adapters.init(model)
    with tempfile.TemporaryDirectory() as scratch:
        if setup is None:
            active: Any = _load(model, checkpoint.folder, Path(scratch) / "adapter", with_head=flexible)
            head = active if flexible else None
        else:
            active = _load_setup(model, setup, wirings, Path(scratch))
            head = _load_head(model, home, Path(scratch) / "head") if flexible and home is not None else None
    if checkpoint.halved:  # the library has read the folder, with numbers that the tensors had before
        for parameter in model.parameters():
            parameter.data = parameter.data.half().float()
    if head is not None and base.task == multiple_choice.NAME:
        model.heads[head].config["num_choices"] = 1  # which only says how its scores, one a row, are laid out
    model.eval()  # what the library has added since is in training, with its dropout
    model.set_active_adapters(None)
    if head is not None:
        model.active_head = head
    plain = forward.run(base, inputs, names, model)
    model.set_active_adapters(active)
    if head is not None:
        model.active_head = head
    try:
        adapted = forward.run(base, inputs, names, model)
    except Exception as error:
        raise CheckpointError(f"adapters loads {checkpoint.folder}, and can't run it:\n  {error}") from error
    if any(part.type == adapterhub_prompt.TYPE for part in checkpoint.parts):
        adapted = _of_tokens(base.task, adapted, inputs)
    return Outputs(adapted, plain)


def _of_tokens(task: str, outputs: Mapping[str, Array], inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Returns outputs without what they have of a prompt's places, which come first."""
    length = inputs["input_ids"].shape[1]
    axes = tasks.get(task).OUTPUTS
    return {name: array[:, -length:] if "sequence" in axes[name] else array for name, array in outputs.items()}


def _load(model: Any, folder: Path, scratch: Path, *, with_head: bool = False) -> str:
    """Loads an adapter's tensors, as safetensors, into a model; returns its name."""
    scratch.mkdir()
    shutil.copy(folder / CONFIG, scratch)
    _stage(folder, scratch, adapterhub.WEIGHTS, adapterhub.PICKLE)
    if with_head:
        shutil.copy(folder / heads.CONFIG, scratch)
        _stage(folder, scratch, heads.WEIGHTS, heads.PICKLE)
    info: dict[str, Any] = {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")

            name: str = model.load_adapter(str(scratch), use_safetensors=True, with_head=with_head, loading_info=info)
    except Exception as error:
        raise CheckpointError(f"adapters can't load {folder}:\n  {error}") from error
    _check(folder, info)
    return name


def _load_head(model: Any, folder: Path, scratch: Path) -> str:
    """Loads a prediction head into a model; returns its name."""
    scratch.mkdir()
    shutil.copy(folder / heads.CONFIG, scratch)
    _stage(folder, scratch, heads.WEIGHTS, heads.PICKLE)
    info: dict[str, Any] = {}
    name = str(tensor_files.read_json(folder / heads.CONFIG).get("name"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.load_head(str(scratch), load_as=name, use_safetensors=True, loading_info=info)
    except Exception as error:
        raise CheckpointError(f"adapters can't load the head in {folder}:\n  {error}") from error
    _check(folder, info)
    return name


def _load_setup(model: Any, setup: compositions.Setup, wirings: Wirings, scratch: Path) -> Any:
    """Loads the adapters and fusions of a composition; returns it as the library has it.

    Source: `adapters.model_mixin.ModelAdaptersMixin._load_adapter_setup_weights`.
    """
    for number, name in enumerate(setup.adapters()):
        _load(model, setup.folder / name, scratch / str(number))
    for name, home in setup.fusions.items():
        record = tensor_files.read_json(home / compositions.FUSION)
        tensors = tensor_files.read(home, compositions.FUSION_WEIGHTS, compositions.FUSION_PICKLE, allow_pickle=True)
        model.add_adapter_fusion(record["adapter_names"], record["config"], name=name)
        mark = f".adapter_fusion_layer.{name}."
        own = {stored: parameter for stored, parameter in model.named_parameters() if mark in stored}
        for stored, parameter in own.items():
            found = [each for each in wirings.candidates(stored) if each in tensors]
            if not found or tensors[found[0]].shape != tuple(parameter.shape):
                raise CheckpointError(f"{home} has no {stored} {tuple(parameter.shape)}, which adapters makes.")
            parameter.data = parameter.data.new_tensor(tensors[found[0]])
    return _block(importlib.import_module("adapters.composition"), setup.tree)


def _block(library: Any, tree: Any) -> Any:
    """Returns a composition as the library's own (`adapters.composition.AdapterCompositionBlock.from_dict`)."""
    if isinstance(tree, str):
        return tree
    children = [_block(library, child) for child in tree["children"]]
    if tree["kind"] == "fuse":
        return library.Fuse(*children, name=tree["name"])
    return library.Average(*children, weights=tree["weights"]) if "weights" in tree else library.Stack(*children)


def _check(folder: Path, info: Mapping[str, Any]) -> None:
    if problems := [*info.get("missing_keys", []), *info.get("unexpected_keys", [])]:
        raise CheckpointError.collect(f"adapters can't place all tensors of {folder}:", problems)


def _stage(folder: Path, scratch: Path, weights: str, pickle: str) -> None:
    """Writes tensors that were read with permission as safetensors."""
    tensors = tensor_files.read(folder, weights, pickle, allow_pickle=True)
    save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, scratch / weights)

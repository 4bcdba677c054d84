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

from edgeadapt.adapter import Adapter, Array
from edgeadapt.errors import CheckpointError, UnsupportedError
from edgeadapt.exporter import adapterhub, heads, reference, tensor_files, trace
from edgeadapt.exporter import base as bases
from edgeadapt.exporter.checkpoint import CONFIG, Checkpoint
from edgeadapt.exporter.reference import Outputs
from edgeadapt.graph.sites import Wirings


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
    flexible = (checkpoint.folder / heads.CONFIG).is_file() and isinstance(
        tensor_files.read_json(checkpoint.folder / heads.CONFIG).get("config"), dict
    )
    if flexible:
        model: Any = adapters.AutoAdapterModel.from_pretrained(base.source, dtype=base.model.dtype).eval()
    else:
        model = reference.with_heads(base, wirings, adapter).model
        adapters.init(model)
    with tempfile.TemporaryDirectory() as scratch:
        name = _load(model, checkpoint.folder, Path(scratch) / "adapter", with_head=flexible)
    model.set_active_adapters(None)
    if flexible:
        model.active_head = name
    plain = trace.run(base, inputs, names, model)
    model.set_active_adapters(name)
    return Outputs(trace.run(base, inputs, names, model), plain)


def _load(model: Any, folder: Path, scratch: Path, *, with_head: bool) -> str:
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
    if problems := [*info.get("missing_keys", []), *info.get("unexpected_keys", [])]:
        raise CheckpointError.collect(f"adapters can't place all tensors of {folder}:", problems)
    return name


def _stage(folder: Path, scratch: Path, weights: str, pickle: str) -> None:
    """Writes tensors that were read with permission as safetensors."""
    tensors = tensor_files.read(folder, weights, pickle, allow_pickle=True)
    save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, scratch / weights)

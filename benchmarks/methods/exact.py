"""The same adapters in PyTorch with twice the digits: what tells rounding from mistakes."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.methods.cases import Case, Library, Setup


def outputs(
    library: Library, case: Case, base: Path, source: Any, inputs: Mapping[str, NDArray[Any]]
) -> NDArray[np.float64]:
    """Returns the base's hidden states with an adapter, `(batch, n, width)`, computed in float64.

    The adapter is loaded as any user of its library would, by none of edgeadapt's code.

    Args:
        library: What it was trained with.
        case: The method, which brings no head.
        base: The base's folder.
        source: The adapter's folder, or modules by site.
        inputs: A batch.
    """
    import torch
    import transformers

    from tests import tiny

    with tiny.quiet(), torch.no_grad():
        model: Any = transformers.AutoModel.from_pretrained(base)
        if library == "peft":
            model = importlib.import_module("peft").PeftModel.from_pretrained(model, str(source))
        elif library == "adapters":
            _load(model, source, setup=isinstance(case.make("bert"), Setup))
        else:
            for site, module in source.items():
                model.get_submodule(site).register_forward_hook(_hook(copy.deepcopy(module).eval().double()))
        tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
        wide = {name: each.double() if each.is_floating_point() else each for name, each in tensors.items()}
        found = model.double().eval()(**wide).last_hidden_state.numpy()
    length = inputs["input_ids"].shape[1] if "input_ids" in inputs else found.shape[1]
    return np.asarray(found[:, -length:], np.float64)  # without what is in a prompt's places, which come first


def _load(model: Any, source: Path, *, setup: bool) -> None:
    importlib.import_module("adapters").init(model)
    safe = not any(source.rglob("*.bin"))
    if setup:
        block, _ = model.load_adapter_setup(str(source), use_safetensors=safe)
    else:
        block = model.load_adapter(str(source), use_safetensors=safe)
    model.set_active_adapters(block)


def _hook(module: Any) -> Any:
    return lambda _, given, y: module(y)

"""Adapters of the `adapters` library over tiny bases, saved as it saves them."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from tests.tiny import AUTO, HIDDEN, quiet

FACTORS = ("norm", "ia3", "scaling")


def adapter(base_folder: Path, folder: Path, config: Any, seed: int = 0, head: dict[str, Any] | None = None) -> Path:
    """Writes an adapter, none of whose tensors is zero, and returns its folder.

    Args:
        base_folder: What `tests.tiny.base` wrote.
        folder: Where.
        config: A configuration of the library, or its name.
        seed: Of the weights.
        head: Options of `add_classification_head`, or of the head that its `kind` names; None leaves it out.
    """
    import torch
    import transformers

    adapters: Any = importlib.import_module("adapters")
    torch.manual_seed(seed)
    with quiet():
        if head is None:
            model = getattr(transformers, AUTO["feature-extraction"]).from_pretrained(base_folder)
            adapters.init(model)
        else:
            model = adapters.AutoAdapterModel.from_pretrained(base_folder)
            options = dict(head)
            getattr(model, f"add_{options.pop('kind', 'classification')}_head")("own", **options)
        model.add_adapter("own", config=config)
        names = list(model.state_dict())
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if ".own." in name:
                    _stir(name, parameter)
        # A norm before the block and a pool of prefixes have several names, which it can't save as safetensors.
        pickled = getattr(config, "ln_before", False) or any("prefix_tunings" in name for name in names)
        model.save_adapter(str(folder), "own", use_safetensors=not pickled, with_head=head is not None)
    return folder


def _stir(name: str, parameter: Any) -> None:
    import torch

    if any(part in name for part in FACTORS) or name.endswith(".m.weight") or _is_scale(name, parameter):
        parameter.mul_(1 + torch.randn_like(parameter) * 0.3).add_(torch.randn_like(parameter) * 0.1)
    elif not name.endswith("lora_A"):
        wide = max(parameter.shape[-1] / HIDDEN, 1)  # what a wide layer adds up stays as large as a tiny one's
        parameter.copy_(torch.randn_like(parameter) * 0.3 / wide**0.5)


def _is_scale(name: str, parameter: Any) -> bool:
    """Tells whether a tensor is IA3's: AdapterHub has them as a `lora_B` of rank one, all ones at first."""
    return name.endswith("lora_B") and bool((parameter == 1).all())


def setup(
    base_folder: Path,
    folder: Path,
    configs: dict[str, Any],
    tree: Any,
    fusion: dict[str, Any] | str = "dynamic",
    head: dict[str, Any] | None = None,
    seed: int = 0,
    **options: Any,
) -> Path:
    """Writes adapters that are put together, as `save_adapter_setup` does, and returns the folder.

    Args:
        base_folder: What `tests.tiny.base` wrote.
        folder: Where.
        configs: Configurations of the library, by adapter.
        tree: An adapter's name, or the name of a composition and what it puts together.
        fusion: Options of the AdapterFusion that the tree has, or the name of some.
        head: Options of the head; None leaves it out.
        seed: Of the weights.
        options: Of the outermost composition, such as `weights`.
    """
    import torch
    import transformers

    adapters: Any = importlib.import_module("adapters")
    torch.manual_seed(seed)
    with quiet():
        if head is None:
            model = getattr(transformers, AUTO["feature-extraction"]).from_pretrained(base_folder)
            adapters.init(model)
        else:
            model = adapters.AutoAdapterModel.from_pretrained(base_folder)
            settings = dict(head)
            getattr(model, f"add_{settings.pop('kind', 'classification')}_head")("own", **settings)
        for name, config in configs.items():
            model.add_adapter(name, config=config)
        block = _block(model, tree, fusion, options)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if any(f".{each}." in name for each in (*configs, "own")):
                    _stir(name, parameter)
                elif ".adapter_fusion_layer." in name:  # of a softmax that still weighs several, in a wide layer too
                    wide = parameter.shape[-1] / HIDDEN
                    parameter.copy_(torch.randn_like(parameter) * 0.05 / wide**0.75)
        said = {} if head is None else {"head_setup": "own"}
        pickled = any("prefix_tunings" in name for name in model.state_dict())
        model.save_adapter_setup(str(folder), block, use_safetensors=not pickled, **said)
    return folder


def _block(model: Any, tree: Any, fusion: dict[str, Any] | str, options: dict[str, Any]) -> Any:
    if isinstance(tree, str):
        return tree
    library: Any = importlib.import_module("adapters.composition")
    block = getattr(library, tree[0])(*[_block(model, child, fusion, {}) for child in tree[1:]], **options)
    if tree[0] == "Fuse":
        names = [child if isinstance(child, str) else child.last() for child in block]
        model.add_adapter_fusion(names, fusion, name=block.name)
    return block

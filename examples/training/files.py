"""An adapter's folder: written so that two runs give the same bytes, and loaded again from there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from peft import PeftModel
from torch import nn

from training.network import load_base, load_hub_base
from training.recipes import Bottleneck, Lora, Recipe
from training.settings import BASE_MODEL, HEAD


def save(model: Any, recipe: Recipe, folder: Path) -> None:
    """Write the adapter as its library does. The base goes by its public name, not by the folder it was read from."""
    model.to(recipe.dtype)
    if isinstance(recipe.method, Bottleneck):
        save_bottleneck(model, recipe, folder)
    else:
        save_lora(model, recipe, recipe.method, folder)


def save_lora(model: Any, recipe: Recipe, method: Lora, folder: Path) -> None:
    """Write `adapter_model.safetensors`, `adapter_config.json` and `config.json`.

    The configuration's lists lose what PEFT adds to them (`score`, repeats) and get an order, so that two runs write
    the same bytes.
    """
    model.peft_config["default"].base_model_name_or_path = BASE_MODEL
    model.save_pretrained(str(folder), save_embedding_layers=False)
    (folder / "adapter_model.safetensors").chmod(0o644)  # safetensors lets only the owner read
    settings = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    settings["modules_to_save"] = [HEAD]
    if not isinstance(method.targets, str):
        settings["target_modules"] = sorted(method.targets)
    write_json(folder / "adapter_config.json", settings)
    ids = {label: number for number, label in enumerate(recipe.labels)}
    names = {str(number): label for label, number in ids.items()}
    labels = {"model_type": "bert", "num_labels": len(ids), "id2label": names, "label2id": ids}
    write_json(folder / "config.json", labels)


def save_bottleneck(model: Any, recipe: Recipe, folder: Path) -> None:
    """Write `adapter.safetensors` and `model_head.safetensors`, and a configuration of each."""
    model.save_adapter(str(folder), recipe.name, with_head=True, use_safetensors=True)
    for weights in ("adapter.safetensors", "model_head.safetensors"):
        (folder / weights).chmod(0o644)  # safetensors lets only the owner read
    for name in ("adapter_config.json", "head_config.json"):
        write_json(folder / name, json.loads((folder / name).read_text(encoding="utf-8")) | {"model_name": BASE_MODEL})


def load_adapter(recipe: Recipe, folder: Path, base: Path) -> nn.Module:
    """Load a stored adapter onto a fresh base."""
    if isinstance(recipe.method, Lora):
        return PeftModel.from_pretrained(load_base(base, recipe.labels), str(folder)).eval()
    model = load_hub_base(base)
    model.load_adapter(str(folder), use_safetensors=True, set_active=True)
    network: nn.Module = model.eval()
    return network


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write indented JSON that ends with a newline."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

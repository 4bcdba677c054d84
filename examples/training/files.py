"""An adapter's folder: written so that two runs give the same bytes, and loaded again from there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peft import PeftModel

from training.lora import load_base
from training.recipes import Recipe
from training.settings import BASE_MODEL, HEAD


def save(model: PeftModel, recipe: Recipe, folder: Path) -> None:
    """Write `adapter_model.safetensors`, `adapter_config.json` and `config.json`.

    The configuration names the base by its public name, not by the folder it was read from. Its lists lose what PEFT
    adds to them (`score`, repeats) and get an order, so that two runs write the same bytes.
    """
    model.peft_config["default"].base_model_name_or_path = BASE_MODEL
    model.to(recipe.dtype).save_pretrained(str(folder), save_embedding_layers=False)
    (folder / "adapter_model.safetensors").chmod(0o644)  # safetensors lets only the owner read
    settings_file = folder / "adapter_config.json"
    settings = json.loads(settings_file.read_text(encoding="utf-8"))
    settings["modules_to_save"] = [HEAD]
    if not isinstance(recipe.targets, str):
        settings["target_modules"] = sorted(recipe.targets)
    write_json(settings_file, settings)
    ids = {label: number for number, label in enumerate(recipe.labels)}
    names = {str(number): label for label, number in ids.items()}
    labels = {"model_type": "bert", "num_labels": len(ids), "id2label": names, "label2id": ids}
    write_json(folder / "config.json", labels)


def load_adapter(folder: Path, base: Path, labels: Sequence[str]) -> PeftModel:
    """Load a stored adapter onto a fresh base."""
    return PeftModel.from_pretrained(load_base(base, labels), str(folder)).eval()


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write indented JSON that ends with a newline."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

"""What the exporter's tests share: adapters' folders with something changed, and what lies on a disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file, save_file

from edgeadapt.adapter import Array

Tensors = dict[str, Array]
CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"


def altered(source: Path, target: Path, change: Callable[[Tensors], Tensors] | None = None, **config: Any) -> Path:
    """Writes the adapter of `source` with other tensors and options, and returns its folder."""
    target.mkdir(parents=True)
    tensors = load_file(source / WEIGHTS)
    save_file(tensors if change is None else change(tensors), target / WEIGHTS)
    options = json.loads((source / CONFIG).read_text(encoding="utf-8"))
    (target / CONFIG).write_text(json.dumps({**options, **config}), encoding="utf-8")
    return target


def zeroed(tensors: Tensors) -> Tensors:
    """Returns the tensors with every B all zero, as if nothing had been learnt."""
    return {name: array * 0 if "lora_B" in name or "embedding_B" in name else array for name, array in tensors.items()}


def snapshot(folder: Path) -> dict[str, tuple[int, str]]:
    """Returns when every file below `folder` was written, in nanoseconds, and its sha256, by path."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }

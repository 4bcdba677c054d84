"""Bundles of a real decoder, plain and with adapters, and the same decoder by onnxruntime-genai's own builder.

The adapters' weights are random, with a seed: how long a run takes depends on their shapes and not on their values.
"""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks.models.stamp import make_current
from benchmarks.settings import BUILD

Precision: TypeAlias = Literal["fp32", "int4"]

FOLDER = BUILD / "bench-smollm"
PRECISIONS: tuple[Precision, ...] = ("fp32", "int4")
RANK = 8
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
SEED = 20250203
ADAPTERS = ("a0", "a1", "a2", "a3")


@dataclass(frozen=True, slots=True)
class Models:
    """One decoder in one precision, three times.

    Attributes:
        plain: A bundle without adapters, whose model has no slots.
        tuned: A bundle with all of `ADAPTERS`, which onnxruntime-genai loads, too.
        genai: What onnxruntime-genai's builder made of it.
    """

    plain: Path
    tuned: Path
    genai: Path


def prepare(model: Path) -> None:
    """Makes the models from the checkpoint at `model` where they are missing or out of date."""
    if not (model / "config.json").is_file():
        raise SystemExit(f"There is no decoder at {model}: `make bench-generate` gets it, --smollm names another.")
    for precision in PRECISIONS:
        if _options(precision) is not None:
            make_current(
                FOLDER / precision,
                [Path(__file__), model],
                lambda folder, kind=precision: _make(folder, model, kind),  # type: ignore[misc]
                packages=("onnxruntime-genai",),
            )


def found() -> dict[Precision, Models]:
    """Returns the models that there are, by precision."""
    folders: dict[Precision, Path] = {precision: FOLDER / precision for precision in PRECISIONS}
    models = {name: Models(*(home / part for part in ("plain", "tuned", "genai"))) for name, home in folders.items()}
    return {name: each for name, each in models.items() if (each.genai / "genai_config.json").is_file()}


def tokens(rows: int, length: int) -> NDArray[np.int64]:
    """Returns random tokens `(rows, length)`, none of them a special one."""
    return np.random.default_rng(SEED).integers(1000, 40000, (rows, length))


def model_bytes(folder: Path, graph: str) -> int:
    """Returns the size of a graph and of the weights that it reads, in bytes."""
    return sum(path.stat().st_size for path in (folder / graph, folder / "model.onnx.data"))


def _options(precision: Precision) -> dict[str, Any] | None:
    """Returns what `edgeadapt.export` is told to write this precision, or None where it can't."""
    import edgeadapt

    if precision == "fp32":
        return {}
    return {"precision": precision} if "precision" in inspect.signature(edgeadapt.export).parameters else None


def _make(folder: Path, model: Path, precision: Precision) -> None:
    import edgeadapt

    options = _options(precision) or {}
    _build(model, folder / "genai", precision)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        generator = np.random.default_rng(SEED)
        adapters = {name: _adapter(model, Path(scratch) / name, generator) for name in ADAPTERS}
        for name, members in (("plain", {}), ("tuned", adapters)):
            edgeadapt.export(
                model,
                members,
                folder / name,
                task="text-generation",
                runtime="genai",
                progress=lambda stage: print(f"  decoder, {precision}: {stage}", flush=True),
                **options,
            )


def _build(model: Path, target: Path, precision: Precision) -> None:
    """Lets onnxruntime-genai's builder write a model for the CPU, by its own defaults."""
    print(f"  decoder, {precision}: building onnxruntime-genai's own", flush=True)
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-m", str(model), "-i", str(model)]
        command += ["-o", str(target), "-p", precision, "-e", "cpu", "-c", cache]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"onnxruntime-genai's builder failed with {done.returncode}:\n{done.stderr}")


def _adapter(model: Path, folder: Path, generator: np.random.Generator) -> Path:
    """Writes a LoRA on all linear layers as PEFT saves it, and returns its folder."""
    from safetensors.numpy import save_file

    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    arrays: dict[str, NDArray[np.float32]] = {}
    for layer in range(config["num_hidden_layers"]):
        for target, (rows, columns) in _shapes(config).items():
            part = "self_attn" if target in ("q_proj", "k_proj", "v_proj", "o_proj") else "mlp"
            name = f"base_model.model.model.layers.{layer}.{part}.{target}"
            arrays[f"{name}.lora_A.weight"] = _random(generator, RANK, columns)
            arrays[f"{name}.lora_B.weight"] = _random(generator, rows, RANK)
    folder.mkdir()
    save_file(arrays, folder / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": RANK}
    document = {**settings, "target_modules": list(TARGETS), "base_model_name_or_path": model.name}
    (folder / "adapter_config.json").write_text(json.dumps(document), encoding="utf-8")
    return folder


def _random(generator: np.random.Generator, rows: int, columns: int) -> NDArray[np.float32]:
    return generator.normal(0, 0.02, (rows, columns)).astype(np.float32)


def _shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Returns the weights' shapes of a Llama's linear layers, `(out, in)`."""
    hidden, inner, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    width = config.get("head_dim") or hidden // heads
    queries, keys = heads * width, config.get("num_key_value_heads", heads) * width
    shapes = {"q_proj": (queries, hidden), "k_proj": (keys, hidden), "v_proj": (keys, hidden)}
    ends = {"gate_proj": (inner, hidden), "up_proj": (inner, hidden), "down_proj": (hidden, inner)}
    return {**shapes, "o_proj": (hidden, queries), **ends}

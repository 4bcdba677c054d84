"""onnxruntime-genai: the files by which it loads a bundle's folder, too, and what it can't run, refused by name."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import onnx_ir as ir

from edgeadapt import bundle, methods, tasks
from edgeadapt.adapter import Adapter, Array
from edgeadapt.bundle import KEPT, PAST, PRESENT, Manifest
from edgeadapt.errors import BundleError, ConfigError, UnsupportedError, listed, nearest
from edgeadapt.exporter import bare
from edgeadapt.graph import genai
from edgeadapt.graph.optimise import MOST_POSITIONS
from edgeadapt.runtime.decoder import decoder

Runtime: TypeAlias = Literal["genai"]
"""What loads a bundle beside edgeadapt's own runtime."""

RUNTIMES: tuple[Runtime, ...] = ("genai",)
NAME = "genai"
CONFIG = bundle.GENAI_CONFIG
GRAPH = "genai.onnx"

FED = frozenset({"input_ids", "attention_mask", "position_ids"})
"""The inputs, beside the cache, that onnxruntime-genai makes for a decoder."""

TYPE = "decoder"
"""Its model type for whatever takes these inputs: what is of a family is in the graph."""


def check_runtime(name: str | None) -> None:
    """Refuses a runtime that there isn't.

    Raises:
        ConfigError: It is another one.
    """
    if problem := runtime_problem(name):
        raise ConfigError(f"Runtime {name!r} {problem}.")


def runtime_problem(name: str | None) -> str:
    """Returns what is wrong with a runtime's name, or nothing."""
    if name is None or name in RUNTIMES:
        return ""
    return f"is none that a bundle can be written for{nearest(name, RUNTIMES)}; there is {listed(RUNTIMES)}"


def check_task(task: str) -> None:
    """Refuses a task whose model has no cache.

    Raises:
        UnsupportedError: onnxruntime-genai runs decoders alone.
    """
    if tasks.get(task).NAME != "text-generation":
        raise UnsupportedError(
            f"onnxruntime-genai runs text-generation, and the task is {task}.\nExport it without --runtime genai."
        )


def check_inputs(shapes: Mapping[str, Sequence[object]]) -> None:
    """Refuses inputs that onnxruntime-genai doesn't feed, and caches that it has no words for.

    Args:
        shapes: The axes of every input by name, without slots; of a cache `(batch, heads, past, head_dim)`.

    Raises:
        UnsupportedError: All reasons.
    """
    problems = [
        f"{name}: an input that it doesn't feed"
        for name in shapes
        if name not in FED and name != KEPT and not name.startswith(PAST)
    ]
    past = {name: (str(axes[1]), str(axes[3])) for name, axes in shapes.items() if name.startswith(PAST)}
    if len(sizes := set(past.values())) > 1:
        kinds = listed(sorted(f"{heads} x {width}" for heads, width in sizes))
        problems.append(f"the cache: heads x length of {kinds}, where it takes one size for all layers")
    expected = {f"{PAST}{layer}.{part}" for layer in range(len(past) // 2) for part in ("key", "value")}
    if set(past) != expected:
        problems.append(f"the cache: layers named {listed(sorted(set(past) ^ expected))}, expected 0, 1, 2 and so on")
    if problems:
        raise UnsupportedError.collect(
            "onnxruntime-genai can't run this decoder:", problems, "Export it without --runtime genai."
        )


def check_methods(adapters: Mapping[str, Adapter]) -> None:
    """Refuses adapters that lengthen what a decoder sees, whose positions onnxruntime-genai would count wrong.

    Raises:
        UnsupportedError: All of them.
    """
    problems = []
    for name, adapter in adapters.items():
        found = {each.method for each in adapter.attachments if methods.replaces(each.method) in ("sequence", "keys")}
        if adapter.cache:
            found.add(adapter.method)
        if found:
            problems.append(f"{name}: {listed(sorted(found))}")
    if problems:
        raise UnsupportedError.collect(
            "onnxruntime-genai knows nothing of tokens that an adapter puts before a text:",
            problems,
            "Leave these adapters out, or write the bundle without --runtime genai.",
        )


def write(folder: Path, manifest: Manifest, neutrals: Mapping[str, Array], config: Any) -> None:
    """Writes the graph and the configuration that onnxruntime-genai loads, into a bundle that is whole but for these.

    Args:
        folder: The bundle's folder, with the model.
        manifest: What it will say.
        neutrals: The stored ones by slot.
        config: The base's transformers config.
    """
    write_graph(folder, folder / manifest.model.file, manifest, neutrals, GRAPH)
    text = json.dumps(configuration(manifest, config), indent=2) + "\n"
    (folder / CONFIG).write_text(text, encoding="utf-8")


def write_graph(folder: Path, model: Path, manifest: Manifest, neutrals: Mapping[str, Array], target: str) -> None:
    """Writes a switchable model as onnxruntime-genai feeds it; both read the same file of weights.

    Raises:
        UnsupportedError: A slot has no neutral, so that there is nothing to run without an adapter.
    """
    filled = bare.fill(manifest.slots, {}, neutrals)
    if bare_slots := [slot.name for slot in manifest.slots if slot.name not in filled]:
        raise UnsupportedError.collect(
            "onnxruntime-genai runs the base where no adapter is active, and the base lacks:", bare_slots
        )
    graph = ir.load(model)
    genai.adjust(graph, filled)
    ir.save(graph, folder / target)


def configuration(manifest: Manifest, config: Any) -> dict[str, Any]:
    """Returns `genai_config.json`: greedy, and as many tokens as the model takes.

    Source: the `Config` of onnxruntime-genai (`src/config.cpp`); what its own model builder writes.
    """
    assert manifest.generation is not None  # `check_task` has seen to it
    known = decoder((tensor.name, tensor.shape) for tensor in manifest.inputs)
    heads, width = next(iter(known.layers.values()))
    length = manifest.generation.positions or MOST_POSITIONS
    vocabulary = int(next(tensor.shape[-1] for tensor in manifest.outputs if tensor.name == "logits"))
    ends = [token for token in manifest.generation.eos_ids if token < vocabulary]  # others never come
    inputs = {tensor.name: tensor.name for tensor in manifest.inputs if tensor.name in FED}
    sizes = {
        "hidden_size": getattr(config, "hidden_size", None),
        "num_attention_heads": getattr(config, "num_attention_heads", None),
    }
    tokens = {
        "bos_token_id": _token(vocabulary, getattr(config, "bos_token_id", None)),
        "pad_token_id": _token(vocabulary, getattr(config, "pad_token_id", None), *ends, 0),
    }
    return {
        "model": {
            "type": TYPE,
            "vocab_size": vocabulary,
            "context_length": length,
            "eos_token_id": ends,
            **{name: token for name, token in tokens.items() if token is not None},
            "decoder": {
                "filename": GRAPH,
                "session_options": {"provider_options": []},
                "head_size": width,
                "num_hidden_layers": len(known.layers) // 2,
                "num_key_value_heads": heads,
                **{name: size for name, size in sizes.items() if isinstance(size, int)},
                "inputs": {
                    **inputs,
                    "past_key_names": f"{PAST}%d.key",
                    "past_value_names": f"{PAST}%d.value",
                },
                "outputs": {
                    "logits": "logits",
                    "present_key_names": f"{PRESENT}%d.key",
                    "present_value_names": f"{PRESENT}%d.value",
                },
            },
        },
        "search": {
            "do_sample": False,
            "max_length": length,
            "past_present_share_buffer": known.cache == "shared",
        },
    }


def _token(vocabulary: int, *candidates: Any) -> int | None:
    """Returns the first candidate that is a token."""
    return next((each for each in candidates if isinstance(each, int) and 0 <= each < vocabulary), None)


def is_written(folder: Path) -> bool:
    """Tells whether onnxruntime-genai loads a bundle's folder."""
    return (folder / CONFIG).is_file()


def graph_name(folder: Path) -> str:
    """Returns the name of the graph that a bundle's configuration for onnxruntime-genai has.

    Raises:
        BundleError: It is damaged.
    """
    return str(_read(folder)["model"]["decoder"]["filename"])


def point_to(folder: Path, graph: str) -> None:
    """Replaces a bundle's configuration for onnxruntime-genai by one that loads another graph.

    Raises:
        BundleError: It is damaged.
    """
    found = _read(folder)
    found["model"]["decoder"]["filename"] = graph
    bundle.replace_file(folder / CONFIG, (json.dumps(found, indent=2) + "\n").encode())


def _read(folder: Path) -> Any:
    try:
        found = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        file = found["model"]["decoder"]["filename"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{folder / CONFIG} is damaged: {error}.\nExport the bundle again.") from error
    if not isinstance(file, str) or Path(file).name != file:
        raise BundleError(f"{folder / CONFIG} names no file of its folder as its graph: {file!r}.")
    return found


def files(folder: Path) -> tuple[str, ...]:
    """Returns the names of a bundle's graph and configuration for onnxruntime-genai, or nothing without these."""
    return (CONFIG, graph_name(folder)) if is_written(folder) else ()

"""Reads an AdapterHub folder (the `adapters` library): configuration, tensors, prediction head. No torch is needed.

Tensors get the names that the readers in `methods` know: without the adapter's own name, and at the linear layer that
ends a sublayer where AdapterHub names the sublayer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeadapt.adapter import Array
from edgeadapt.errors import CheckpointError, UnsupportedError, listed
from edgeadapt.exporter import adapterhub_places, heads, tensor_files
from edgeadapt.exporter.checkpoint import CONFIG, Checkpoint, Part
from edgeadapt.methods import invertible

WEIGHTS, PICKLE = "adapter.safetensors", "pytorch_adapter.bin"

SUBLAYERS: Mapping[str, Mapping[str, str]] = {
    "albert": {"attention_adapters": "dense.swapped", "output_adapters": "ffn_output"},
    "beit": {"attention_adapters": "attention.output.dense", "output_adapters": "output.dense"},
    "bert": {"": "dense"},
    "bert-generation": {"": "dense"},
    "deberta-v2": {"": "dense"},
    "distilbert": {"attention_adapters": "attention.out_lin", "output_adapters": "ffn.lin2"},
    "electra": {"": "dense"},
    "gpt2": {"attention_adapters": "attn.c_proj", "output_adapters": "mlp.c_proj"},
    "llama": {"attention_adapters": "self_attn.o_proj", "output_adapters": "mlp.down_proj"},
    "mistral": {"attention_adapters": "self_attn.o_proj", "output_adapters": "mlp.down_proj"},
    "roberta": {"": "dense"},
    "vit": {"attention_adapters": "attention.output.dense", "output_adapters": "dense"},
    "xlm-roberta": {"": "dense"},
}
"""For each architecture the linear layer that ends a sublayer, by the module in which AdapterHub puts its adapters: a
module of their own, or (the empty name) the sublayer's. `swapped` says that the library takes the residual for the
layer's output and the other way round (`AlbertAttentionWithAdapters.forward`). Source:
`adapters.models.<architecture>.mixin_*` and `modeling_*`."""

TYPES: Mapping[str | None, str] = {
    None: "bottleneck",
    "lora": "lora",
    "mtl_lora": "lora",
    "prefix_tuning": "prefix_tuning",
    "prompt_tuning": "prompt_tuning",
}
"""AdapterHub's architectures, and the types of the readers that read them."""

INTERFACE = "adapter_interface.json"
UNSUPPORTED: Mapping[str, str] = {
    "deberta": "adapters 1.3.0 adds a bias to its attention that is drawn at random whenever a model is made, and that "
    "no adapter saves; train a deberta-v2, or the adapter with PEFT",
    "xmod": "adapters 1.3.0 takes the base's own language adapters out of it; train an xlm-roberta",
}
"""Why adapters of an architecture can't be done. Source: `LoRAMergedLinear.wrap`, which makes the bias that
`DisentangledSelfAttention.in_proj` doesn't have; `XmodModelAdaptersMixin.init_adapters`."""
PRE_NORM = frozenset({"beit", "gpt2", "llama", "mistral", "vit"})
"""The architectures in which no norm follows the sum with a residual."""
UNREAD: Mapping[str, str] = {
    "reft": "it changes tokens by their place from the first or the last one that is no padding, and what is at a "
    "module doesn't say which those are",
}
"""Why a method can't be done."""


def is_folder(folder: Path) -> bool:
    """Tells whether a folder is one that AdapterHub saved."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and "config" in config and "peft_type" not in config


def read(folder: Path, *, allow_pickle: bool = False) -> Checkpoint:
    """Reads an AdapterHub adapter's folder.

    Args:
        folder: Holds `adapter_config.json` and `adapter.safetensors` (or `pytorch_adapter.bin`), and for a head
            `head_config.json` and its weights.
        allow_pickle: Permits `.bin` files, which can run code, to be loaded in a process of their own.

    Raises:
        CheckpointError: A file is missing, is a git-lfs pointer, is damaged, or holds NaN or Inf.
        PickleError: The weights are a pickle and `allow_pickle` is not given.
        UnsupportedError: The adapter's architecture, or the model's, is not one that edgeadapt can do exactly.
    """
    own = read_member(folder, allow_pickle=allow_pickle)
    head = heads.read(folder, own.config["model_type"], allow_pickle=allow_pickle)
    tensor_files.refuse_infinite(folder, head.tensors)
    tensors = {**own.tensors, **head.tensors}
    return replace(own, tensors=tensors, labels=head.labels, problem_type=head.problem_type, head=head.record)


def read_member(folder: Path, *, allow_pickle: bool) -> Checkpoint:
    """Reads an adapter without its head; raises as `read` does."""
    config = tensor_files.read_json(folder / CONFIG)
    name, model_type = config.get("name"), config.get("model_type")
    if not isinstance(config.get("config"), dict) or not isinstance(name, str) or not isinstance(model_type, str):
        raise CheckpointError(f"{folder / CONFIG} is not AdapterHub's: it lacks config, name or model_type.")
    if (folder / INTERFACE).is_file():
        raise UnsupportedError(
            f"{folder} has an {INTERFACE}: its adapter is put into the model by an interface of your own, which "
            "edgeadapt can't follow.\nTrain it in a model that the library supports itself."
        )
    parts = _parts(folder, config)
    if model_type not in SUBLAYERS:
        why = f": {UNSUPPORTED[model_type]}" if model_type in UNSUPPORTED else ""
        raise UnsupportedError(
            f"{folder}: AdapterHub's adapters of {model_type} are not supported{why}.\n"
            f"Supported: {listed(sorted(SUBLAYERS))}."
        )
    if model_type in PRE_NORM and any(each.config.get("residual_before_ln") == "post_add" for each in parts):
        raise UnsupportedError(
            f"{folder}: residual_before_ln = 'post_add' has no meaning in {model_type}, whose sums no norm follows."
        )
    if model_type == "gpt2" and any(each.config.get("use_dora") for each in parts):
        raise UnsupportedError(
            f"{folder}: use_dora: adapters 1.3.0 measures the weights of {model_type} along the other axis, or not at "
            "all; train a LoRA, or the DoRA with PEFT."
        )
    stored = tensor_files.read(folder, WEIGHTS, PICKLE, allow_pickle=allow_pickle)
    problems: list[str] = []
    tensors: dict[str, Array] = {}
    for stored_name, tensor in stored.items():
        plain = _plain(stored_name, name, SUBLAYERS[model_type])
        if plain is None:
            problems.append(f"{stored_name}: no tensor of {name!r}")
        else:
            tensors[plain] = tensor
    if problems:
        raise CheckpointError.collect(f"{folder} holds tensors that edgeadapt doesn't know:", problems)
    tensor_files.refuse_infinite(folder, tensors)
    parts = adapterhub_places.assigned(parts, tensors, model_type, problems)
    if problems:
        raise CheckpointError.collect(f"{folder} holds other tensors than its {CONFIG} asks for:", problems)
    return Checkpoint(folder, config, tensors, None, None, "adapterhub", parts)


def _parts(folder: Path, record: Mapping[str, Any]) -> tuple[Part, ...]:
    """Returns the methods of an adapter; a union has several, and a bottleneck may come with an invertible adapter."""
    config = record["config"]
    members = config["configs"] if config.get("architecture") == "union" else [config]
    unknown = [str(each.get("architecture")) for each in members if each.get("architecture") not in TYPES]
    if unknown:
        known = [str(each) for each in TYPES if each is not None]
        why = "".join(f" ({UNREAD[each]})" for each in unknown if each in UNREAD)
        raise UnsupportedError(
            f"{folder}: AdapterHub's {listed(unknown)} is not supported{why}. Supported: bottlenecks, {listed(known)}, "
            "and unions of these."
        )
    if dtypes := {str(each["dtype"]) for each in members if each.get("dtype") not in (None, "float32")}:
        raise UnsupportedError(
            f"{folder}: dtype = {listed(sorted(dtypes))}: adapters 1.3.0 can't run it over a base in float32.\n"
            "Export a copy whose tensors are float32, with dtype set to null."
        )
    parts = [Part(TYPES[each.get("architecture")], each) for each in members]
    for each in members:
        if each.get("inv_adapter"):
            taken = {key: value for key, value in each.items() if key in invertible.FIELDS}
            parts.append(Part(invertible.TYPE, {**taken, "model_class": record.get("model_class")}))
    return tuple(parts)


def end_of(module: str, ends: Mapping[str, str]) -> str:
    """Returns the linear layer that ends a sublayer, by the module in which AdapterHub has what it adds to it."""
    outer, _, last = module.rpartition(".")
    return f"{outer}.{ends[last]}" if last in ends else f"{module}.{ends.get('', '')}"


def _plain(name: str, adapter: str, ends: Mapping[str, str]) -> str | None:
    """Returns a tensor's name as the readers know it, or None where it isn't this adapter's.

    Example:
        >>> _plain("bert.encoder.layer.0.output.adapters.fr.adapter_up.bias", "fr", {"": "dense"})
        'bert.encoder.layer.0.output.dense.adapters.adapter_up.bias'
        >>> _plain("h.0.output_adapters.adapters.fr.adapter_up.bias", "fr", {"output_adapters": "mlp.c_proj"})
        'h.0.mlp.c_proj.adapters.adapter_up.bias'
    """
    own = re.escape(adapter)
    if match := re.fullmatch(rf"(.*)\.adapters\.{own}\.(.*)", name):
        module, tensor = match.groups()
        return f"{end_of(module, ends)}.adapters.{tensor}"
    if match := re.fullmatch(rf"(.*)\.loras\.{own}\.(.*)", name):
        return ".loras.".join(match.groups())
    if match := re.fullmatch(rf"(?:.*\.)?shared_parameters\.{own}\.(.*)", name):
        return f"shared_parameters.{match.group(1)}"
    if match := re.fullmatch(rf"(?:.*\.)?prefix_tuning\.(?:pool\.)?prefix_tunings\.{own}\.(.*)", name):
        return f"prefix_tunings.{match.group(1)}"
    if match := re.fullmatch(rf"(.*)\.prefix_tuning\.prefix_gates\.{own}\.(.*)", name):
        return ".prefix_gates.".join(match.groups())
    if match := re.fullmatch(rf"(?:.*\.)?(prompt_tunings|invertible_adapters)\.{own}\.(.*)", name):
        return ".".join(match.groups())
    return None

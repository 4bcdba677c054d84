"""Where AdapterHub's configurations put their tensors: each module they ask for has some, and no other has any.

The library loads a checkpoint that lacks some with a warning, and leaves what it lacks untrained.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from edgeadapt.exporter.checkpoint import Part
from edgeadapt.methods import adapterhub_lora, bottleneck

MARKS: Mapping[str, str] = {bottleneck.TYPE: ".adapters.", adapterhub_lora.TYPE: ".loras."}
"""What stands between module and tensor, by the type of the methods that have places."""
NAMES: Mapping[str, str] = {bottleneck.TYPE: "a bottleneck", adapterhub_lora.TYPE: "a LoRA"}

BERT: Mapping[str, str] = {
    "mh_adapter": "attention.output.dense",
    "output_adapter": "output.dense",
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "intermediate_lora": "intermediate.dense",
    "output_lora": "output.dense",
}
LLAMA: Mapping[str, str] = {
    "mh_adapter": "self_attn.o_proj",
    "output_adapter": "mlp.down_proj",
    "q": "self_attn.q_proj",
    "k": "self_attn.k_proj",
    "v": "self_attn.v_proj",
    "intermediate_lora": "mlp.down_proj",
    "output_lora": "mlp.up_proj",
}
VIT: Mapping[str, str] = {
    **BERT,
    "q": "attention.attention.query",
    "k": "attention.attention.key",
    "v": "attention.attention.value",
}

PLACES: Mapping[str, Mapping[str, str]] = {
    "albert": {
        "mh_adapter": "attention.dense",
        "output_adapter": "ffn_output",
        "q": "attention.query",
        "k": "attention.key",
        "v": "attention.value",
        "intermediate_lora": "ffn",
        "output_lora": "ffn_output",
    },
    "beit": VIT,
    "bert": BERT,
    "bert-generation": BERT,
    "deberta-v2": {
        **BERT,
        "q": "attention.self.query_proj",
        "k": "attention.self.key_proj",
        "v": "attention.self.value_proj",
    },
    "distilbert": {
        "mh_adapter": "attention.out_lin",
        "output_adapter": "ffn.lin2",
        "q": "attention.q_lin",
        "k": "attention.k_lin",
        "v": "attention.v_lin",
        "intermediate_lora": "ffn.lin1",
        "output_lora": "ffn.lin2",
    },
    "electra": BERT,
    "gpt2": {
        "mh_adapter": "attn.c_proj",
        "output_adapter": "mlp.c_proj",
        "q": "attn.c_attn",
        "k": "attn.c_attn",
        "v": "attn.c_attn",
        "intermediate_lora": "mlp.c_fc",
        "output_lora": "mlp.c_proj",
    },
    "llama": LLAMA,
    "mistral": LLAMA,
    "roberta": BERT,
    "vit": VIT,
    "xlm-roberta": BERT,
}
"""For each architecture the module within a layer, by the option that puts a method there. Source:
`adapters.models.<architecture>.mixin_*` (`init_adapters`)."""


def assigned(parts: Iterable[Part], names: Collection[str], model_type: str, problems: list[str]) -> tuple[Part, ...]:
    """Returns the parts of an adapter; where several are of one type, each with the modules that are its own.

    Args:
        parts: The parts. Only unions have several of one type.
        names: The tensors' plain names.
        model_type: The architecture that the adapter was trained in.
        problems: What a configuration asks for and isn't there, or is there and isn't asked for, is added here.
    """
    found = list(parts)
    for kind, mark in MARKS.items():
        own = [number for number, part in enumerate(found) if part.type == kind]
        modules = {_module(name, mark) for name in names if mark in name}
        owners: dict[int, set[str]] = {number: set() for number in own}
        for module in sorted(modules):
            asking = [
                number
                for number in own
                if _tail(module) in _wanted(found[number], model_type).values()
                and (len(own) == 1 or _layer(module) not in (found[number].config.get("leave_out") or ()))
            ]
            if len(asking) == 1:
                owners[asking[0]].add(module)
            else:
                said = "several parts of its configuration ask" if asking else "its configuration doesn't ask"
                problems.append(f"{module}: has {NAMES[kind]}, but {said} for it")
        for number, there in owners.items():
            tails = {_tail(module) for module in there}
            problems += [
                f"{tail}: has no {NAMES[kind][2:]} in any layer, but its configuration asks for it ({place})"
                for place, tail in _wanted(found[number], model_type).items()
                if tail not in tails
            ]
            if len(own) > 1:
                found[number] = replace(found[number], modules=frozenset(there))
    return tuple(found)


def _wanted(part: Part, model_type: str) -> dict[str, str]:
    """Returns the modules within a layer that a configuration asks for, by option."""
    config, places = part.config, PLACES[model_type]
    if part.type == bottleneck.TYPE:
        return {place: places[place] for place in ("mh_adapter", "output_adapter") if config.get(place)}
    asked = [place for place in ("intermediate_lora", "output_lora") if config.get(place)]
    if config.get("selfattn_lora", True):
        asked += [part for part in adapterhub_lora.PARTS if part in config.get("attn_matrices", ("q", "v"))]
    return {place: places[place] for place in asked}


def _module(name: str, mark: str) -> str:
    """Returns the module of a tensor, as the readers name it."""
    return name.partition(mark)[0].removesuffix(bottleneck.SWAPPED)


def _tail(module: str) -> str:
    """Returns a module's path within its layer.

    Example:
        >>> _tail("encoder.layer.11.attention.output.dense")
        'attention.output.dense'
    """
    return re.sub(r"^(.*\.)?\d+\.", "", module)


def _layer(module: str) -> int:
    """Returns the number of a module's layer."""
    found = re.search(r"(?:^|\.)(\d+)\.", module)
    return int(found.group(1)) if found else -1

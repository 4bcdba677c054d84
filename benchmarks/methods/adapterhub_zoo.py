"""One adapter of every method that AdapterHub's `adapters` trains, and every way of putting some together."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.methods.cases import Case, Setup

UNEVEN = "refused: adapters 1.3.0 masks its {} there so that a row's answer depends on the others in its batch"
PREFIXES = {
    **dict.fromkeys(("gpt2", "llama"), UNEVEN.format("prefixes")),
    "electra": "refused: in transformers 4.57 ELECTRA's attention is no single operator, before whose keys others fit",
}
PROMPTS = {
    **dict.fromkeys(("bert", "roberta", "minilm"), UNEVEN.format("prompts")),
    **dict.fromkeys(("gpt2", "llama"), "the library puts no prompts there"),
    "vit": "refused: AdapterHub's prompts are supported in ELECTRA alone",
}
EMBEDDINGS = {
    "gpt2": "refused: no single module gives GPT-2's embeddings, after which the library puts it",
    "vit": "the library puts it after the embeddings of tokens",
}
JOINED = {"gpt2": "the library's own fails at a layer that holds query, key and value together"}
HEADS = dict.fromkeys(
    ("gpt2", "llama"), "refused: the library's head, which it needs here, has a bias, and that of transformers has none"
)

PARTS = "as its parts together"
PFEIFFER = "bottleneck of Pfeiffer, reduction 16"
RANK_8 = "LoRA, rank 8, query and value"


def _hub(kind: str, **options: Any) -> Callable[[str], Any]:
    """Returns what makes AdapterHub's configuration of this name."""
    return lambda family: getattr(importlib.import_module("adapters"), f"{kind}Config")(**options)


MEMBERS: Mapping[str, Callable[[str], Any]] = {
    "a": _hub("SeqBn", reduction_factor=4),
    "b": _hub("SeqBn", reduction_factor=2, non_linearity="gelu"),
    "c": _hub("SeqBn", reduction_factor=8, scaling="learned"),
}


def _setup(kind: str, **options: Any) -> Callable[[str], Setup]:
    """Returns what puts three bottlenecks together."""
    return lambda family: Setup({name: make(family) for name, make in MEMBERS.items()}, (kind, *MEMBERS), options)


CASES: tuple[Case, ...] = (
    Case("bottleneck of Pfeiffer (seq_bn)", "bottleneck", _hub("SeqBn", reduction_factor=4), PFEIFFER),
    Case(
        "bottleneck of Houlsby (double_seq_bn)", "bottleneck", _hub("DoubleSeqBn", reduction_factor=4),
        "bottleneck of Houlsby, reduction 16",
    ),
    Case(
        "parallel bottleneck (par_bn)", "bottleneck", _hub("ParBn", reduction_factor=4),
        "parallel bottleneck, reduction 2",
    ),
    Case(
        "compacter, own rules", "compacter", _hub("Compacter", reduction_factor=4, shared_phm_rule=False),
        "bottleneck of Houlsby, reduction 16",
    ),
    Case(
        "compacter, shared rules, with a head", "compacter", _hub("Compacter", reduction_factor=4),
        "bottleneck of Houlsby, reduction 16", HEADS, head=True,
    ),
    Case(
        "invertible adapter with a bottleneck (MAD-X)", "invertible", _hub("SeqBnInv", reduction_factor=4),
        "invertible adapter, reduction 2", EMBEDDINGS,
    ),
    Case("stack of three bottlenecks", "composition", _setup("Stack"), "stack of three, reduction 16"),
    Case(
        "average of three bottlenecks", "composition", _setup("Average", weights=[0.5, 0.2, 0.3]),
        "average of three, reduction 16",
    ),
    Case("AdapterFusion of three bottlenecks", "composition", _setup("Fuse"), "fusion of three, reduction 16"),
    Case("LoRA (AdapterHub)", "adapterhub_lora", _hub("LoRA", r=4, alpha=8), RANK_8),
    Case(
        "gated LoRA (AdapterHub)", "gated_lora", _hub("LoRA", r=4, alpha=8, use_gating=True),
        "gated LoRA, rank 8, query and value",
    ),
    Case("IA3 (AdapterHub)", "adapterhub_lora", _hub("IA3"), "IA3"),
    Case("gated IA3 (AdapterHub)", "gated_ia3", _hub("IA3", use_gating=True), "gated IA3"),
    Case(
        "MTL-LoRA, one task of it (AdapterHub)", "adapterhub_lora", _hub("MTLLoRA", r=4, alpha=8), RANK_8,
        {"gpt2": "refused: the library can't put it on a layer that holds query, key and value together"},
    ),
    Case(
        "DoRA (AdapterHub)", "adapterhub_lora", _hub("DoRA", r=4, alpha=8), "DoRA, rank 8, query and value", JOINED
    ),
    Case(
        "VeRA (AdapterHub), with a head", "adapterhub_lora", _hub("Vera", r=8),
        "as a LoRA of the rank that is stored", HEADS, head=True,
    ),
    Case(
        "prefix tuning (AdapterHub)", "adapterhub_prefix",
        _hub("PrefixTuning", prefix_length=5, bottleneck_size=16), "prefix of 30", PREFIXES,
    ),
    Case(
        "gated prefix (AdapterHub)", "gated_prefix",
        _hub("PrefixTuning", prefix_length=5, bottleneck_size=16, use_gating=True), "gated prefix of 30", PREFIXES,
    ),
    Case(
        "prompt tuning (AdapterHub)", "adapterhub_prompt", _hub("PromptTuning", prompt_length=5),
        "late prompt of 20", PROMPTS, apart=True,
    ),
    Case("Mix-and-Match (mam)", "bottleneck", _hub("MAM"), PARTS, PREFIXES),
    Case("UniPELT", "gated_lora", _hub("UniPELT"), PARTS, PREFIXES),
)  # fmt: skip

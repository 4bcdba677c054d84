"""One adapter of every method that PEFT trains."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from benchmarks.methods.cases import Case, attention, last, norms, outward

CONV1D = {"gpt2": "PEFT puts it on `Linear` layers, and GPT-2's are `Conv1D`"}
IMAGES = {"vit": "it is about tokens, and an image has none"}
RANK_8 = "LoRA, rank 8, query and value"
AS_STORED = "as a LoRA of the rank that is stored"


def _peft(kind: str, *, targets: bool = True, **options: Any) -> Callable[[str], Any]:
    """Returns what makes PEFT's configuration of this name, at the attention."""

    def make(family: str) -> Any:
        given = {"target_modules": attention(family)} if targets else {}
        return getattr(importlib.import_module("peft"), f"{kind}Config")(**{**given, **options})

    return make


def _turned(kind: str, **options: Any) -> Callable[[str], Any]:
    """Returns what makes a configuration that must be told of GPT-2's transposed layers."""
    return lambda family: _peft(kind, fan_in_fan_out=family == "gpt2", **options)(family)


def _biases(family: str) -> Any:
    """Trains every bias there is; those of a ViT's patches are a convolution's, and Llama has those of its LoRAs."""
    biases: dict[str, dict[str, Any]] = {"vit": {"bias": "lora_only"}, "llama": {"lora_bias": True}}
    own = biases.get(family, {"bias": "all"})
    return _turned("Lora", r=8, lora_alpha=16, **own)(family)


def _whole(family: str) -> Any:
    return _turned("Lora", r=8, lora_alpha=16, modules_to_save=[last(family)])(family)


def _head(family: str) -> Any:
    own = {"modules_to_save": ["classifier"]} if family == "vit" else {"task_type": "SEQ_CLS"}
    return _turned("Lora", r=8, lora_alpha=16, **own)(family)


def _ia3_inputs(family: str) -> Any:
    names: Any = dict.fromkeys(("target_modules", "feedforward_modules"), outward(family))
    return _peft("IA3", fan_in_fan_out=family == "gpt2", **names)(family)


def _norms(family: str) -> Any:
    return _peft("LNTuning", target_modules=norms(family))(family)


def _tokens(family: str) -> Any:
    """Trains the commonest words of a vocabulary, which are in the sentences of the parity case."""
    common = [1010, 1012, *range(1990, 2070)] if family == "minilm" else [5, *range(40, 80)]
    return _peft("TrainableTokens", targets=False, token_indices=common)(family)


PROMPTED: dict[str, Any] = {"targets": False, "num_virtual_tokens": 2, "task_type": "FEATURE_EXTRACTION"}

CASES: tuple[Case, ...] = (
    Case("LoRA", "lora", _turned("Lora", r=8, lora_alpha=16), RANK_8),
    Case("LoRA with trained biases", "bias", _biases, "trained biases, all layers"),
    Case("LoRA with a layer trained whole", "modules_to_save", _whole, "as a LoRA; the layer takes the base's place"),
    Case("LoRA with a trained head", "modules_to_save", _head, RANK_8, head=True),
    Case("DoRA", "dora", _turned("Lora", r=8, lora_alpha=16, use_dora=True), "DoRA, rank 8, query and value"),
    Case("IA3 at the attention", "ia3", _turned("IA3", feedforward_modules=[]), "IA3"),
    Case("IA3 at feed-forward inputs", "ia3_ff", _ia3_inputs, "IA3"),
    Case("AdaLoRA", "adalora", _turned("AdaLora", init_r=4, lora_alpha=8, total_step=10), AS_STORED),
    Case("LoHa", "loha", _peft("LoHa", r=3), AS_STORED, CONV1D),
    Case("LoKr", "lokr", _peft("LoKr", r=3), AS_STORED, CONV1D),
    Case("VeRA", "vera", _turned("Vera", r=16, save_projection=True), AS_STORED),
    Case("OFT", "oft", _peft("OFT", oft_block_size=8), "OFT, blocks of 32, query and value", CONV1D),
    Case("BOFT", "boft", _peft("BOFT", boft_block_size=4), "BOFT, blocks of 32, query and value", CONV1D),
    Case("LN tuning", "ln_tuning", _norms, "LN tuning"),
    Case("trained tokens", "trainable_tokens", _tokens, "100 trained tokens", IMAGES),
    Case(
        "prefix tuning (PEFT)", "prefix", _peft("PrefixTuning", **PROMPTED), "prefix of 30",
        {"vit": "PEFT hands prefixes to models of text"},
    ),
    Case("prompt tuning (PEFT)", "prompt", _peft("PromptTuning", **PROMPTED), "prompt of 20", IMAGES),
    Case("p-tuning", "p_tuning", _peft("PromptEncoder", encoder_hidden_size=24, **PROMPTED), "prompt of 20", IMAGES),
    Case("HRA, by PEFT's merge", "lora", _peft("HRA", r=4), AS_STORED, CONV1D),
    Case("SHiRA, by PEFT's merge", "lora", _peft("Shira", r=3), AS_STORED, CONV1D),
    Case("FourierFT, by PEFT's merge", "lora", _turned("FourierFT", n_frequency=60, scaling=100.0), AS_STORED),
)  # fmt: skip

"""One adapter of every method that PEFT and AdapterHub train, for every kind of base it goes on."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

FAMILIES = ("bert", "roberta", "vit", "gpt2", "llama", "minilm")
TEXT = ("bert", "roberta", "gpt2", "llama", "minilm")
ENCODERS = ("bert", "roberta", "minilm")
NOT_CONV1D = ("bert", "roberta", "vit", "llama", "minilm")

ATTENTION = {"gpt2": ["c_attn"], "llama": ["q_proj", "v_proj"], "vit": ["q_proj", "v_proj"]}
INWARD = {"gpt2": ["c_fc"], "llama": ["up_proj"], "vit": ["fc1"]}
OUTWARD = {"gpt2": ["mlp.c_proj"], "llama": ["down_proj"], "vit": ["fc2"]}
NORMS = {"gpt2": ["ln_1"], "llama": ["input_layernorm"], "vit": ["layernorm_before"]}
EMBEDDINGS = {"gpt2": "wte", "llama": "embed_tokens"}


@dataclass(frozen=True, slots=True)
class Case:
    """A method on the bases it goes on.

    Attributes:
        title: What it is.
        form: The file in `edgeadapt/methods/` that has its formula.
        make: Returns the library's configuration for a family, with its modules.
        families: The bases it goes on.
    """

    title: str
    form: str
    make: Callable[[str], Any]
    families: tuple[str, ...] = FAMILIES


def attention(family: str) -> list[str]:
    """Returns the names of the projections of the attention."""
    return ATTENTION.get(family, ["query", "value"])


def _peft(kind: str, *, targets: bool = True, **options: Any) -> Callable[[str], Any]:
    """Returns what makes PEFT's configuration of this name, at the attention."""

    def make(family: str) -> Any:
        given = {"target_modules": attention(family)} if targets else {}
        return getattr(importlib.import_module("peft"), f"{kind}Config")(**{**given, **options})

    return make


def _turned(kind: str, **options: Any) -> Callable[[str], Any]:
    """Returns what makes a configuration that must be told of GPT-2's transposed layers."""
    return lambda family: _peft(kind, fan_in_fan_out=family == "gpt2", **options)(family)


def _ia3(family: str) -> Any:
    outward = OUTWARD.get(family, ["output.dense"])
    targets = attention(family) + outward
    turned = family == "gpt2"
    return _peft("IA3", target_modules=targets, feedforward_modules=outward, fan_in_fan_out=turned)(family)


def _norms(family: str) -> Any:
    return _peft("LNTuning", target_modules=NORMS.get(family, ["output.LayerNorm"]))(family)


def _tokens(family: str) -> Any:
    """Trains the commonest words of a vocabulary, which are in the sentences of the parity case."""
    common = [1010, 1012, *range(1990, 2070)] if family == "minilm" else [5, *range(40, 80)]
    return _peft("TrainableTokens", targets=False, token_indices=common)(family)


PROMPTED: dict[str, Any] = {"targets": False, "num_virtual_tokens": 2, "task_type": "FEATURE_EXTRACTION"}

PEFT: tuple[Case, ...] = (
    Case("LoRA", "lora", _turned("Lora", r=8, lora_alpha=16)),
    Case("DoRA", "dora", _turned("Lora", r=8, lora_alpha=16, use_dora=True)),
    Case("IA3", "ia3", _ia3),
    Case("LoHa", "loha", _peft("LoHa", r=3), NOT_CONV1D),
    Case("LoKr", "lokr", _peft("LoKr", r=3), NOT_CONV1D),
    Case("VeRA", "vera", _turned("Vera", r=16, save_projection=True)),
    Case("AdaLoRA", "adalora", _turned("AdaLora", init_r=4, lora_alpha=8, total_step=10)),
    Case("OFT", "oft", _peft("OFT", oft_block_size=8), NOT_CONV1D),
    Case("BOFT", "boft", _peft("BOFT", boft_block_size=4), NOT_CONV1D),
    Case("LN tuning", "ln_tuning", _norms),
    Case(
        "trained tokens",
        "trainable_tokens",
        _tokens,
        TEXT,
    ),
    Case("prefix tuning (PEFT)", "prefix", _peft("PrefixTuning", **PROMPTED), (*ENCODERS, "gpt2")),
    Case("prompt tuning", "prompt", _peft("PromptTuning", **PROMPTED), TEXT),
    Case("p-tuning", "p_tuning", _peft("PromptEncoder", encoder_hidden_size=24, **PROMPTED), TEXT),
    Case("HRA, by PEFT's merge", "lora", _peft("HRA", r=4), NOT_CONV1D),
    Case("SHiRA, by PEFT's merge", "lora", _peft("Shira", r=3), NOT_CONV1D),
    Case("FourierFT, by PEFT's merge", "lora", _turned("FourierFT", n_frequency=60, scaling=100.0), NOT_CONV1D),
)


def _hub(kind: str, **options: Any) -> Callable[[str], Any]:
    """Returns what makes AdapterHub's configuration of this name."""
    return lambda family: getattr(importlib.import_module("adapters"), f"{kind}Config")(**options)


MASKED = ("bert", "roberta", "vit", "minilm")
"""Where AdapterHub's library masks prefixes as it should."""

HUB: tuple[Case, ...] = (
    Case("bottleneck of Pfeiffer (seq_bn)", "bottleneck", _hub("SeqBn", reduction_factor=4)),
    Case("bottleneck of Houlsby (double_seq_bn)", "bottleneck", _hub("DoubleSeqBn", reduction_factor=4)),
    Case("parallel bottleneck (par_bn)", "bottleneck", _hub("ParBn", reduction_factor=4)),
    Case(
        "compacter, own rules",
        "compacter",
        _hub("Compacter", reduction_factor=4, shared_phm_rule=False),
    ),
    Case("LoRA (AdapterHub)", "adapterhub_lora", _hub("LoRA", r=4, alpha=8)),
    Case("IA3 (AdapterHub)", "adapterhub_lora", _hub("IA3")),
    Case("prefix tuning (AdapterHub)", "prefix", _hub("PrefixTuning", prefix_length=5, bottleneck_size=16), MASKED),
    Case("Mix-and-Match (mam)", "prefix", _hub("MAM"), MASKED),
    Case("UniPELT", "gated_lora", _hub("UniPELT"), MASKED),
)

LIBRARIES: Mapping[str, tuple[Case, ...]] = {"peft": PEFT, "adapters": HUB}

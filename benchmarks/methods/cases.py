"""What a case of the methods' page is, the bases it goes on, and what their modules are called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

FAMILIES = ("bert", "roberta", "electra", "vit", "gpt2", "llama", "minilm")
POSITIONS = 160
ROOMY: Mapping[str, dict[str, Any]] = {
    "bert": {"max_position_embeddings": POSITIONS},
    "roberta": {"max_position_embeddings": POSITIONS},
    "electra": {"max_position_embeddings": POSITIONS, "embedding_size": 32},
    "gpt2": {"n_positions": POSITIONS},
    "llama": {"max_position_embeddings": POSITIONS, "initializer_range": 0.1},
}
"""Options of tiny bases: room for the longest sample, a prompt and a prefix; embeddings as wide as the layers; weights
that keep small what a Llama adds up without a norm, so that float32 has digits left for it.
"""

ATTENTION = {"gpt2": ["c_attn"], "llama": ["q_proj", "v_proj"], "vit": ["q_proj", "v_proj"]}
OUTWARD = {"gpt2": ["mlp.c_proj"], "llama": ["down_proj"], "vit": ["fc2"]}
NORMS = {"gpt2": ["ln_1"], "llama": ["input_layernorm"], "vit": ["layernorm_before"]}
LAST = {
    "gpt2": "h.1.mlp.c_proj", "llama": "layers.1.mlp.down_proj", "vit": "layers.1.mlp.fc2",
    "minilm": "encoder.layer.5.output.dense",
}  # fmt: skip
"""The last linear layer."""

Library = Literal["peft", "adapters", "torch"]
"""What trains a method, and says what is right: `torch` where it is the module itself."""


@dataclass(frozen=True, slots=True)
class Setup:
    """Adapters of AdapterHub put together, as `tests.hub.setup` writes them.

    Attributes:
        members: Their configurations by name.
        tree: How they are put together.
        options: Of the outermost composition.
    """

    members: Mapping[str, Any]
    tree: Any
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Case:
    """A method on the bases it goes on.

    Attributes:
        title: What it is.
        form: The file in `edgeadapt/methods/` that has its formula.
        make: Returns the library's configuration for a family, a `Setup`, or modules by site.
        cost: The case of the overhead measure that runs what this one runs, or in words what it costs.
        absent: Why it doesn't go on a family, by family.
        head: It is measured on a task with a head, which it brings.
        apart: It can't share a bundle with all the others.
    """

    title: str
    form: str
    make: Callable[[str], Any]
    cost: str
    absent: Mapping[str, str] = field(default_factory=dict)
    head: bool = False
    apart: bool = False

    @property
    def families(self) -> tuple[str, ...]:
        """The bases it goes on."""
        return tuple(family for family in FAMILIES if family not in self.absent)

    def task(self, family: str) -> str:
        """Returns the task that it is measured on."""
        if not self.head:
            return "feature-extraction"
        return "image-classification" if family == "vit" else "text-classification"


def attention(family: str) -> list[str]:
    """Returns the names of the projections of the attention."""
    return ATTENTION.get(family, ["query", "value"])


def outward(family: str) -> str | list[str]:
    """Returns what finds the last linear layers of the feed-forward blocks, as PEFT's `target_modules` has it."""
    return OUTWARD.get(family, r".*layer\.\d+\.output\.dense")


def norms(family: str) -> list[str]:
    """Returns the names of norms."""
    return NORMS.get(family, ["output.LayerNorm"])


def last(family: str) -> str:
    """Returns the path of the last linear layer."""
    return LAST.get(family, "encoder.layer.1.output.dense")

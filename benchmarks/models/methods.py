"""BERT-base with the slots of one method at a time, and random params to put in: the weights of one bundle for all.

A method's graph is the one that `edgeadapt add` writes; how long it takes depends on shapes and not on values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.models import bert

SELF = r"bert\.encoder\.layer\.\d+\.attention\.self"
LAYER = r"bert\.encoder\.layer\.\d+"


@dataclass(frozen=True, slots=True)
class Case:
    """A method as people use it.

    Attributes:
        title: What it is.
        places: For each of its forms a regular expression of the sites it is at.
        rank: Length of the free dimension: rank, bottleneck or prefix.
        target: The most that a run may take against the base's, or None.
        tokens: By how many tokens it lengthens the sequence.
    """

    title: str
    places: Mapping[str, str]
    rank: int
    target: float | None = None
    tokens: int = 0


CASES = (
    Case("LoRA, rank 8, query and value", {"lora": rf"{SELF}\.(query|value)"}, 8),
    Case("LoRA, rank 8, all linear layers", {"lora": rf"{LAYER}\..*(query|key|value|dense)"}, 8),
    Case("DoRA, rank 8, query and value", {"dora": rf"{SELF}\.(query|value)"}, 8),
    Case("IA3", {"ia3": rf"{SELF}\.(key|value)", "ia3_ff": rf"{LAYER}\.output\.dense"}, 1),
    Case("OFT, blocks of 32, query and value", {"oft-32": rf"{SELF}\.(query|value)"}, 1),
    Case(
        "bottleneck of Pfeiffer, reduction 16",
        {"bottleneck-relu-original_ln_before": rf"{LAYER}\.output\.dense"},
        48,
        1.06,
    ),
    Case(
        "bottleneck of Houlsby, reduction 16",
        {"bottleneck-swish": rf"{LAYER}\.(attention\.)?output\.dense"},
        48,
    ),
    Case("parallel bottleneck, reduction 2", {"bottleneck-relu-parallel": rf"{LAYER}\.output\.dense"}, 384),
    Case("gated LoRA, rank 8, query and value", {"gated_lora": rf"{SELF}\.(query|value)"}, 8),
    Case("LN tuning", {"modules_to_save": rf"{LAYER}\..*LayerNorm"}, 1),
    Case("100 trained tokens", {"trainable_tokens": r"bert\.embeddings\.word_embeddings"}, 100),
    Case("prefix of 30", {"prefix": SELF}, 30),
    Case("prompt of 20", {"prompt": r"bert\.embeddings\.word_embeddings"}, 20, tokens=20),
)


@dataclass(frozen=True, slots=True)
class Switched:
    """A case's model and what it is fed.

    Attributes:
        model: The base with the case's slots.
        params: An array for every slot, `(1, ...)`, by name.
        share: The method's multiplications over the base's, at 128 tokens.
    """

    model: Path
    params: Mapping[str, NDArray[np.float32]]
    share: float


def switched(case: Case, length: int = 128) -> Switched:
    """Writes the model of a case beside the base's weights, and returns it with its params."""
    import onnx_ir as ir

    from edgeadapt import methods
    from edgeadapt.exporter import assemble
    from edgeadapt.graph import sites
    from edgeadapt.graph.fold import base_weights

    bundle = bert.paths().bundle
    wirings = sites.read(bundle)
    pairs = [
        (name, form) for form, pattern in case.places.items() for name in wirings.sites if re.fullmatch(pattern, name)
    ]
    model = bundle / "benchmarked.onnx"
    assemble.write_switch(bundle, wirings, pairs, model.name)
    generator = np.random.default_rng(bert.SEED)
    params = {
        f"{site}.{param}": generator.normal(
            0, 0.02, [1 if dim == "rows" else case.rank if isinstance(dim, str) else dim for dim in shape]
        ).astype(np.float32)
        for site, form in pairs
        for param, shape in methods.get(form).shapes(wirings.sites[site].site).items()
    }
    params = {
        name: np.full_like(array, given) if (given := _given(name, case)) else array for name, array in params.items()
    }
    read = base_weights(ir.load(bundle / assemble.BASE))
    linear = [
        wiring for name, wiring in wirings.sites.items() if re.fullmatch(rf"{LAYER}\..*(query|key|value|dense)", name)
    ]
    layers = len({wiring.site.name.split(".")[3] for wiring in linear})
    base = sum(read(wiring)[0].size for wiring in linear) + layers * 2 * length * read(linear[0])[0].shape[0]
    return Switched(model, params, case.tokens / length + sum(array.size for array in params.values()) / base)


def _given(name: str, case: Case) -> float:
    """Returns what a param is filled with that says what is there, or 0 for one that is a weight."""
    return 1 if name.endswith("mask") else case.rank if name.endswith("prompt_length") else 0

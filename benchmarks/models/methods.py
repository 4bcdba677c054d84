"""BERT-base with the slots of one method at a time, and random params to put in: the weights of one bundle for all.

A method's graph is the one that `edgeadapt add` writes; how long it takes depends on shapes and not on values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from benchmarks.models import bert

if TYPE_CHECKING:
    import onnx_ir as ir

SELF = r"bert\.encoder\.layer\.\d+\.attention\.self"
LAYER = r"bert\.encoder\.layer\.\d+"


QUERY_VALUE, ENDS, ATTENTION_ENDS = (
    rf"{SELF}\.(query|value)",
    rf"{LAYER}\.output\.dense",
    rf"{LAYER}\.(attention\.)?output\.dense",
)
TOKENS, POSITIONS, EMBEDDED = (
    rf"bert\.embeddings\.{name}" for name in ("word_embeddings", "position_embeddings", "LayerNorm")
)
BLOCK = "relu-original_ln_before"
THREE = ",".join([BLOCK] * 3)
OWN, OWN_RANK = "0" * 12, 48
"""What a module of one's own is called, and how wide it is inside."""


@dataclass(frozen=True, slots=True)
class Case:
    """A method as people use it.

    Attributes:
        title: What it is.
        places: For each of its forms a regular expression of the sites it is at.
        rank: Length of the free dimension: rank, bottleneck or prefix.
        target: The most that a run may take against the base's, or None.
        tokens: By how many tokens it lengthens the sequence.
        on: It is switched on; a module of one's own costs next to nothing where it isn't.
    """

    title: str
    places: Mapping[str, str]
    rank: int
    target: float | None = None
    tokens: int = 0
    on: bool = True


CASES = (
    Case("LoRA, rank 8, query and value", {"lora": QUERY_VALUE}, 8),
    Case("LoRA, rank 8, all linear layers", {"lora": rf"{LAYER}\..*(query|key|value|dense)"}, 8),
    Case("DoRA, rank 8, query and value", {"dora": QUERY_VALUE}, 8),
    Case("IA3", {"ia3": rf"{SELF}\.(key|value)", "ia3_ff": ENDS}, 1),
    Case("gated IA3", {"gated_ia3": rf"{SELF}\.(key|value)"}, 1),
    Case("trained biases, all layers", {"bias": rf"{LAYER}\..*(query|key|value|dense|LayerNorm)"}, 1),
    Case("OFT, blocks of 32, query and value", {"oft-32": QUERY_VALUE}, 1),
    Case("BOFT, blocks of 32, query and value", {"oft-32": QUERY_VALUE, "dora": QUERY_VALUE}, 1),
    Case("LN tuning", {"modules_to_save": rf"{LAYER}\..*LayerNorm"}, 1),
    Case("100 trained tokens", {"trainable_tokens": TOKENS}, 100),
    Case("bottleneck of Pfeiffer, reduction 16", {f"bottleneck-{BLOCK}": ENDS}, 48, 1.06),
    Case("bottleneck of Houlsby, reduction 16", {"bottleneck-swish": ATTENTION_ENDS}, 48),
    Case("parallel bottleneck, reduction 2", {"bottleneck-relu-parallel": ENDS}, 384),
    Case("stack of three, reduction 16", {f"composition-stack({THREE})": ENDS}, 48),
    Case("average of three, reduction 16", {f"composition-average({THREE})": ENDS}, 48),
    Case("fusion of three, reduction 16", {f"composition-fuse({THREE})": ENDS}, 48),
    Case("invertible adapter, reduction 2", {"invertible-relu": EMBEDDED}, 192),
    Case("gated LoRA, rank 8, query and value", {"gated_lora": QUERY_VALUE}, 8),
    Case("prefix of 30", {"prefix": SELF}, 30),
    Case("gated prefix of 30", {"gated_prefix": SELF}, 30),
    Case("prompt of 20", {"prompt": TOKENS}, 20, tokens=20),
    Case("late prompt of 20", {"prompt": TOKENS, "position_shift": POSITIONS, "late_prompt": EMBEDDED}, 20, tokens=20),
    Case("module of one's own, on", {f"module-{OWN}": ENDS}, 1),
    Case("module of one's own, off", {f"module-{OWN}": ENDS}, 1, on=False),
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
    functions = {
        (name, form): own_module(wirings.sites[name].site.out_features) for name, form in pairs if form.endswith(OWN)
    }
    assemble.write_switch(bundle, wirings, pairs, model.name, functions)
    generator = np.random.default_rng(bert.SEED)
    params = {
        f"{site}.{param}": generator.normal(
            0, 0.02, [1 if dim == "rows" else case.rank if isinstance(dim, str) else dim for dim in shape]
        ).astype(np.float32)
        for site, form in pairs
        for param, shape in methods.get(form).shapes(wirings.sites[site].site).items()
    }
    params = {
        name: array if (given := _given(name, case)) is None else np.full_like(array, given)
        for name, array in params.items()
    }
    read = base_weights(ir.load(bundle / assemble.BASE))
    linear = [
        wiring for name, wiring in wirings.sites.items() if re.fullmatch(rf"{LAYER}\..*(query|key|value|dense)", name)
    ]
    layers = len({wiring.site.name.split(".")[3] for wiring in linear})
    base = sum(read(wiring)[0].size for wiring in linear) + layers * 2 * length * read(linear[0])[0].shape[0]
    added = sum(array.size for array in params.values()) + (2 * OWN_RANK * read(linear[0])[0].shape[0]) * len(functions)
    return Switched(model, params, case.tokens / length + (added if case.on else 0) / base)


def own_module(width: int) -> ir.Function:
    """Returns what `torch.onnx.export` makes of a block of two layers, as `edgeadapt.exporter.modules` writes it."""
    import onnx_ir as ir

    generator = np.random.default_rng(bert.SEED)
    y = ir.Value(name="y")
    made: list[ir.Node] = []

    def add(op_type: str, *inputs: ir.Value, **attributes: ir.TensorProtocol) -> ir.Value:
        made.append(ir.node(op_type, list(inputs), attributes, outputs=[ir.Value(name=f"{op_type}_{len(made)}")]))
        return made[-1].outputs[0]

    def weight(*shape: int) -> ir.Value:
        return add("Constant", value=ir.tensor(generator.normal(0, 0.02, shape).astype(np.float32)))

    inner = add("Relu", add("Add", add("MatMul", y, weight(width, OWN_RANK)), weight(OWN_RANK)))
    out = add("Add", y, add("Add", add("MatMul", inner, weight(OWN_RANK, width)), weight(width)))
    body = ir.Graph([y], [out], nodes=made, opset_imports={"": 23}, name="own")
    return ir.Function("edgeadapt.module", f"{OWN}-own", graph=body, attributes=[])


def _given(name: str, case: Case) -> float | None:
    """Returns what a param is filled with that says what is there or switched on, or None for one that is a weight."""
    param = name.rpartition(".")[2] if "." in name else name
    if "module_on." in name or "adapter_on." in name:
        return float(case.on)
    if param == "position_shift":
        return -case.tokens
    if param.endswith("prompt_length"):
        return case.rank
    return 1 if param.endswith("mask") else None

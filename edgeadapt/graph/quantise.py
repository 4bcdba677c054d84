"""Weights in 4 bits, by ONNX Runtime's own quantiser: linear layers, the head, and the embedding of tokens.

Every 32 numbers of an input's weights share a scale and a zero: `w = scale * (q - zero)`. Biases, norms, positions and
all adapters stay in fp32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from edgeadapt.adapter import Array
from edgeadapt.graph.fold import base_weights
from edgeadapt.graph.nodes import Values, values_of
from edgeadapt.graph.quantised import ACCURACY, BLOCK, DOMAIN, EMBEDDING, LINEAR, halves, packed
from edgeadapt.graph.sites import Wiring, Wirings
from edgeadapt.graph.splice import constants

Quantiser: TypeAlias = Callable[[Array], tuple[Array, Array, Array]]
"""Gives the numbers, scales and zeros of a weight `(in, out)`."""

TOKENS = "input_ids"
BIAS_OF_GEMM = 2


def quantise(model: ir.Model, wirings: Wirings, quantiser: Quantiser) -> int:
    """Stores the weights of a base in 4 bits, in place, and returns how many it is of them.

    Before:   x -> MatMul(W) -> y
              x -> Gemm(W, b) -> y
              ids -> Gather(W) -> y
    After:    x -> MatMulNBits(W's numbers, scales) -> y
              x -> MatMulNBits(W's numbers, scales, b) -> y
              ids -> GatherBlockQuantized(W's numbers, scales) -> y

    Cases:
        1. A head tied to the embedding, whose weight it reads through a `Transpose`: both have the same numbers.
        2. A module called many times: its calls read the same numbers.
        3. Modules packed into one product: it is that which is quantised.

    Args:
        model: A base.
        wirings: Its sites.
        quantiser: ONNX Runtime's, which this package doesn't know.
    """
    values, weights = values_of(model), base_weights(model)
    members = {member for wiring in wirings.packs.values() for member in wiring.members}
    count = 0
    for name, wiring in {**wirings.packs, **wirings.sites}.items():
        if name in members or wiring.open or not wiring.calls or not _is_large(values, wiring):
            continue
        made = _stored(model, wiring, weights(wiring)[0], quantiser)
        for call in wiring.calls:
            _replace(model, values[call.product], wiring, made)
        count += 1
    model.graph.opset_imports[DOMAIN] = 1
    RemoveUnusedNodesPass()(model)
    return count


def _is_large(values: Values, wiring: Wiring) -> bool:
    """Tells what is quantised: products, and the table of tokens, but not that of positions."""
    if wiring.site.kind != "embedding":
        return wiring.site.kind == "linear"
    ids: ir.Value | None = values[wiring.calls[0].x]
    while ids is not None and (node := ids.producer()) is not None and node.op_type in ("Reshape", "Cast"):
        ids = node.inputs[0]
    return ids is not None and ids.name == TOKENS


def _stored(model: ir.Model, wiring: Wiring, weight: Array, quantiser: Quantiser) -> list[ir.Value]:
    """Returns a weight's numbers, scales and zeros: `(out, blocks, 16)` uint8, `(out, blocks)`, `(out, blocks / 2)`.

    Those of an embedding are `(vocabulary, width)` uint4, `(vocabulary, blocks)`, `(vocabulary, blocks)` uint4. ONNX
    Runtime before 1.23 doesn't take them as uint8, and up to 1.26 it reads wrong zeros then, where a row has an odd
    number of blocks.
    """
    table = wiring.site.kind == "embedding"
    numbers, scales, zeros = quantiser(np.ascontiguousarray(weight.T if table else weight, np.float32))
    made: dict[str, Array | ir.TensorProtocol] = {
        "weight.int4": numbers,
        "weight.scales": scales,
        "weight.zeros": zeros,
    }
    if table:
        made["weight.int4"] = packed(halves(numbers)[:, : weight.shape[1]])
        made["weight.zeros"] = packed(halves(zeros)[:, : scales.shape[1]])
    return list(constants(model, wiring.site.name, made).values())


def _replace(model: ir.Model, product: ir.Value, wiring: Wiring, stored: list[ir.Value]) -> None:
    node = product.producer()
    assert node is not None  # a wiring names the output of one
    attributes: dict[str, int] = {"block_size": BLOCK}
    if wiring.site.kind == "embedding":
        kind, inputs = EMBEDDING, [stored[0], node.inputs[1], *stored[1:]]
        attributes |= {"gather_axis": 0, "quantize_axis": 1}
    else:
        kind, inputs = LINEAR, [node.inputs[0], *stored]
        attributes |= {
            "bits": 4,
            "K": wiring.site.in_features,
            "N": wiring.site.out_features,
            "accuracy_level": ACCURACY["fp32"],
        }
        if node.op_type == "Gemm" and len(node.inputs) > BIAS_OF_GEMM:
            inputs += [None, node.inputs[BIAS_OF_GEMM]]
    made = ir.node(kind, inputs, attributes, domain=DOMAIN, name=f"{node.name}/int4")
    out, name = made.outputs[0], product.name
    out.type, out.shape = product.type, product.shape
    model.graph.insert_after(node, made)
    ir.convenience.replace_all_uses_with(product, out, replace_graph_outputs=True)
    product.name, out.name = f"{name}/fp32", name

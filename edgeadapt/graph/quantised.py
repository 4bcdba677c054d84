"""Weights in 4 bits, as ONNX Runtime's operators read them."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import onnx_ir as ir

from edgeadapt.adapter import Array
from edgeadapt.errors import GraphError

DOMAIN = "com.microsoft"
LINEAR, EMBEDDING = "MatMulNBits", "GatherBlockQuantized"
BIAS = 5
"""Where a product has its bias, if it has one."""
BLOCK = 32
"""Numbers that share a scale and a zero."""

Arithmetic: TypeAlias = Literal["int8", "fp32"]
ACCURACY: dict[Arithmetic, int] = {"fp32": 1, "int8": 4}
"""`MatMulNBits`' accuracy level: what inputs are rounded to before they are multiplied."""


def is_quantised(node: ir.Node) -> bool:
    """Tells a product whose weight is in 4 bits."""
    return node.op_type in (LINEAR, EMBEDDING)


def set_arithmetic(model: ir.Model, arithmetic: Arithmetic) -> int:
    """Says in what the products of a model in 4 bits are computed, in place, and returns how many there are.

    `fp32` is exact, `int8` fast.
    """
    products = [node for node in model.graph if node.op_type == LINEAR]
    for node in products:
        node.attributes["accuracy_level"] = ir.AttrInt64("accuracy_level", ACCURACY[arithmetic])
    return len(products)


def dequantised(node: ir.Node) -> Array:
    """Returns the weight `(in, out)` that a product reads in 4 bits, as it computes with it.

    Source: ONNX Runtime's contrib operators `MatMulNBits` and `GatherBlockQuantized`; of two numbers in a byte the
    lower half is the first.
    """
    table = node.op_type == EMBEDDING
    numbers, scales, zeros = (_array(node.inputs[place]) for place in ((0, 2, 3) if table else (1, 2, 3)))
    whole = _numbers(numbers)
    width = whole.shape[1] if table else node.attributes["K"].as_int()
    blocks = (np.repeat(each[:, : scales.shape[1]], BLOCK, axis=1)[:, :width] for each in (_numbers(zeros), scales))
    zero, scale = blocks
    weight = (whole[:, :width] - zero) * scale
    return weight if table else np.ascontiguousarray(weight.T)


def in_bytes(model: ir.Model) -> None:
    """Holds tables of tokens as uint8, in place: ONNX Runtime's own format of models has no uint4.

    Before:   ids -> GatherBlockQuantized(W's numbers, scales, zeros), `(vocabulary, width)` uint4
    After:    the same with `bits=4`, `(vocabulary, width / 2)` uint8, which answers right from ONNX Runtime 1.28 on
    """
    for node in model.graph.all_nodes():
        if node.op_type != EMBEDDING:
            continue
        node.attributes["bits"] = ir.AttrInt64("bits", 4)
        for value in (node.inputs[0], node.inputs[3]):
            stored = _array(value)
            if value is None or stored.dtype == np.uint8:  # another node's, too
                continue
            numbers = np.pad(stored.astype(np.uint8), ((0, 0), (0, stored.shape[1] % 2)))
            tensor = ir.tensor(numbers[:, ::2] | numbers[:, 1::2] << 4, name=value.name)
            value.const_value, value.dtype, value.shape = tensor, tensor.dtype, ir.Shape(tensor.shape.numpy())


def halves(numbers: Array) -> Array:
    """Returns the numbers of 4 bits that bytes hold, `(rows, n)` uint8."""
    numbers = numbers.reshape(len(numbers), -1)
    return np.stack([numbers & 15, numbers >> 4], axis=-1).reshape(len(numbers), -1)


def packed(numbers: Array) -> ir.TensorProtocol:
    """Returns numbers of 4 bits, `(rows, n)` uint8, as a tensor of uint4: two in a byte, rows one after the other."""
    flat = np.pad(numbers.reshape(-1), (0, numbers.size % 2))
    return ir.PackedTensor(flat[::2] | flat[1::2] << 4, ir.DataType.UINT4, shape=numbers.shape)


def _numbers(stored: Array) -> Array:
    """Returns the numbers of 4 bits that a tensor holds, of uint8 or, with one number an element, of uint4."""
    return (halves(stored) if stored.dtype == np.uint8 else stored).astype(np.float32)


def _array(value: ir.Value | None) -> Array:
    if value is None or value.const_value is None:
        raise GraphError("A weight in 4 bits is computed, not stored.")
    return value.const_value.numpy()

"""Names of lengths: ONNX Runtime shares memory between values whose lengths have the same names."""

from __future__ import annotations

import onnx_ir as ir

from edgeadapt.exporter import dimensions


def test_lengths_get_the_names_of_a_decoders_inputs_and_those_without_a_name_stay_so() -> None:
    shape = ir.Shape(["read_batch", 4, "past + sequence", "read_source", None])
    value = ir.Value(name="keys", type=ir.TensorType(ir.DataType.FLOAT), shape=shape)
    node = ir.node("Identity", [value])
    node.outputs[0].shape = ir.Shape([None, "batch*(past + sequence)//total", None, "sequence", "odd"])
    model = ir.Model(ir.Graph([value], node.outputs, nodes=[node], opset_imports={"": 18}), ir_version=10)

    dimensions.rename(model)
    dimensions.resolve(model)

    assert _lengths(value) == ["batch", 4, "total", "source", None]
    assert _lengths(node.outputs[0]) == [None, "batch", None, "sequence", "odd"]


def _lengths(value: ir.Value) -> list[int | str | None]:
    return [dim if isinstance(dim, int) else dim.value for dim in value.shape or ()]

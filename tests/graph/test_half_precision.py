"""Graphs in fp16: what stays in fp32, masks, angles, ids, branches; and weights that lie in fp16 on disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from edgeadapt.adapter import Array
from edgeadapt.errors import UnsupportedError
from edgeadapt.graph.half_precision import narrow
from edgeadapt.graph.half_storage import store, widen

HEADER = '<ir_version: 10, opset_import: ["" : 18]>'


def parsed(text: str, **weights: Array) -> ir.Model:
    """Returns a model from ONNX text, where `__` in a name is a dot, with weights among its initializers."""
    proto = onnx.parser.parse_model(f"{HEADER} {text}")
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in weights.items())
    model = ir.from_proto(proto)
    for value in (*model.graph.inputs, *model.graph.outputs):
        value.name = str(value.name).replace("__", ".")
    return model


def run(model: ir.Model, **feeds: Array) -> list[Array]:
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    return _run(proto.SerializeToString(), feeds)


def _run(model: bytes | Path, feeds: Mapping[str, Array]) -> list[Array]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return [np.asarray(array) for array in session.run(None, dict(feeds))]


def kinds(model: ir.Model) -> dict[str, str]:
    """Returns what every operator but Cast gives, by its type."""
    nodes = [node for node in model.graph.all_nodes() if node.op_type != "Cast"]
    return {node.op_type: str(node.outputs[0].dtype) for node in nodes}


def test_products_are_in_fp16_and_what_a_caller_sees_is_not() -> None:
    weight = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float16).astype(np.float32)
    model = parsed(
        "g (float[b, 4] x, float[r, 3] site__lora_B) => (float[b, 3] logits, float[b, 3] present__0__key) {"
        " y = MatMul(x, w) present__0__key = Add(y, site__lora_B) logits = Softmax(present__0__key) }",
        w=weight,
    )
    x, slot = np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4), np.ones((1, 3), np.float32)
    before = run(model, x=x, **{"site.lora_B": slot})
    narrow(model)

    logits, present = run(model, x=x, **{"site.lora_B": slot.astype(np.float16)})

    assert logits.dtype == np.float32 and present.dtype == np.float16
    assert kinds(model) == {"MatMul": "FLOAT16", "Add": "FLOAT16", "Softmax": "FLOAT"}
    np.testing.assert_allclose(logits, before[0], atol=2e-3)
    np.testing.assert_allclose(present, before[1], atol=4e-3)


def test_a_row_that_is_masked_all_over_is_no_nan() -> None:
    """Two masks of -3.4e38 and scores of -20: in fp16, that much would be minus infinity in the whole row."""
    lowest = float(np.finfo(np.float32).min)
    text = (
        "g (float[2, 3] scores, int64[2, 3] mask) => (float[2, 3] out) {"
        " seen = Cast<to = 1>(mask) one = Constant<value = float {1.0}>() hidden = Sub(one, seen)"
        f" low = Constant<value = float {{{lowest!r}}}>() added = Mul(hidden, low)"
        " first = Add(scores, added) second = Add(first, added) out = Softmax<axis = -1>(second) }"
    )
    model = parsed(text)
    narrow(model)
    mask = np.array([[0, 0, 0], [1, 0, 1]])
    scores = np.full((2, 3), -20.0, np.float32)

    (out,) = run(model, scores=scores, mask=mask)

    assert np.isfinite(out).all()
    np.testing.assert_allclose(out[1], [0.5, 0, 0.5])
    np.testing.assert_allclose(out[0].sum(), 1, atol=1e-6)


def test_minus_infinity_stays() -> None:
    model = parsed("g (bool[3] seen, float[3] x) => (float[3] out) { out = Where(seen, x, low) }", low=INFINITE)
    narrow(model)

    (out,) = run(model, seen=np.array([True, False, True]), x=np.array([1, 2, 3], np.float32))

    np.testing.assert_array_equal(out, [1, -np.inf, 3])


INFINITE = np.full((1,), -np.inf, np.float32)


def test_a_norm_that_is_written_out_takes_large_numbers_and_a_small_epsilon() -> None:
    model = parsed(
        "g (float[b, 4] x) => (float[b, 4] out) {"
        " square = Mul(x, x) axis = Constant<value = int64[1] {-1}>() mean = ReduceMean(square, axis)"
        " sum = Add(mean, small) root = Sqrt(sum) normed = Div(x, root) out = Mul(normed, weight) }",
        small=np.array(1e-12, np.float32),
        weight=np.array([1, 2, 0.5, 1], np.float32),
    )
    x = np.array([[400.0, -900.0, 1000.0, 5.0], [1e-4, -2e-4, 3e-4, 1e-4]], np.float32)
    (before,) = run(model, x=x)
    narrow(model)

    (out,) = run(model, x=x)

    np.testing.assert_allclose(out, before, rtol=3e-3)


def test_angles_of_far_positions_and_ids_of_tokens_are_exact() -> None:
    model = parsed(
        "g (int64[n] positions, float[r, k] site__token_ids) => (float[n] angle, float[n, k] chosen) {"
        " float = Cast<to = 1>(positions) scaled = Mul(float, frequency) angle = Cos(scaled)"
        " axis = Constant<value = int64[1] {-1}>() column = Unsqueeze(float, axis)"
        " same = Equal(column, site__token_ids) chosen = Cast<to = 1>(same) }",
        frequency=np.array(0.731, np.float32),
    )
    positions, ids = np.array([4097, 100_003]), np.array([[4097, 4096, 100_003]], np.float32)
    before = run(model, positions=positions, **{"site.token_ids": ids})
    narrow(model)

    after = run(model, positions=positions, **{"site.token_ids": ids})

    for got, expected in zip(after, before, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-6)


def test_a_branch_gives_fp16_too() -> None:
    model = parsed(
        "g (bool on, float[r, 2] site__a) => (float[r, 2] out) {"
        " picked = If (on) <then_branch = t () => (float[r, 2] a) { a = Exp(site__a) },"
        " else_branch = e () => (float[r, 2] b) { b = Identity(site__a) }> out = Relu(picked) }"
    )
    narrow(model)

    (out,) = run(model, on=np.array(True), **{"site.a": np.array([[0, 1]], np.float16)})

    np.testing.assert_allclose(out, [[1, np.e]], rtol=1e-3)
    assert kinds(model)["If"] == kinds(model)["Relu"] == "FLOAT16"


def test_weights_beyond_the_range_are_refused_by_name() -> None:
    text = "g (float[b, 2] x) => (float[b, 2] out) { y = Mul(x, w) out = Add(y, v) }"
    model = parsed(text, w=np.array([1, 70_000], np.float32), v=np.array([-65_504, 1e-9], np.float32))

    with pytest.raises(UnsupportedError, match=r"numbers up to 65504.*\n  w: 70000\nExport in fp32"):
        narrow(model)


def test_weights_lie_in_fp16_and_are_read_as_they_were(tmp_path: Path) -> None:
    text = "g (float[b, 2] x) => (float[b, 2] out) { y = Mul(x, w) z = Mul(y, odd) out = Add(z, one) }"
    odd, one = np.array([0.1, 1e-12], np.float32), np.array(1, np.float32)
    model = parsed(text, w=np.array([0.5, 3], np.float32), odd=odd, one=one)
    x = np.array([[2, 4]], np.float32)
    (before,) = run(model, x=x)
    store(model)
    ir.save(model, tmp_path / "base.onnx", external_data="weights", size_threshold_bytes=0)

    stored = {name: str(value.dtype) for name, value in ir.load(tmp_path / "base.onnx").graph.initializers.items()}
    again = ir.load(tmp_path / "base.onnx")
    assert widen(again)

    assert stored == {"w": "FLOAT16", "odd": "FLOAT", "one": "FLOAT"}  # fp16 has no 0.1, and numbers stay
    assert [node.op_type for node in again.graph] == ["Mul", "Mul", "Add"]
    assert again.graph.initializers["w"].dtype == ir.DataType.FLOAT
    narrow(again)  # and the file is read again, not copied
    assert isinstance(again.graph.initializers["w"].const_value, ir.ExternalTensor)
    ir.save(again, tmp_path / "half.onnx")
    for name, error in (("base", 0), ("half", 1e-3)):
        np.testing.assert_allclose(_run(tmp_path / f"{name}.onnx", {"x": x})[0], before, rtol=error)

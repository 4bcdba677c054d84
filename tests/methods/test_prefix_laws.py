"""The laws of what changes neither an `x` nor a `y` of floats: prefixes before an attention's keys, moved positions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from torch.nn import functional

from edgeadapt import methods
from edgeadapt.adapter import Array, Site
from edgeadapt.graph import attention
from edgeadapt.graph.nodes import Nodes

HEADS, DIM, BATCH, RANK = 3, 4, 4, 2
WIDTH = HEADS * DIM
SITE = Site("attention", "attention", HEADS, DIM)
FORMS = ("prefix", "gated_prefix")
MASKS = ("seen", "seen by all rows", "added", "none")
LENGTHS = (1, 7, 8, 15, 16, 17, 33)  # around the widths in which devices take sums


def inputs(length: int, mask: str) -> dict[str, Array]:
    """Returns what enters an attention, what it reads, and its mask, causal where all rows share it."""
    generator = np.random.default_rng(length)
    found: dict[str, Array] = {"x": generator.normal(size=(BATCH, length, WIDTH)).astype(np.float32)}
    for name in ("queries", "key", "value"):
        found[name] = generator.normal(size=(BATCH, HEADS, length, DIM)).astype(np.float32)
    seen = np.broadcast_to(
        np.arange(length) < np.array([length, 1, length, max(1, length // 2)])[:, None, None, None],
        (BATCH, 1, length, length),
    )
    if mask == "seen by all rows":
        found["mask"] = np.tril(np.ones((1, 1, length, length), bool))
    elif mask == "seen":
        found["mask"] = np.ascontiguousarray(seen)
    elif mask == "added":
        found["mask"] = np.where(seen, 0, np.finfo(np.float32).min).astype(np.float32)
    return found


def params_of(form: str, seed: int, rank: int = RANK) -> dict[str, Array]:
    generator = np.random.default_rng(seed)
    sizes = {"rows": 1, "rank": rank}
    found = {}
    for param, shape in methods.get(form).shapes(SITE).items():
        array = generator.normal(size=[sizes[dim] if isinstance(dim, str) else dim for dim in shape])
        found[param] = (np.ones_like(array) if param.endswith("mask") else array).astype(np.float32)
    return found


def answer(form: str, given: Mapping[str, Array], params: Mapping[str, Array]) -> Array:
    """Returns what ONNX Runtime's attention gives, with a form's keys before its own; without a form its own."""
    op = Nodes("test")
    feeds = {**given, **params}
    values = {
        name: ir.Value(
            name=name,
            type=ir.TensorType(ir.tensor(array).dtype),
            shape=ir.Shape(["batch" if size == BATCH and axis == 0 else None for axis, size in enumerate(array.shape)]),
        )
        for name, array in feeds.items()
    }
    queries, key, value, mask = (values.get(name) for name in ("queries", "key", "value", "mask"))
    assert queries is not None
    assert key is not None
    assert value is not None
    if form:
        own = attention.Reads(queries, key, value, mask, mask is not None and mask.dtype == ir.DataType.FLOAT)
        at = methods.Point(SITE, values["x"], queries)
        before = methods.get(form).graph(op, at, {name: values[name] for name in params})
        key, value, mask = attention.prepend(op, own, before)
    out = op.Attention(queries, key, value, *([] if mask is None else [mask]))
    out.type = ir.TensorType(ir.DataType.FLOAT)
    graph = ir.Graph(list(values.values()), [out], nodes=op.made, opset_imports={"": 23}, name="test")
    model = ir.to_proto(ir.Model(graph, ir_version=10)).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    used = {value.name for value in session.get_inputs()}
    result: Array = session.run(None, {name: array for name, array in feeds.items() if name in used})[0]
    return result


def expected(form: str, given: Mapping[str, Array], params: Mapping[str, Array]) -> Array:
    """Returns what PyTorch gives with the keys and values put before, in float64."""
    tensors = {name: torch.tensor(array) for name, array in {**given, **params}.items()}
    key, value, seen = (tensors[name].double().expand(BATCH, *array.shape[1:]) for name, array in [*params.items()][:3])
    if form == "gated_prefix":
        gate = torch.sigmoid(tensors["x"].double() @ tensors["gate"].double() + tensors["gate_bias"].double()).mean(1)
        key, value = key * gate[:, 0].view(-1, 1, 1, 1), value * gate[:, 1].view(-1, 1, 1, 1)
    length = given["queries"].shape[2]
    mask = tensors.get("mask", torch.ones(1, 1, length, length, dtype=torch.bool))
    mask = mask.expand(BATCH, 1, length, length)
    columns = seen.expand(BATCH, 1, length, seen.shape[3]) > 0
    if mask.dtype == torch.bool:
        mask = torch.cat([columns, mask], -1)
    else:
        mask = torch.cat([torch.where(columns, 0.0, -torch.inf).double(), mask.double()], -1)
    return functional.scaled_dot_product_attention(
        tensors["queries"].double(),
        torch.cat([key, tensors["key"].double()], 2),
        torch.cat([value, tensors["value"].double()], 2),
        attn_mask=mask,
    ).numpy()


def stacked(rows: list[dict[str, Array]]) -> dict[str, Array]:
    """Returns the params of several rows as the runtime stacks them, padded with zeros."""
    from edgeadapt.bundle import Slot
    from edgeadapt.runtime.rows import stacked as stack

    shapes = {
        param: methods.get("prefix" if "prefix_key" in rows[0] else "gated_prefix").shapes(SITE)[param]
        for param in rows[0]
    }
    slots = [Slot(param, "form", "site", param, "float32", shape, None) for param, shape in shapes.items()]  # type: ignore[arg-type]
    return stack(rows, slots)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("form", FORMS)
def test_a_neutral_prefix_leaves_an_attention_as_it_is_bit_for_bit(form: str, mask: str) -> None:
    neutral = methods.get(form).neutral(SITE)
    assert neutral is not None
    for length in LENGTHS:
        given = inputs(length, mask)
        np.testing.assert_array_equal(answer(form, given, neutral), answer("", given, {}))


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("form", FORMS)
def test_a_prefix_is_what_pytorch_attends_to(form: str, mask: str) -> None:
    for length in LENGTHS:
        given, params = inputs(length, mask), params_of(form, seed=1)
        got = answer(form, given, params)
        np.testing.assert_allclose(got, expected(form, given, params), atol=1e-6)
        assert np.abs(got - answer("", given, {})).max() > 0.05


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("form", FORMS)
def test_a_row_of_a_mixed_batch_is_that_prefix_alone_and_one_without_is_the_base(form: str, mask: str) -> None:
    given, neutral = inputs(9, mask), methods.get(form).neutral(SITE)
    assert neutral is not None
    rows = [params_of(form, 1), dict(neutral), params_of(form, 2, rank=5), params_of(form, 3, rank=1)]

    mixed = answer(form, given, stacked(rows))

    assert mixed.shape == (BATCH, HEADS, 9, DIM)
    for row, params in enumerate(rows):
        np.testing.assert_allclose(mixed[row], answer(form, given, params)[row], atol=1e-6)
    np.testing.assert_allclose(mixed[1], answer("", given, {})[1], atol=1e-6)
    assert np.abs(mixed[2] - answer("", given, {})[2]).max() > 0.1


def test_two_forms_put_their_keys_before_the_same_attention() -> None:
    """A bundle may have slots of both, of which a row fills one."""
    given, params = inputs(6, "seen"), params_of("prefix", 1)
    neutral = methods.get("gated_prefix").neutral(SITE)
    assert neutral is not None
    op = Nodes("test")
    values = {
        name: ir.Value(name=name, type=ir.TensorType(ir.tensor(array).dtype), shape=ir.Shape([None] * array.ndim))
        for name, array in {**given, **params, **neutral}.items()
    }
    own = attention.Reads(values["queries"], values["key"], values["value"], values["mask"], added=False)
    at = methods.Point(SITE, values["x"], values["queries"])
    for form, names in (("prefix", params), ("gated_prefix", neutral)):
        before = methods.get(form).graph(op, at, {name: values[name] for name in names})
        key, value, mask = attention.prepend(op, own, before)
        own = attention.Reads(values["queries"], key, value, mask, added=mask.dtype == ir.DataType.FLOAT)
    out = op.Attention(own.queries, own.key, own.value, own.mask)
    out.type = ir.TensorType(ir.DataType.FLOAT)
    graph = ir.Graph(list(values.values()), [out], nodes=op.made, opset_imports={"": 23}, name="test")
    model = ir.to_proto(ir.Model(graph, ir_version=10)).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])

    (got,) = session.run(None, {**given, **params, **neutral})

    np.testing.assert_array_equal(got, answer("prefix", given, params))


POSITIONS = Site("positions", "embedding", 12, 4)


def changed(form: str, ids: Array, param: Array) -> Array:
    """Returns the ids that a form with one param looks up."""
    op = Nodes(f"site/{form}")
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape([None, None]))
    by = ir.Value(name="param", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([None, 1]))
    out = methods.get(form).graph(op, methods.Point(POSITIONS, x, x), {form: by})
    out.type = ir.TensorType(ir.DataType.INT64)
    graph = ir.Graph([x, by], [out], nodes=op.made, opset_imports={"": 18}, name="test")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    model = ir.to_proto(ir.Model(graph, ir_version=10)).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    result: Array = session.run(None, {"x": ids, "param": param})[0]
    return result


@pytest.mark.parametrize("form", ["position_shift", "untyped"])
def test_the_neutral_leaves_ids_as_they_are(form: str) -> None:
    ids = np.random.default_rng(0).integers(0, 12, (BATCH, 5))
    neutral = methods.get(form).neutral(POSITIONS)
    assert neutral is not None
    np.testing.assert_array_equal(changed(form, ids, neutral[form]), ids)


def test_a_row_loses_its_token_types_and_others_keep_theirs() -> None:
    ids = np.ones((2, 3), np.int64)
    np.testing.assert_array_equal(changed("untyped", ids, np.array([[1], [0]], np.float32)), [[0, 0, 0], [1, 1, 1]])


def test_positions_move_by_each_rows_own_shift() -> None:
    ids = np.arange(5)[None]

    shift = np.array([[0], [3], [7]], np.float32)
    np.testing.assert_array_equal(changed("position_shift", ids, shift), ids + shift.astype(np.int64))


def test_a_position_beyond_the_table_is_an_error_even_where_nobody_looks_it_up() -> None:
    with pytest.raises(Exception, match="position_shift/ConstantOfShape"):
        changed("position_shift", np.arange(5)[None], np.array([[8]], np.float32))

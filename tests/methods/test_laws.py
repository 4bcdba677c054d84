"""The laws of a method, over all methods and kinds of site: neutral, switched, folded, rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from edgeadapt import methods
from edgeadapt.adapter import Array, Kind, Site
from edgeadapt.bundle import Slot
from edgeadapt.graph.nodes import Nodes
from edgeadapt.runtime.blend import RULES

IN, OUT, RANK, BATCH, LENGTH = 12, 8, 3, 4, 5
KINDS: tuple[Kind, ...] = ("linear", "embedding", "layer_norm")
POINTS = [
    (method, kind)
    for method in methods.forms()
    for kind in KINDS
    if methods.get(method).shapes(Site("site", kind, IN, OUT))
]


def site_of(kind: Kind) -> Site:
    return Site("site", kind, OUT if kind == "layer_norm" else IN, OUT, epsilon=1e-5 if kind == "layer_norm" else 0.0)


def params_of(method: str, site: Site, seed: int, rows: int = 1) -> dict[str, Array]:
    """Returns random params `(rows, ...)`."""
    generator = np.random.default_rng(seed)
    sizes = {"rows": rows, "rank": RANK, "labels": OUT}
    return {
        param: generator.normal(size=[sizes[dim] if isinstance(dim, str) else dim for dim in shape]).astype(np.float32)
        for param, shape in methods.get(method).shapes(site).items()
    }


def base_of(kind: Kind) -> tuple[Array, Array, Array]:
    """Returns a module's input, weight and bias."""
    generator = np.random.default_rng(0)
    if kind == "embedding":
        x = generator.integers(0, IN, (BATCH, LENGTH))
    else:
        x = generator.normal(size=(BATCH, LENGTH, OUT if kind == "layer_norm" else IN)).astype(np.float32)
    weight = generator.normal(size=OUT if kind == "layer_norm" else (IN, OUT)).astype(np.float32)
    bias = np.zeros(OUT, np.float32) if kind == "embedding" else generator.normal(size=OUT).astype(np.float32)
    return x, weight, bias


def module(kind: Kind, x: Array, weight: Array, bias: Array | None) -> Array:
    """Returns the module's output, computed by PyTorch in float64."""
    import torch
    from torch.nn import functional

    w = torch.from_numpy(np.asarray(weight, np.float64))
    b = None if bias is None else torch.from_numpy(np.asarray(bias, np.float64))
    if kind == "embedding":
        looked_up = functional.embedding(torch.from_numpy(x), w)
        return (looked_up if b is None else looked_up + b).numpy()
    if kind == "layer_norm":
        return functional.layer_norm(torch.from_numpy(x).double(), (OUT,), w, b, 1e-5).numpy()
    return functional.linear(torch.from_numpy(x).double(), w.T, b).numpy()


def switched(method: str, site: Site, x: Array, y: Array, params: Mapping[str, Array]) -> Array:
    """Returns what the method's graph gives, run by ONNX Runtime with params as inputs."""
    op = Nodes("test")
    inputs = {"x": x, "y": y, **params}
    values = {
        name: ir.Value(name=name, type=ir.TensorType(ir.tensor(array).dtype), shape=ir.Shape([None] * array.ndim))
        for name, array in inputs.items()
    }
    at = methods.Point(site, values["x"], values["y"])
    out = methods.get(method).graph(op, at, {name: values[name] for name in params})
    out.type = ir.TensorType(ir.DataType.FLOAT)
    graph = ir.Graph(list(values.values()), [out], nodes=op.made, opset_imports={"": 18}, name="test")
    model = ir.to_proto(ir.Model(graph, ir_version=10)).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    used = {value.name for value in session.get_inputs()}
    result: Array = session.run(None, {name: array for name, array in inputs.items() if name in used})[0]
    return result


def answer(method: str, kind: Kind, params: Mapping[str, Array], base: tuple[Array, Array, Array]) -> Array:
    """Returns what the module answers with the method, `(batch, n, out)`."""
    x, weight, bias = base
    site, own = site_of(kind), None if kind == "embedding" else bias
    y = module(kind, x, weight, own).astype(np.float32)
    given = switched(method, site, x, y, params)
    return module(kind, given, weight, own).astype(np.float32) if methods.replaces(method) == "x" else given


@pytest.mark.parametrize(("method", "kind"), POINTS)
def test_the_neutral_leaves_a_site_as_it_is_bit_for_bit(method: str, kind: Kind) -> None:
    site = site_of(kind)
    neutral = methods.get(method).neutral(site)
    x, weight, bias = base_of(kind)
    y = module(kind, x, weight, bias).astype(np.float32)

    if neutral is None:
        assert method == "modules_to_save"  # its neutral is the base's own weight
        return
    expected = x if methods.replaces(method) == "x" else y
    np.testing.assert_array_equal(switched(method, site, x, y, neutral), expected)
    for array in neutral.values():
        assert array.shape[0] == 1
        assert array.size > 0
        assert np.unique(array).size == 1  # the manifest has one number for each


@pytest.mark.parametrize(("method", "kind"), POINTS)
def test_folded_equals_switched_and_both_move_the_output(method: str, kind: Kind) -> None:
    site = site_of(kind)
    params = params_of(method, site, seed=1)
    x, weight, bias = base_of(kind)
    y = module(kind, x, weight, bias)

    new_weight, new_bias = methods.get(method).fold(site, weight, None if kind == "embedding" else bias, params)
    folded = module(kind, x, new_weight, new_bias)
    live = answer(method, kind, params, (x, weight, bias))

    np.testing.assert_allclose(live, folded, atol=1e-5, rtol=1e-5)
    assert np.abs(folded - y).max() > 0.1


@pytest.mark.parametrize(("method", "kind"), POINTS)
def test_a_row_of_a_mixed_batch_is_that_adapter_alone(method: str, kind: Kind) -> None:
    site = site_of(kind)
    adapters = [params_of(method, site, seed=seed) for seed in range(BATCH)]
    stacked = {param: np.concatenate([each[param] for each in adapters]) for param in adapters[0]}
    x, weight, bias = base_of(kind)
    y = module(kind, x, weight, bias).astype(np.float32)

    mixed = answer(method, kind, stacked, (x, weight, bias))
    for row, params in enumerate(adapters):
        alone = answer(method, kind, params, (x[row : row + 1], weight, bias))
        np.testing.assert_allclose(mixed[row], alone[0], atol=1e-6)
    assert np.abs(mixed - y).max() > 0.1


@pytest.mark.parametrize(("method", "kind"), POINTS)
def test_folding_edits_nothing_in_place(method: str, kind: Kind) -> None:
    site = site_of(kind)
    _, weight, bias = base_of(kind)
    before = weight.copy(), bias.copy()

    methods.get(method).fold(site, weight, bias, params_of(method, site, seed=1))

    np.testing.assert_array_equal(weight, before[0])
    np.testing.assert_array_equal(bias, before[1])


@pytest.mark.parametrize(("method", "kind"), [point for point in POINTS if point[0] != "modules_to_save"])
def test_a_blend_is_the_weighted_sum_of_the_changes(method: str, kind: Kind) -> None:
    site, base = site_of(kind), base_of(kind)
    one, two = (params_of(method, site, seed) for seed in (1, 2))
    parts = {
        param: Slot(f"site.{param}", method, "site", param, "float32", shape, None)  # type: ignore[arg-type]
        for param, shape in methods.get(method).shapes(site).items()
    }

    blend = {param: RULES[method](slot, [(one[param], 0.7), (two[param], -0.4)]) for param, slot in parts.items()}

    plain = module(kind, base[0], base[1], None if kind == "embedding" else base[2])
    changes = [answer(method, kind, each, base) - plain for each in (one, two)]
    expected = plain + 0.7 * changes[0] - 0.4 * changes[1]
    np.testing.assert_allclose(answer(method, kind, blend, base), expected, atol=1e-4)
    assert np.abs(expected - plain).max() > 0.1


def test_no_two_methods_have_a_param_of_the_same_name() -> None:
    for kind in KINDS:
        found = [param for method in methods.forms() for param in methods.get(method).shapes(site_of(kind))]
        assert len(found) == len(set(found))


def test_a_bias_folds_where_the_base_has_none() -> None:
    site = site_of("linear")
    x, weight, _ = base_of("linear")
    params = params_of("bias", site, seed=2)

    _, bias = methods.get("bias").fold(site, weight, None, params)

    assert bias is not None
    live = switched("bias", site, x, module("linear", x, weight, None).astype(np.float32), params)
    np.testing.assert_allclose(live, module("linear", x, weight, bias), atol=1e-5)


def test_an_unknown_method_is_refused_with_the_nearest_and_the_list() -> None:
    from edgeadapt.errors import UnsupportedError

    with pytest.raises(UnsupportedError, match=r"'lorra' \(did you mean 'lora'\?\)(.|\n)*modules_to_save"):
        methods.get("lorra")

"""The laws of a method, over all methods and kinds of site: neutral, switched, folded, rows."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from edgeadapt import methods
from edgeadapt.adapter import NORMS, UNBIASED, Array, Kind, Site
from edgeadapt.bundle import Slot
from edgeadapt.graph.nodes import Nodes
from edgeadapt.runtime.blend import alone, rule

IN, OUT, RANK, BATCH, LENGTH = 12, 8, 3, 4, 5
KINDS: tuple[Kind, ...] = ("linear", "embedding", "layer_norm", "rms_norm")
VARIANTS = {
    "module": [],  # one for each adapter, whose functions only its model has
    "invertible": ["invertible-relu", "invertible-gelu"],
    "oft": ["oft-3", "oft-12"],
    "composition": [
        "composition-stack(relu-original_ln_before,gelu-parallel,tanh-ln_before)",
        "composition-average(relu,swish-original_ln_before-gated)",
        "composition-fuse-query_before_ln-residual_before-value(relu-original_ln_before,stack(gelu,mish-ln_after))",
        "composition-swapped-stack(relu-original_ln_before,fuse(relu,gelu-parallel-no_original_ln_after))",
    ],
    "bottleneck": [
        "bottleneck-relu",
        "bottleneck-gelu-original_ln_before",
        "bottleneck-swish-original_ln_before-residual_after_ln",
        "bottleneck-tanh-original_ln_before-residual_post_add-ln_before",
        "bottleneck-gelu_new-ln_before-ln_after",
        "bottleneck-mish-ln_after-adapter_residual_before_ln",
        "bottleneck-relu-parallel-gated",
        "bottleneck-leakyrelu-original_ln_before-no_original_ln_after",
    ],
}
"""Variants to try of the methods that have some."""


def site_of(kind: Kind) -> Site:
    width = OUT if kind in NORMS else IN
    epsilon = 1e-5 if kind in NORMS else 0.0
    return Site("site", kind, width, OUT, epsilon=epsilon, sublayer=kind == "linear")


APART = ("gated_prefix", "position_shift", "prefix", "untyped")
"""Methods that change no `x` or `y` of floats, held to their laws in `test_prefix_laws.py`."""

POINTS = [
    (name, kind)
    for method in methods.forms()
    if method not in APART
    for name in VARIANTS.get(method, [method])
    for kind in KINDS
    if methods.get(name).shapes(site_of(kind))
]
FOLDABLE = [(name, kind) for name, kind in POINTS if isinstance(methods.get(name), methods.Foldable)]
BLENDABLE = [(name, kind) for name, kind in POINTS if rule(name) not in (None, alone)]


def params_of(method: str, site: Site, seed: int, rows: int = 1) -> dict[str, Array]:
    """Returns random params `(rows, ...)` of an adapter that is on."""
    generator = np.random.default_rng(seed)
    sizes = {"rows": rows, "rank": RANK, "labels": OUT}
    found = {}
    for param, shape in methods.get(method).shapes(site).items():
        size = [sizes[dim] if isinstance(dim, str) else dim for dim in shape]
        array: Array = generator.normal(size=size)
        if param == "token_ids":
            array = np.broadcast_to(generator.permutation(IN)[:RANK], size)
        found[param] = (np.ones_like(array) if param.startswith("adapter_on") else array).astype(np.float32)
    return found


def foldable(method: str) -> methods.Foldable:
    form = methods.get(method)
    assert isinstance(form, methods.Foldable)
    return form


def base_of(kind: Kind) -> tuple[Array, Array, Array]:
    """Returns a module's input, weight and bias."""
    generator = np.random.default_rng(0)
    if kind == "embedding":
        x = generator.integers(0, IN, (BATCH, LENGTH))
    else:
        x = generator.normal(size=(BATCH, LENGTH, OUT if kind in NORMS else IN)).astype(np.float32)
    weight = generator.normal(size=OUT if kind in NORMS else (IN, OUT)).astype(np.float32)
    bias = np.zeros(OUT, np.float32) if kind in UNBIASED else generator.normal(size=OUT).astype(np.float32)
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
    if kind == "rms_norm":
        normed = functional.rms_norm(torch.from_numpy(x).double(), (OUT,), w, 1e-5)
        return (normed if b is None else normed + b).numpy()
    return functional.linear(torch.from_numpy(x).double(), w.T, b).numpy()


def residual_of(y: Array) -> Array:
    return np.random.default_rng(3).normal(size=(BATCH, LENGTH, OUT)).astype(np.float32)[: len(y)]


def _finish(values: Mapping[str, ir.Value], op: methods.Op, value: ir.Value) -> ir.Value:
    """Returns what a base makes of a value at the end of a sublayer: the norm of its sum with the residual."""
    norm = np.random.default_rng(4).normal(size=(2, OUT)).astype(np.float32)
    total = op.Add(value, values["residual"])
    out: ir.Value = op.LayerNormalization(total, op.constant(norm[0]), op.constant(norm[1]), epsilon=1e-5)
    return out


def switched(method: str, site: Site, x: Array, y: Array, params: Mapping[str, Array]) -> Array:
    """Returns what the method's graph gives, run by ONNX Runtime with params as inputs; the sublayer's without one."""
    op = Nodes("test")
    inputs = {"x": x, "y": y, "residual": residual_of(y), **params}
    values = {
        name: ir.Value(name=name, type=ir.TensorType(ir.tensor(array).dtype), shape=ir.Shape([None] * array.ndim))
        for name, array in inputs.items()
    }
    sublayer = methods.Sublayer(values["residual"], _finish(values, op, values["y"]), partial(_finish, values))
    at = methods.Point(site, values["x"], values["y"], sublayer)
    given = {name: values[name] for name in params}
    out = methods.get(method).graph(op, at, given) if method else sublayer.out
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
    site, own = site_of(kind), None if kind in UNBIASED else bias
    y = module(kind, x, weight, own).astype(np.float32)
    given = switched(method, site, x, y, params)
    return module(kind, given, weight, own).astype(np.float32) if methods.replaces(method) == "x" else given


def plain_of(method: str, kind: Kind, base: tuple[Array, Array, Array]) -> Array:
    """Returns the base's answer where the method gives its own, in fp32."""
    x, weight, bias = base
    y = module(kind, x, weight, None if kind in UNBIASED else bias).astype(np.float32)
    return switched("", site_of(kind), x, y, {}) if methods.replaces(method) == "out" else y


@pytest.mark.parametrize(("method", "kind"), POINTS)
def test_the_neutral_leaves_a_site_as_it_is_bit_for_bit(method: str, kind: Kind) -> None:
    site = site_of(kind)
    neutral = methods.get(method).neutral(site)
    x, weight, bias = base_of(kind)
    y = module(kind, x, weight, bias).astype(np.float32)

    if neutral is None:
        assert method == "modules_to_save"  # its neutral is the base's own weight
        return
    expected = {"x": x, "y": y, "out": switched("", site, x, y, {})}[methods.replaces(method)]
    np.testing.assert_array_equal(switched(method, site, x, y, neutral), expected)
    for array in neutral.values():
        assert array.shape[0] == 1
        assert array.size > 0
        assert np.unique(array).size == 1  # the manifest has one number for each


@pytest.mark.parametrize(("method", "kind"), FOLDABLE)
def test_folded_equals_switched_and_both_move_the_output(method: str, kind: Kind) -> None:
    site = site_of(kind)
    params = params_of(method, site, seed=1)
    x, weight, bias = base_of(kind)
    y = module(kind, x, weight, bias)

    new_weight, new_bias = foldable(method).fold(site, weight, None if kind in UNBIASED else bias, params)
    folded = module(kind, x, new_weight, new_bias)
    live = answer(method, kind, params, (x, weight, bias))

    np.testing.assert_allclose(live, folded, atol=1e-5, rtol=1e-5)
    assert np.abs(folded - y).max() > 0.1


@pytest.mark.parametrize(("method", "kind"), POINTS)
def test_a_row_of_a_mixed_batch_is_that_adapter_alone(method: str, kind: Kind) -> None:
    site = site_of(kind)
    adapters = [params_of(method, site, seed=seed) for seed in range(BATCH)]
    stacked = {param: np.concatenate([each[param] for each in adapters]) for param in adapters[0]}
    base = base_of(kind)

    mixed = answer(method, kind, stacked, base)
    for row, params in enumerate(adapters):
        own = answer(method, kind, params, base)
        np.testing.assert_allclose(mixed[row], own[row], atol=2e-6)
    assert np.abs(mixed - plain_of(method, kind, base)).max() > 0.1


@pytest.mark.parametrize(("method", "kind"), FOLDABLE)
def test_folding_edits_nothing_in_place(method: str, kind: Kind) -> None:
    site = site_of(kind)
    _, weight, bias = base_of(kind)
    before = weight.copy(), bias.copy()

    foldable(method).fold(site, weight, bias, params_of(method, site, seed=1))

    np.testing.assert_array_equal(weight, before[0])
    np.testing.assert_array_equal(bias, before[1])


@pytest.mark.parametrize(("method", "kind"), BLENDABLE)
def test_a_blend_is_the_weighted_sum_of_the_changes(method: str, kind: Kind) -> None:
    site, base = site_of(kind), base_of(kind)
    one, two = (params_of(method, site, seed) for seed in (1, 2))
    parts = {
        param: Slot(f"site.{param}", method, "site", param, "float32", shape, None)  # type: ignore[arg-type]
        for param, shape in methods.get(method).shapes(site).items()
    }

    blend_rule = rule(method)
    assert blend_rule is not None
    blend = {param: blend_rule(slot, [(one[param], 0.7), (two[param], -0.4)]) for param, slot in parts.items()}

    plain = plain_of(method, kind, base)
    changes = [answer(method, kind, each, base) - plain for each in (one, two)]
    expected = plain + 0.7 * changes[0] - 0.4 * changes[1]
    np.testing.assert_allclose(answer(method, kind, blend, base), expected, atol=1e-4)
    assert np.abs(expected - plain).max() > 0.1


def test_no_two_methods_have_a_param_of_the_same_name() -> None:
    for kind in KINDS:
        found = [param for method, at in POINTS if at == kind for param in methods.get(method).shapes(site_of(kind))]
        assert len(found) == len(set(found))


def test_a_bias_folds_where_the_base_has_none() -> None:
    site = site_of("linear")
    x, weight, _ = base_of("linear")
    params = params_of("bias", site, seed=2)

    _, bias = foldable("bias").fold(site, weight, None, params)

    assert bias is not None
    live = switched("bias", site, x, module("linear", x, weight, None).astype(np.float32), params)
    np.testing.assert_allclose(live, module("linear", x, weight, bias), atol=1e-5)


def test_an_unknown_method_is_refused_with_the_nearest_and_the_list() -> None:
    from edgeadapt.errors import UnsupportedError

    with pytest.raises(UnsupportedError, match=r"'lorra' \(did you mean 'lora'\?\)(.|\n)*modules_to_save"):
        methods.get("lorra")

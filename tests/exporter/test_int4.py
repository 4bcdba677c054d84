"""A decoder's weights in 4 bits, with adapters in fp32 on top."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

import edgeadapt
from edgeadapt.bundle import KEPT
from edgeadapt.errors import ConfigError, UnsupportedError
from edgeadapt.exporter import assemble, bare
from edgeadapt.exporter.adding import add
from edgeadapt.exporter.merging import merge
from edgeadapt.exporter.pipeline import Exported, export
from edgeadapt.graph.quantised import dequantised, in_bytes
from edgeadapt.runtime.verify import verify
from tests import tiny

MAX_ERROR = 1e-5
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"num_key_value_heads": 2, "head_dim": 16, "tie_word_embeddings": True},
    "gpt2": {},
    "bloom": {},
}


@pytest.fixture(scope="module", params=FAMILIES)
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Exported]:
    """A base's folder with two adapters, and what was exported of them."""
    folder = tmp_path_factory.mktemp(request.param)
    tiny.base(folder / "base", request.param, "text-generation", **FAMILIES[request.param])
    turned = {"fan_in_fan_out": True} if request.param == "gpt2" else {}
    for name, rank in (("one", 2), ("two", 3)):
        tiny.lora_adapter(folder / "base", folder / name, "text-generation", rank, "all-linear", seed=rank, **turned)
    adapters = {"one": folder / "one"}
    return folder, export(folder / "base", adapters, folder / "bundle", precision="int4")


def test_the_errors_of_weights_graph_and_arithmetic_are_told_apart(bundle: tuple[Path, Exported]) -> None:
    reports = {report.name: report for report in bundle[1].reports}

    assert list(reports) == [
        "4-bit weights", "none", "one", "mixed rows", "none (int8)", "one (int8)", "mixed rows (int8)"
    ]  # fmt: skip
    assert reports["4-bit weights"].max_abs_error > 0.01
    for name in ("none", "one", "mixed rows"):
        assert reports[name].max_abs_error <= MAX_ERROR
        if name != "none":
            assert reports[name].max_abs_error < 0.001 * reports[name].effect
        assert MAX_ERROR < reports[f"{name} (int8)"].max_abs_error < 0.1 * reports["one"].effect


def test_linear_layers_head_and_embedding_are_in_4_bits(bundle: tuple[Path, Exported]) -> None:
    folder = bundle[1].path
    model = ir.load(folder / assemble.MODEL)
    kinds = [node.op_type for node in model.graph]

    slots = {slot.name for slot in edgeadapt.load(folder).manifest.slots}
    products = [node for node in model.graph if node.op_type in ("MatMul", "Gemm")]
    for node in products:  # those of the adapter, and of the attention where it is in parts
        assert not any(value is not None and value.is_initializer() for value in node.inputs), node.name
    assert slots
    assert kinds.count("GatherBlockQuantized") == 1
    assert edgeadapt.load(folder).manifest.model.precision == "int4"


def test_pytorch_had_the_same_weights(bundle: tuple[Path, Exported]) -> None:
    """What a graph's weights are worth is what ONNX Runtime makes of them: each row of the identity."""
    folder = bundle[1].path
    model = ir.load(folder / assemble.BASE)
    for node in [node for node in model.graph if node.op_type == "MatMulNBits"][:3]:
        weight = dequantised(node)
        inner = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(["n", len(weight)]))
        stored = [
            ir.Value(name=value.name, type=value.type, shape=value.shape, const_value=value.const_value)
            for value in node.inputs[1:4]
            if value is not None
        ]
        alone = ir.node(
            node.op_type,
            [inner, *stored],
            {name: attribute.value for name, attribute in node.attributes.items()},
            domain=node.domain,
        )
        alone.outputs[0].type, alone.outputs[0].name = ir.TensorType(ir.DataType.FLOAT), "y"
        graph = ir.Graph(
            [inner],
            alone.outputs,
            nodes=[alone],
            initializers=stored,
            opset_imports={"": 21, node.domain: 1},
            name="one",
        )
        with bare.scratch(folder, ir.Model(graph, ir_version=10), "one") as path:
            (got,) = bare.open_model(path).model.run(None, {"x": np.eye(len(weight), dtype=np.float32)})
        np.testing.assert_allclose(got, weight, atol=1e-6)


def test_a_table_in_bytes_as_earlier_bundles_have_it_is_the_same_table(bundle: tuple[Path, Exported]) -> None:
    model = ir.load(bundle[1].path / assemble.BASE)
    (node,) = [node for node in model.graph if node.op_type == "GatherBlockQuantized"]
    weight = dequantised(node)

    stored = [value for value in (node.inputs[0], node.inputs[3]) if value is not None]
    assert [value.dtype for value in stored] == [ir.DataType.UINT4] * 2
    for _ in range(2):  # the second time there is nothing to do
        in_bytes(model)
        assert [value.dtype for value in stored] == [ir.DataType.UINT8] * 2
        assert stored[0].shape == (len(weight), weight.shape[1] // 2)
    np.testing.assert_array_equal(dequantised(node), weight)


def test_it_says_the_same_on_the_device(bundle: tuple[Path, Exported]) -> None:
    session = edgeadapt.load(bundle[1].path)
    for name in (None, "one"):
        assert verify(session, name).passed


def test_a_mode_that_would_make_them_larger_is_refused(bundle: tuple[Path, Exported]) -> None:
    with pytest.raises(ConfigError, match="memory='low' is for weights that are read as they lie"):
        edgeadapt.load(bundle[1].path, memory="low")


def test_it_generates_each_row_with_its_adapter(bundle: tuple[Path, Exported]) -> None:
    session = edgeadapt.load(bundle[1].path)
    prompts = [[20, 30, 40, 50], [70, 80]]
    mixed = session.generate(prompts, adapter=["one", None], max_new_tokens=8, eos=[])

    for row, (prompt, name) in enumerate(zip(prompts, ("one", None), strict=True)):
        (alone,) = session.generate([prompt], adapter=name, max_new_tokens=8, eos=[])
        np.testing.assert_array_equal(mixed[row], alone)


def test_adapters_are_added_and_fixed_in_without_pytorch(bundle: tuple[Path, Exported], tmp_path: Path) -> None:
    folder, result = bundle
    report = add(result.path, folder / "two", "two")
    session = edgeadapt.load(result.path)
    try:
        assert report.effect > 0.05
        assert verify(session, "two").passed
        (fixed,) = merge(result.path, ["two"], tmp_path / "two.onnx", mode="fold")
        assert fixed.max_abs_error <= MAX_ERROR
        inputs = bare.open_model(tmp_path / "two.onnx").model.get_inputs()
        assert KEPT in {value.name for value in inputs}
        assert not any("lora" in value.name for value in inputs)
    finally:
        edgeadapt.exporter.adding.remove(result.path, "two")


def test_nothing_is_set_up_that_belongs_to_the_caller(bundle: tuple[Path, Exported]) -> None:
    assert not [handler for handler in logging.getLogger().handlers if type(handler) is logging.StreamHandler]


def test_other_precisions_and_tasks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"precision: got 'int3', expected 'fp32' and 'int4'|precision: got 'int3'"):
        export(tmp_path / "none", {}, tmp_path / "out", precision="int3")  # type: ignore[arg-type]
    tiny.base(tmp_path / "base", "bert", "feature-extraction")
    with pytest.raises(UnsupportedError, match="for text-generation, not for feature-extraction"):
        export(tmp_path / "base", {}, tmp_path / "out", task="feature-extraction", precision="int4")
    assert not (tmp_path / "out").exists()

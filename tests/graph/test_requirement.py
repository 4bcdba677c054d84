"""What a graph asks of ONNX Runtime: its opset, its file's format, operators outside the standard."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from edgeadapt.graph.requirement import release, requirement

PROVEN = (1, 40)


def model(node: str, opset: int = 18, ir_version: int = 10, functions: str = "") -> ir.Model:
    """A model of one node."""
    return ir.from_onnx_text(
        f'<ir_version: {ir_version}, opset_import: ["" : {opset}, "com.microsoft" : 1, "mine" : 1]>\n'
        f"test (float[n] x) => (float[n] y) {{ y = {node} }}\n{functions}"
    )


def function(node: str, opset: int = 18) -> str:
    """A function of one node, which a model may call as `mine.f`."""
    return f'<domain: "mine", opset_import: ["" : {opset}, "com.microsoft" : 1]> f (x) => (y) {{ y = {node} }}\n'


@pytest.mark.parametrize(("opset", "needed"), [(17, 20), (18, 20), (21, 20), (22, 23), (23, 23), (24, 40)])
def test_an_opset_needs_the_first_release_that_takes_it_and_one_that_is_unknown_the_one_it_ran_on(
    opset: int, needed: int
) -> None:
    assert requirement([model("Identity(x)", opset)], PROVEN) == f">=1.{needed}"


@pytest.mark.parametrize(("ir_version", "needed"), [(9, 20), (10, 20), (11, 40), (12, 40)])
def test_the_format_of_a_models_file_counts(ir_version: int, needed: int) -> None:
    assert requirement([model("Identity(x)", ir_version=ir_version)], PROVEN) == f">=1.{needed}"


@pytest.mark.parametrize(
    ("node", "needed"),
    [
        ("com.microsoft.MatMulNBits <K = 4, N = 4, bits = 4, block_size = 32, accuracy_level = 4> (x, x, x)", 20),
        ("com.microsoft.MatMulNBits <K = 4, N = 4, later = 1> (x, x, x)", 40),
        ("com.microsoft.GatherBlockQuantized <block_size = 32, gather_axis = 0, quantize_axis = 1> (x, x, x)", 20),
        ("com.microsoft.GatherBlockQuantized <bits = 4, block_size = 32> (x, x, x)", 40),
        ("com.microsoft.GroupQueryAttention <num_heads = 4, kv_num_heads = 2> (x, x, x)", 23),
        ("com.microsoft.SkipSimplifiedLayerNormalization (x, x, x)", 23),
        ("com.microsoft.Gelu (x)", 40),
        ("mine.Gelu (x)", 40),
    ],
)
def test_operators_outside_the_standard_need_the_release_that_they_are_known_in(node: str, needed: int) -> None:
    assert requirement([model(node)], PROVEN) == f">=1.{needed}"


def test_what_a_function_is_made_of_counts_and_calling_it_does_not() -> None:
    assert requirement([model("mine.f (x)", functions=function("Identity(x)"))], PROVEN) == ">=1.20"
    assert requirement([model("mine.f (x)", functions=function("Identity(x)", 23))], PROVEN) == ">=1.23"
    assert requirement([model("mine.f (x)", functions=function("com.microsoft.Gelu (x)"))], PROVEN) == ">=1.40"


def test_a_branch_counts() -> None:
    branches = (
        "If (c) <then_branch = g () => (float[n] a) { a = com.microsoft.Gelu (x) }, "
        "else_branch = h () => (float[n] b) { b = Identity(x) }>"
    )
    inside = ir.from_onnx_text(
        '<ir_version: 10, opset_import: ["" : 18, "com.microsoft" : 1]>\n'
        f"test (float[n] x, bool c) => (float[n] y) {{ y = {branches} }}"
    )
    assert requirement([inside], PROVEN) == ">=1.40"


def test_of_an_encoder_and_its_decoder_the_one_that_needs_more_counts() -> None:
    assert requirement([model("Identity(x)", 23), model("Identity(x)", 22)], PROVEN) == ">=1.23"


def test_a_release_is_two_numbers_of_any_version() -> None:
    assert [release(version) for version in ("1.20.0", "1.32.0rc1", "1.33.0.dev20260101")] == [
        (1, 20),
        (1, 32),
        (1, 33),
    ]

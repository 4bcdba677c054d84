"""What is rewritten in a decoder, and what stays; the tests of all families hold the numbers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

import edgeadapt
from edgeadapt.exporter import assemble
from edgeadapt.exporter.pipeline import export
from tests import tiny


def model_of(family: str, folder: Path, **config: Any) -> ir.Model:
    """Returns the switchable model of a tiny decoder with an adapter on its queries and values."""
    tiny.base(folder / "base", family, "text-generation", **config)
    turned = {"fan_in_fan_out": True} if family == "gpt2" else {}
    tiny.lora_adapter(folder / "base", folder / "one", "text-generation", 2, "all-linear", **turned)
    result = export(folder / "base", {"one": folder / "one"}, folder / "bundle")
    assert result.reports[1].max_abs_error <= 1e-5 < result.reports[1].effect
    return ir.load(result.path / assemble.MODEL)


def attentions(model: ir.Model) -> list[ir.Node]:
    return [node for node in model.graph if node.op_type == "GroupQueryAttention"]


def test_a_llama_has_one_operator_for_each_attention_and_each_norm(tmp_path: Path) -> None:
    model = model_of("llama", tmp_path, head_dim=16)

    kinds = Counter(node.op_type for node in model.graph)
    assert kinds["GroupQueryAttention"] == tiny.LAYERS
    assert kinds["SkipSimplifiedLayerNormalization"] == 2 * tiny.LAYERS
    assert kinds["RMSNormalization"] == 1  # the first, which no sum precedes
    assert not kinds.keys() & {"Attention", "RotaryEmbedding", "Concat", "Expand", "Transpose"}
    for node in attentions(model):
        assert node.attributes["do_rotary"].value == 1
        assert (node.attributes["num_heads"].value, node.attributes["kv_num_heads"].value) == (4, 2)
        assert "local_window_size" not in node.attributes
    assert "position_ids" not in {value.name for value in model.graph.inputs}
    shapes = {str(value.name): [str(dim) for dim in value.shape or ()] for value in model.graph.inputs}
    assert shapes["past_key_values.0.key"] == ["batch", "2", "capacity", "16"]


def test_heads_too_short_for_the_operator_are_rotated_outside_of_it(tmp_path: Path) -> None:
    model = model_of("llama", tmp_path)  # heads of 8

    assert [node.attributes["do_rotary"].value for node in attentions(model)] == [0, 0]
    assert "position_ids" in {value.name for value in model.graph.inputs}


def test_a_sliding_window_is_known_by_its_mask(tmp_path: Path) -> None:
    model = model_of("mistral", tmp_path, sliding_window=6, head_dim=16, num_key_value_heads=2)

    assert [node.attributes["local_window_size"].value for node in attentions(model)] == [6, 6]


def test_windows_differ_from_layer_to_layer(tmp_path: Path) -> None:
    model = model_of(
        "gemma3_text", tmp_path, sliding_window=6, sliding_window_pattern=2, head_dim=16, num_key_value_heads=2
    )

    windows = [
        node.attributes["local_window_size"].value
        for node in attentions(model)
        if "local_window_size" in node.attributes
    ]
    assert windows == [6]


def test_what_is_computed_in_parts_stays_as_it_is(tmp_path: Path) -> None:
    """BLOOM's attention has a bias for each distance, and is no single operator."""
    model = model_of("bloom", tmp_path)

    assert not attentions(model)
    shapes = {str(value.name): [str(dim) for dim in value.shape or ()] for value in model.graph.inputs}
    assert shapes["past_key_values.0.key"][2] == "past"


@pytest.mark.parametrize("family", ["llama", "bloom"])
def test_a_row_goes_on_from_its_own_place(family: str, tmp_path: Path) -> None:
    """Rows of several lengths, fed in pieces of several lengths, with columns in which some have no token."""
    model_of(family, tmp_path)
    session = edgeadapt.load(tmp_path / "bundle")
    rows = [[9, 8, 7, 6, 5, 4, 3], [20, 21, 22, 23], [30, 31, 32, 33, 34]]

    together = session.begin(3, ["one", None, "one"])
    together.feed(np.array([[9, 8, 7], [0, 0, 20], [0, 30, 31]]), np.array([[1, 1, 1], [0, 0, 1], [0, 1, 1]]))
    together.feed(np.array([[6], [21], [0]]), np.array([[1], [1], [0]]))
    got = together.feed(np.array([[5, 4, 3], [0, 22, 23], [32, 33, 34]]), np.array([[1, 1, 1], [0, 1, 1], [1, 1, 1]]))

    assert together.rows == rows
    for row, name in enumerate(("one", None, "one")):
        alone = session.begin(1, name).feed(np.array([rows[row]]))
        np.testing.assert_allclose(got[row], alone[0], atol=1e-5)

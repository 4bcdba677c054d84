"""Attentions as sites: which modules have one, and what their calls work on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch

from edgeadapt import tasks
from edgeadapt.exporter import assemble, cases, forward, preprocess, trace
from edgeadapt.exporter import base as bases
from edgeadapt.exporter.trace import Trace
from tests import tiny

TASK = "feature-extraction"


def traced(folder: Path, family: str, opset: int | None = None) -> tuple[Trace, bases.Base, cases.Case]:
    tiny.base(folder, family)
    with bases.quiet():
        base = bases.load(str(folder), TASK)
        case = cases.case(base, preprocess.load_preprocessing(folder))
        return trace.trace(base, case.example, case.axes, tasks.get(TASK).OUTPUTS, opset), base, case


@pytest.mark.parametrize(
    ("family", "names", "calls"),
    [
        ("bert", ["encoder.layer.0.attention.self", "encoder.layer.1.attention.self"], 1),
        ("distilbert", ["transformer.layer.0.attention", "transformer.layer.1.attention"], 1),
        ("gpt2", ["h.0.attn", "h.1.attn"], 1),
        ("albert", ["encoder.albert_layer_groups.0.albert_layers.0.attention"], 2),
        ("deberta-v2", [], 0),
    ],
)
def test_an_attention_is_a_site_where_it_is_one_operator(
    family: str, names: list[str], calls: int, tmp_path: Path
) -> None:
    found, _, _ = traced(tmp_path / "base", family)
    own = {name: wiring for name, wiring in found.wirings.sites.items() if wiring.site.kind == "attention"}

    assert list(own) == names  # in the order of the layers
    for wiring in own.values():
        assert (wiring.site.in_features, wiring.site.out_features) == (tiny.HEADS, tiny.HIDDEN // tiny.HEADS)
        assert len(wiring.calls) == calls
        assert wiring.site.rowwise


def test_there_is_none_where_the_opset_has_no_such_operator(tmp_path: Path) -> None:
    found, _, _ = traced(tmp_path / "base", "bert", opset=18)
    assert all(wiring.site.kind != "attention" for wiring in found.wirings.sites.values())


def test_its_x_is_what_enters_the_module_and_its_y_what_the_heads_say(tmp_path: Path) -> None:
    found, base, case = traced(tmp_path / "base", "bert")
    assemble.write_base(tmp_path, found.model, found.wirings)
    sites = [wiring for wiring in found.wirings.sites.values() if wiring.site.kind == "attention"]
    seen: dict[str, tuple[Any, Any]] = {}
    for wiring in sites:
        name = wiring.site.name
        base.model.get_submodule(name).register_forward_hook(
            lambda _, args, out, name=name: seen.update({name: (args[0].numpy(), out[0].numpy())})
        )
    with torch.no_grad():
        forward.run(base, case.inputs, list(tasks.get(TASK).OUTPUTS))

    model = ir.load(tmp_path / assemble.BASE)
    values = ir.convenience.create_value_mapping(model.graph)
    names = [end for wiring in sites for end in (wiring.calls[0].x, wiring.calls[0].y)]
    model.graph.outputs.extend(values[name] for name in names)
    ir.save(model, tmp_path / "probed.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "probed.onnx", providers=["CPUExecutionProvider"])
    given = dict(zip(names, session.run(names, case.inputs), strict=True))

    for wiring in sites:
        x, y = seen[wiring.site.name]
        np.testing.assert_allclose(given[wiring.calls[0].x], x, atol=1e-4)
        np.testing.assert_allclose(given[wiring.calls[0].y].transpose(0, 2, 1, 3).reshape(y.shape), y, atol=1e-4)

"""Folding leaves alone what an adapter doesn't touch, also where the base's weights lie in a file of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
from safetensors.numpy import load_file, save_file

from edgeadapt.exporter import assemble
from edgeadapt.exporter.pipeline import export
from edgeadapt.graph import sites
from edgeadapt.graph.fold import fold
from tests import tiny

HIDDEN = 128  # so wide that a bias of this length is stored outside of the graph
PRODUCTS = ("query", "key", "value")


def shared_biases(model: ir.Model) -> list[ir.Value]:
    """Returns the zero biases that lie outside of the graph, once for every node that adds one."""
    found = []
    for node in model.graph:
        if node.op_type in ("Add", "Gemm"):
            found += [
                value
                for value in node.inputs
                if value is not None
                and isinstance(value.const_value, ir.ExternalTensor)
                and value.const_value.shape == (HIDDEN,)
                and not value.const_value.numpy().any()
            ]
    return found


def test_an_untouched_bias_stays_the_initializer_that_others_share(tmp_path: Path) -> None:
    """A copy of it would be a view of the weights' file, which then could not be closed (BufferError)."""
    base = tiny.base(tmp_path / "base", hidden_size=HIDDEN, intermediate_size=HIDDEN)
    weights = load_file(base / "model.safetensors")
    for name in weights:
        if name.endswith(tuple(f"{product}.bias" for product in PRODUCTS)):
            weights[name][:] = 0
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    adapter = tiny.lora_adapter(base, tmp_path / "adapter", "feature-extraction", targets=["query", "value"])
    bundle = export(base, {"one": adapter}, tmp_path / "bundle").path
    model = ir.load(bundle / assemble.BASE)
    before = shared_biases(model)
    assert len(before) == tiny.LAYERS * len(PRODUCTS)
    assert len(set(before)) == 1

    fold(model, sites.read(bundle), assemble.read_subgraphs(bundle, ["one"]).items())
    after = shared_biases(model)
    ir.external_data.load_to_model(model)

    assert after == before
    assert after[0].const_value is not None
    np.testing.assert_array_equal(after[0].const_value.numpy(), np.zeros(HIDDEN, np.float32))

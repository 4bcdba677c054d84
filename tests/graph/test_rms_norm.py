"""RMS norms, one operator or several: found, switched and folded, against PyTorch."""

from __future__ import annotations

import warnings

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from torch import nn
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from edgeadapt.adapter import Adapter, Array, Attachment, Site
from edgeadapt.graph.fold import base_weights, fold
from edgeadapt.graph.locate import locate
from edgeadapt.graph.sites import Wiring, Wirings
from edgeadapt.graph.switch import switch

WIDTH, EPSILON = 8, 1e-6
SITE = Site("norm", "rms_norm", WIDTH, WIDTH, epsilon=EPSILON)


class Net(nn.Module):
    """A norm between two other steps."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = LlamaRMSNorm(WIDTH, EPSILON)
        self.norm.weight.data = torch.linspace(0.5, 2, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.norm(x * 2))


@pytest.fixture(params=[18, 23])
def exported(request: pytest.FixtureRequest) -> tuple[ir.Model, Wirings]:
    """The net at an opset, with its one site."""
    model = written(Net(), request.param)
    ops = {node.op_type for node in model.graph}
    assert ("RMSNormalization" in ops) == (request.param == 23)
    calls = locate(model, [SITE])["norm"]
    assert [call.batch for call in calls] == ["leading"]
    return model, Wirings("net", "", {"norm": Wiring(SITE, False, "in_out", calls)}, {})


def written(net: nn.Module, opset: int) -> ir.Model:
    """Returns the graph of a net, whose batch and length are free."""
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            net.eval(), (sample(),), dynamo=True, opset_version=opset, dynamic_shapes={"x": axes}, verbose=False
        )
    assert program is not None
    return program.model


def sample() -> torch.Tensor:
    return torch.randn(2, 3, WIDTH, generator=torch.Generator().manual_seed(0))


def run(model: ir.Model, **slots: Array) -> Array:
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    found: Array = session.run(None, {name: sample().numpy(), **slots})[0]
    return found


def expected(weight: Array) -> Array:
    net = Net()
    net.norm.weight.data = torch.from_numpy(weight)
    with torch.no_grad():
        return np.asarray(net(sample()))


class Gated(nn.Module):
    """A norm with a gate, as state-space models have."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = GatedNorm(WIDTH, EPSILON)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x * 2, x + 1)  # type: ignore[no-any-return]


class GatedNorm(LlamaRMSNorm):
    """Multiplies what enters by a gate."""

    def forward(self, hidden_states: torch.Tensor, gate: torch.Tensor | None = None) -> torch.Tensor:
        return super().forward(hidden_states if gate is None else hidden_states * gate)


def test_a_norm_with_a_second_input_is_no_site() -> None:
    assert locate(written(Gated(), 18), [SITE]) == {}


WEIGHT = np.linspace(-1, 3, WIDTH, dtype=np.float32)


def test_the_base_has_its_weight_and_no_bias(exported: tuple[ir.Model, Wirings]) -> None:
    model, wirings = exported

    weight, bias = base_weights(model)(wirings.sites["norm"])

    np.testing.assert_array_equal(weight, Net().norm.weight.detach())
    assert bias is None


def test_a_norm_of_an_adapter_is_switched_row_by_row(exported: tuple[ir.Model, Wirings]) -> None:
    model, wirings = exported
    own, _ = base_weights(model)(wirings.sites["norm"])

    switch(model, wirings, [("norm", "modules_to_save")])
    out = run(model, **{"norm.weight": np.stack([WEIGHT[None], own[None]])})

    np.testing.assert_allclose(out[0], expected(WEIGHT)[0], atol=1e-6)
    np.testing.assert_allclose(out[1], expected(own)[1], atol=1e-6)
    assert np.abs(expected(WEIGHT) - expected(own)).max() > 1


def test_a_norm_of_an_adapter_is_folded(exported: tuple[ir.Model, Wirings]) -> None:
    model, wirings = exported
    attachment = Attachment("norm", "modules_to_save", {"weight": WEIGHT[None, None]})

    fold(model, wirings, [("one", Adapter("ln_tuning", (attachment,), None, None, {}))])

    np.testing.assert_allclose(run(model), expected(WEIGHT), atol=1e-6)

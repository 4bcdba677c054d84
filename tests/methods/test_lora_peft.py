"""LoRA layers alone against live PEFT layers, and the subgraph that ships them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from edgeadapt.adapter import Adapter, Attachment, Site
from edgeadapt.errors import CheckpointError
from edgeadapt.graph import subgraph
from edgeadapt.graph.sites import Wiring, Wirings
from edgeadapt.methods import Module, lora

ROWS, LENGTH = 2, 6


class Two(nn.Module):
    """A table and two projections, enough for every kind of LoRA."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(11, 7)
        self.first = nn.Linear(7, 5)
        self.second = nn.Linear(5, 4, bias=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.second(self.first(self.table(ids)))
        return result


def peft_model(**options: Any) -> tuple[nn.Module, dict[str, np.ndarray]]:
    """Returns a PEFT model on `Two` whose LoRA is random throughout, and its tensors as PEFT saves them."""
    import peft

    torch.manual_seed(0)
    config = peft.LoraConfig(target_modules=["table", "first", "second"], **options)
    model = peft.get_peft_model(Two(), config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.normal_(0, 0.3)
    tensors = peft.get_peft_model_state_dict(model, save_embedding_layers=False)
    return model, {name.removeprefix("base_model.model."): tensor.numpy() for name, tensor in tensors.items()}


def params_of(site: Site, tensors: dict[str, np.ndarray], config: dict[str, object]) -> dict[str, np.ndarray]:
    """Returns what is read of one module."""
    split = {lora.split(name): tensor for name, tensor in tensors.items()}
    own = {parts[1]: tensor for parts, tensor in split.items() if parts is not None and parts[0] == site.name}
    return lora.read(config, Module(site.name, site, lambda: (np.empty(0), None), {}), own)["lora"]


def written(folder: Path, tensors: dict[str, np.ndarray], config: dict[str, object]) -> Path:
    """Writes the LoRA of `Two` as a subgraph."""
    kinds = {"table": ("embedding", 11, 7), "first": ("linear", 7, 5), "second": ("linear", 5, 4)}
    sites = {name: Site(name, *kind) for name, kind in kinds.items()}  # type: ignore[arg-type]  # literal in a table
    wirings = Wirings("two", "", {name: Wiring(site, False, "out_in", ()) for name, site in sites.items()}, {})
    attachments = tuple(Attachment(name, "lora", params_of(site, tensors, config)) for name, site in sites.items())
    path = folder / subgraph.FILE
    import onnx_ir as ir

    ir.save(subgraph.build(Adapter("lora", attachments, None, None, {}), wirings), path)
    return path


@pytest.mark.parametrize("rslora", [False, True])
def test_a_subgraph_alone_is_the_peft_layers(rslora: bool, tmp_path: Path) -> None:
    model, tensors = peft_model(r=3, lora_alpha=7, use_rslora=rslora)
    path = written(tmp_path, tensors, {"r": 3, "lora_alpha": 7, "use_rslora": rslora})
    onnx.checker.check_model(path, full_check=True)

    caught: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    inner: Any = model.get_submodule("base_model.model")
    for name in ("table", "first", "second"):
        layer = getattr(inner, name)
        layer.register_forward_hook(
            lambda _, args, out, name=name: caught.__setitem__(name, (args[0].detach(), out.detach()))
        )
    ids = torch.randint(0, 11, (ROWS, LENGTH))
    model.eval()(ids)
    feeds: dict[str, np.ndarray] = {}
    for name, (x, _) in caught.items():
        plain = getattr(inner, name).base_layer(x).detach()
        feeds |= {f"{name}/x": x.numpy(), f"{name}/y": plain.numpy()}
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    outputs = dict(zip([out.name for out in session.get_outputs()], session.run(None, feeds), strict=True))

    for name, (_, expected) in caught.items():
        np.testing.assert_allclose(outputs[f"{name}/out"], expected.numpy(), atol=1e-5)
        assert np.abs(expected.numpy() - feeds[f"{name}/y"]).max() > 0.1


def test_a_subgraph_gives_its_params_back(tmp_path: Path) -> None:
    _, tensors = peft_model(r=3, lora_alpha=7)
    path = written(tmp_path, tensors, {"r": 3, "lora_alpha": 7})

    attachments, _ = subgraph.read(path)

    assert [each.site for each in attachments] == ["table", "first", "second"]
    for each in attachments:
        assert each.method == "lora"
        site = Site(each.site, "embedding" if each.site == "table" else "linear", 0, 0)
        expected = params_of(site, tensors, {"r": 3, "lora_alpha": 7})
        for param, array in each.params.items():
            np.testing.assert_array_equal(array, expected[param])


def test_a_file_that_is_no_subgraph_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "subgraph.onnx"
    path.write_bytes(b"nothing of the kind")

    with pytest.raises(CheckpointError, match="not an adapter's subgraph"):
        subgraph.read(path)

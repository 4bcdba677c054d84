"""Sites: the values around a module's calls are what PyTorch's hooks see there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from edgeadapt.exporter import assemble, cases, forward, preprocess, trace
from edgeadapt.exporter import base as bases
from edgeadapt.graph import sites
from tests import tiny


@pytest.mark.parametrize(
    ("family", "task"),
    [
        ("bert", "feature-extraction"),
        ("albert", "feature-extraction"),
        ("deberta-v2", "feature-extraction"),
        ("swin", "image-classification"),
    ],
)
def test_x_and_y_of_every_call_are_what_pytorch_has_there(family: str, task: str, tmp_path: Path) -> None:
    import torch

    from edgeadapt import tasks

    tiny.base(tmp_path / "base", family, task)
    with bases.quiet():
        base = bases.load(str(tmp_path / "base"), task)
        case = cases.case(base, preprocess.load_preprocessing(tmp_path / "base"))
        traced = trace.trace(base, case.example, case.axes, tasks.get(task).OUTPUTS, None)
    assemble.write_base(tmp_path, traced.model, traced.wirings)
    wirings = sites.read(tmp_path)
    attached = {name: wiring for name, wiring in wirings.sites.items() if wiring.site.kind != "attention"}

    seen: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for name in attached:
        base.model.get_submodule(name).register_forward_hook(
            lambda _, args, out, name=name: seen.setdefault(name, []).append(
                (args[0].detach().numpy().copy(), out.detach().numpy().copy())
            )
        )
    forward.run(base, case.inputs, list(tasks.get(task).OUTPUTS))

    model = ir.load(tmp_path / assemble.BASE)
    values = ir.convenience.create_value_mapping(model.graph)
    wanted = {name for wiring in attached.values() for call in wiring.calls for name in (call.x, call.y)}
    given = {value.name for value in (*model.graph.inputs, *model.graph.outputs)}
    fixed = {name for name in wanted if values[name].is_initializer()}
    for name in sorted(wanted - given - fixed):
        values[name].shape = None
        model.graph.outputs.append(values[name])
    ir.save(model, tmp_path / "probed.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "probed.onnx", providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    found = {**case.inputs, **dict(zip(names, session.run(names, case.inputs), strict=True))}
    found |= {name: values[name].const_value.numpy() for name in fixed}  # type: ignore[union-attr]  # an initializer

    checked = 0
    for name, wiring in attached.items():
        if not wiring.calls:
            continue
        assert len(wiring.calls) == len(seen[name]), name
        for call, (x, y) in zip(wiring.calls, seen[name], strict=True):
            np.testing.assert_allclose(found[call.x].reshape(x.shape), x, atol=1e-4, err_msg=name)
            np.testing.assert_allclose(found[call.y].reshape(y.shape), y, atol=1e-4, err_msg=name)
            checked += 1
    assert checked >= 10
    assert torch.is_grad_enabled()


def test_nothing_of_the_machine_is_left_in_what_is_shipped(tiny_bundle: Path) -> None:
    import torch

    for path in tiny_bundle.rglob("*.onnx"):
        content = path.read_bytes()
        for trace_of_it in (b"stack_trace", b"pkg.torch", b"site-packages", str(Path(torch.__file__).parent).encode()):
            assert trace_of_it not in content, f"{path.name}: {trace_of_it!r}"

"""`edgeadapt merge`: one ONNX file that ONNX Runtime runs by itself, or a message and no file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import edgeadapt
from tests.cli.conftest import Invoke


def stored_inputs(bundle: Path) -> dict[str, np.ndarray]:
    with np.load(bundle / "adapters" / "none" / "parity.npz") as case:
        return {key.removeprefix("input/"): case[key] for key in case.files if key.startswith("input/")}


def test_a_folded_model_needs_no_slots(tiny_bundle: Path, tmp_path: Path, invoke: Invoke) -> None:
    output = tmp_path / "spam.onnx"
    result = invoke("merge", tiny_bundle, "--adapter", "spam", "--mode", "fold", "-o", output)
    assert result.stdout.splitlines()[-1] == f"wrote {output}"
    inputs = stored_inputs(tiny_bundle)
    model = onnxruntime.InferenceSession(output)
    assert {each.name for each in model.get_inputs()} == set(inputs)
    expected = edgeadapt.load(tiny_bundle).run(inputs, "spam")["logits"]
    np.testing.assert_allclose(model.run(["logits"], inputs)[0], expected, atol=1e-5)


def test_a_switchable_model_has_the_slots_of_its_adapters(tiny_bundle: Path, tmp_path: Path, invoke: Invoke) -> None:
    output = tmp_path / "spam.onnx"
    invoke("merge", tiny_bundle, "--adapter", "spam", "--mode", "switch", "-o", output)
    file = onnxruntime.AdapterFormat.read_adapter(str(tiny_bundle / "adapters" / "spam" / "weights.onnx_adapter"))
    slots = {name: value.numpy() for name, value in file.get_parameters().items()}  # `file` owns their memory
    inputs = stored_inputs(tiny_bundle)
    model = onnxruntime.InferenceSession(output)
    assert {each.name for each in model.get_inputs()} == {*inputs, *slots}
    expected = edgeadapt.load(tiny_bundle).run(inputs, "spam")["logits"]
    np.testing.assert_allclose(model.run(["logits"], {**inputs, **slots})[0], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Missing option '--adapter'"),
        (("--adapter", "spam"), "Missing option '--mode'"),
        (("--adapter", "spam", "--mode", "bend"), "'bend' is not one of 'fold', 'switch'"),
        (("--adapter", "spma", "--mode", "fold", "-o", "x.onnx"), "spma (did you mean 'spam'?)"),
        (("--adapter", "spam", "--adapter", "spam", "--mode", "fold", "-o", "x.onnx"), "each of them once"),
        (("--adapter", "spam", "--mode", "fold", "-o", "x.pt"), "must end in .onnx"),
        (("--adapter", "spam", "--mode", "fold", "-o", "here.onnx"), "here.onnx exists already"),
        (("--adapter", "spam", "--mode", "fold", "-o", "x.onnx", "--max-abs", "1e-12"), "expected at most 1e-12"),
    ],
)
def test_what_is_refused_writes_nothing(
    arguments: tuple[str, ...],
    message: str,
    tiny_bundle: Path,
    tmp_path: Path,
    invoke: Invoke,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.onnx").write_text("mine")
    assert message in invoke("merge", tiny_bundle, *arguments, code=2).stderr
    assert [path.name for path in tmp_path.iterdir()] == ["here.onnx"]
    assert (tmp_path / "here.onnx").read_text() == "mine"


def test_a_bundle_is_not_folded_in_place(tiny_bundle: Path, invoke: Invoke) -> None:
    output = tiny_bundle / "model-spam.onnx"
    told = invoke("merge", tiny_bundle, "--adapter", "spam", "--mode", "fold", "-o", output, code=2).stderr
    assert "spam can't be folded into a bundle in which intents stay switchable" in told
    assert not output.exists()

"""`edgeadapt add` and `edgeadapt remove`: a bundle gains an adapter, loses it, and is untouched by what is refused."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

import edgeadapt
from edgeadapt.bundle import adapter_names, read_adapter
from tests import tiny
from tests.cli.conftest import Invoke


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_an_adapter_comes_and_goes(bundle: Path, third_adapter: Path, invoke: Invoke) -> None:
    before = contents(bundle)
    words = ("--labels", "low,mid,high", "--problem-type", "regression")
    result = invoke("add", bundle, third_adapter, "--name", "third", *words)
    assert result.stdout.splitlines()[-1] == f"added third to {bundle}"
    assert any(line.startswith("third") and line.rstrip().endswith("passed") for line in result.stdout.splitlines())
    third = read_adapter(bundle / "adapters" / "third")
    assert (third.labels, third.problem_type) == (("low", "mid", "high"), "regression")
    assert edgeadapt.pipeline(bundle)("good film", adapter="third")[0]["label"] in ("low", "mid", "high")
    invoke("verify", bundle)
    assert invoke("remove", bundle, "third").stdout == f"removed third from {bundle}\n"
    assert contents(bundle) == before


def test_slots_that_are_missing_are_added(bundle: Path, tiny_base: Path, tmp_path: Path, invoke: Invoke) -> None:
    folder = tiny.lora_adapter(tiny_base, tmp_path / "wide", targets=["word_embeddings"], num_labels=2, seed=7)
    data = sha256((bundle / "model.onnx.data").read_bytes()).digest()
    invoke("add", bundle, folder, "--name", "wide")
    assert sha256((bundle / "model.onnx.data").read_bytes()).digest() == data
    invoke("verify", bundle)
    assert adapter_names(bundle) == ["intents", "none", "spam", "wide"]


def test_what_is_refused_changes_nothing(
    bundle: Path, third_adapter: Path, still_adapter: Path, tmp_path: Path, invoke: Invoke
) -> None:
    before = contents(bundle)
    other_base = tiny.base(tmp_path / "other", hidden_size=16, intermediate_size=32)
    other = tiny.lora_adapter(other_base, tmp_path / "other-adapter", num_labels=2)
    for folder, name, options, message in (
        (third_adapter, "spam", (), "has an adapter 'spam' already"),
        (third_adapter, "none", (), "'none' means the base itself"),
        (third_adapter, "../up", (), "'../up'"),
        (third_adapter, "third", ("--labels", "a,b"), "3 labels"),
        (third_adapter, "third", ("--problem-type", "regresion"), "(did you mean 'regression'?)"),
        (third_adapter, "third", ("--max-abs", "1e-12"), "expected at most 1e-12"),
        (tmp_path / "nowhere", "third", (), "nowhere is not a folder"),
        (still_adapter, "still", (), "--allow-no-effect lets it pass"),
        (other, "other", (), "does not fit"),
    ):
        assert message in invoke("add", bundle, folder, "--name", name, *options, code=2).stderr
        assert contents(bundle) == before


def test_an_adapter_without_effect_is_added_if_asked(bundle: Path, still_adapter: Path, invoke: Invoke) -> None:
    assert "no effect" in invoke("add", bundle, still_adapter, "--name", "still", "--allow-no-effect").stdout


@pytest.mark.parametrize(("name", "message"), [("spma", "did you mean 'spam'?"), ("none", "'none'"), ("..", "'..'")])
def test_only_an_adapter_can_be_removed(name: str, message: str, bundle: Path, invoke: Invoke) -> None:
    before = contents(bundle)
    assert message in invoke("remove", bundle, name, code=2).stderr
    assert contents(bundle) == before


@pytest.mark.parametrize("command", [("add", "x", "y", "--name", "z"), ("remove", "x", "z")])
def test_a_folder_that_is_no_bundle_is_refused(
    command: tuple[str, ...], tmp_path: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").mkdir()
    assert "x is not a bundle" in invoke(*command, code=2).stderr

"""`edgeadapt package`: a folder for a device, what it weighs, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import edgeadapt
from edgeadapt.cli.terminal import size
from tests.cli.conftest import Invoke
from tests.exporter import snapshot


def on_disk(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_sizes_are_shown_before_and_after(tiny_bundle: Path, tmp_path: Path, invoke: Invoke) -> None:
    result = invoke("package", tiny_bundle, "--adapters", "spam", "--strip-parity", "-o", tmp_path / "app")
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    assert (lines[0], lines[-1]) == ("sizes", f"wrote {tmp_path / 'app'}")
    rows = {" ".join(line.split()[:-4]): line.split()[-4:] for line in lines if line.endswith("B")}
    assert list(rows) == [
        "documents", "model", "tokenizer and templates", "adapters", "parity cases", "for conversion tools", "all",
    ]  # fmt: skip
    assert rows["all"] == [*size(on_disk(tiny_bundle)).split(), *size(on_disk(tmp_path / "app")).split()]
    assert rows["parity cases"][2:] == rows["for conversion tools"][2:] == ["0", "B"]
    assert list(edgeadapt.load(tmp_path / "app").adapters) == ["spam"]


def test_a_converted_model_is_compared(tiny_bundle: Path, tmp_path: Path, invoke: Invoke) -> None:
    result = invoke("package", tiny_bundle, "--ort-format", "-o", tmp_path / "app")
    assert result.stdout.splitlines()[0] == "against the model as it was"
    rows = [line.split() for line in result.stdout.splitlines() if line.rstrip().endswith(" passed")]
    assert [row[:2] for row in rows] == [
        ["intents", "0.0e+00"],
        ["none", "0.0e+00"],
        ["spam", "0.0e+00"],
        ["mixed", "rows"],
    ]
    assert (tmp_path / "app" / "model.ort").is_file()
    assert invoke("verify", tmp_path / "app").stdout.splitlines()[-1] == "all 3 passed"


def test_json_has_the_figures(tiny_bundle: Path, tmp_path: Path, invoke: Invoke) -> None:
    told = json.loads(invoke("package", tiny_bundle, "--ort-format", "-o", tmp_path / "app", "--json").stdout)
    assert told["path"] == str(tmp_path / "app")
    assert told["adapters"] == ["intents", "spam"]
    assert told["differences"] == {"intents": 0.0, "none": 0.0, "spam": 0.0, "mixed rows": 0.0}
    assert sum(each["before"] for each in told["bytes"].values()) == on_disk(tiny_bundle)
    assert sum(each["after"] for each in told["bytes"].values()) == on_disk(tmp_path / "app")
    assert told["bytes"]["model"]["after"] == (tmp_path / "app" / "model.ort").stat().st_size
    plain = json.loads(invoke("package", tiny_bundle, "-o", tmp_path / "plain", "--json").stdout)
    assert plain["differences"] == {}


def test_without_parity_cases_there_is_nothing_to_verify(tiny_bundle: Path, tmp_path: Path, invoke: Invoke) -> None:
    invoke("package", tiny_bundle, "--strip-parity", "-o", tmp_path / "app")
    for options in ((), ("--json",)):
        told = invoke("verify", tmp_path / "app", *options, code=2).stderr
        assert told.endswith(
            f"Error: {tmp_path / 'app'} holds no parity.npz, so there is nothing to prove here: "
            "it was packaged without.\n"
            "Verify the bundle that it was packaged from.\n"
        )
    assert invoke("run", tmp_path / "app", "--adapter", "spam", "--text", "good film").stdout
    assert invoke("inspect", tmp_path / "app").stdout


def test_a_package_is_for_a_device(tiny_bundle: Path, third_adapter: Path, tmp_path: Path, invoke: Invoke) -> None:
    app = tmp_path / "app"
    invoke("package", tiny_bundle, "-o", app)
    for call in (
        ("add", app, third_adapter, "--name", "third"),
        ("merge", app, "--adapter", "spam", "--mode", "fold", "-o", tmp_path / "x.onnx"),
    ):
        assert "packaged for a device.\nUse the bundle that export wrote." in invoke(*call, code=2).stderr
    invoke("remove", app, "intents")
    assert json.loads((app / "adapters" / "index.json").read_text()) == ["spam"]
    assert invoke("verify", app).stdout.splitlines()[-1] == "all 2 passed"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Missing option '-o'"),
        (("-o", "app", "--adapters", "spma,zzz"), "  spma (did you mean 'spam'?)\n  zzz\nIt has: intents, spam."),
        (("-o", "app", "--adapters", "spam,,intents"), "'spam,,intents' is not NAME,NAME"),
        (("-o", "app", "--adapters", ""), "'' is not NAME,NAME"),
        (("-o", "here"), "here is already there, and nothing is overwritten.\nRemove it or choose another."),
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
    (tmp_path / "here").mkdir()
    before = snapshot(tiny_bundle)
    assert message in invoke("package", tiny_bundle, *arguments, code=2).stderr
    assert [path.name for path in tmp_path.iterdir()] == ["here"]
    assert list((tmp_path / "here").iterdir()) == []
    assert snapshot(tiny_bundle) == before


def test_what_can_not_be_converted_is_refused(tiny_bundle: Path, tmp_path: Path, invoke: Invoke) -> None:
    invoke("package", tiny_bundle, "--ort-format", "--strip-parity", "-o", tmp_path / "app")
    told = invoke("package", tmp_path / "app", "--ort-format", "-o", tmp_path / "again", code=2).stderr
    assert "model.ort: in ORT format already" in told
    invoke("package", tiny_bundle, "--strip-parity", "-o", tmp_path / "plain")
    told = invoke("package", tmp_path / "plain", "--ort-format", "-o", tmp_path / "again", code=2).stderr
    assert "holds no parity.npz to prove by" in told
    assert not (tmp_path / "again").exists()

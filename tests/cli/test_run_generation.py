"""`edgeadapt` on a decoder: a recipe makes the bundle, and one text is written on as it comes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import edgeadapt
from edgeadapt.bundle import GenerationRecord, read_manifest, write_manifest
from edgeadapt.cli import terminal
from edgeadapt.cli.commands import commands
from tests import tiny
from tests.cli.conftest import Invoke
from tests.tasks.decoders import base
from tests.test_layers import COMMAND, DEVICE_LACKS, without

TEXT = "Hello, our phone"
SHORT = ("--max-new-tokens", "12")


@pytest.fixture(scope="session")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT-2 with the adapter `tales` and a chat template, made by a recipe. Read-only."""
    folder = tmp_path_factory.mktemp("decoder")
    base(folder / "base", "byte level")
    tiny.lora_adapter(folder / "base", folder / "tales", "text-generation", 3, "c_attn", seed=3, fan_in_fan_out=True)
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        f"base: {folder / 'base'}\nadapters:\n  tales: {folder / 'tales'}\ntask: text-generation\n"
        f"output: {folder / 'bundle'}\n"
    )
    result = CliRunner().invoke(commands, ["export", "--config", str(recipe)])
    assert result.exit_code == 0, result.output
    assert "mixed rows" in result.stdout
    return folder / "bundle"


def pieces(decoder: Path, value: Any, **options: Any) -> str:
    write: Any = edgeadapt.pipeline(decoder)
    return "".join(write.stream(value, **{"max_new_tokens": 12, **options}))


@pytest.mark.parametrize("adapter", [None, "tales"])
def test_one_text_is_written_on(decoder: Path, adapter: str | None, invoke: Invoke) -> None:
    chosen = ("--adapter", adapter) if adapter else ()
    written = invoke("run", decoder, "--text", TEXT, *chosen, *SHORT).stdout
    assert written == pieces(decoder, TEXT, adapter=adapter) + "\n"
    assert len(written) > 4


def test_pieces_are_shown_one_by_one(decoder: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(terminal, "show_pieces", shown.extend)
    assert invoke("run", decoder, "--text", TEXT, *SHORT).stdout == ""
    assert len(shown) > 2
    assert "".join(shown) == pieces(decoder, TEXT)


def test_a_chat_is_answered(decoder: Path, invoke: Invoke) -> None:
    written = invoke("run", decoder, "--text", TEXT, "--chat", "--adapter", "tales", *SHORT).stdout
    assert written == pieces(decoder, [{"role": "user", "content": TEXT}], adapter="tales") + "\n"
    assert written != invoke("run", decoder, "--text", TEXT, "--adapter", "tales", *SHORT).stdout


def test_draws_take_their_options(decoder: Path, invoke: Invoke) -> None:
    options = {"temperature": 0.9, "top_k": 40, "top_p": 0.95, "seed": 3}
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    written = invoke("run", decoder, "--text", TEXT, *flags, *SHORT).stdout
    assert written == pieces(decoder, TEXT, **options) + "\n"
    assert written != invoke("run", decoder, "--text", TEXT, *flags[:-1], "--seed", "4", *SHORT).stdout


@pytest.mark.parametrize("chat", [False, True], ids=["texts", "chats"])
def test_several_texts_are_a_line_each(decoder: Path, chat: bool, invoke: Invoke) -> None:
    texts, adapters = [TEXT, "never"], ["tales", "none"]
    arguments = [f"--text={text}" for text in texts] + [f"--adapter={adapter}" for adapter in adapters]
    result = invoke("run", decoder, *arguments, *SHORT, *(["--chat"] if chat else []))
    values = [[{"role": "user", "content": text}] if chat else text for text in texts]
    expected = edgeadapt.pipeline(decoder)(values, adapter=adapters, max_new_tokens=12)
    assert [json.loads(line) for line in result.stdout.splitlines()] == expected


def test_a_file_of_one_text_is_a_line(decoder: Path, invoke: Invoke) -> None:
    row = json.dumps({"text": TEXT, "adapter": "tales"})
    result = invoke("run", decoder, "--input", "-", *SHORT, stdin=row)
    assert json.loads(result.stdout) == edgeadapt.pipeline(decoder)(TEXT, adapter="tales", max_new_tokens=12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--text", TEXT), "256 new ones are more than the model's 128 positions; max_new_tokens can be 1"),
        (("--text", ""), "the prompt is empty"),
        (("--text", TEXT, "--adapter", "tails"), "There is no adapter 'tails' (did you mean 'tales'?)"),
        (("--text", TEXT, "--top-k", "5", *SHORT), "top_k: has no effect at temperature 0"),
        (("--text", TEXT, "--temperature", "nan", *SHORT), "temperature: got nan"),
        (("--text", TEXT, "--max-new-tokens", "0"), "--max-new-tokens"),
        (("--text", TEXT, "--top-p", "0"), "--top-p"),
        (("--text", TEXT, "--temperature", "-1"), "--temperature"),
        (("--image", "a.png", *SHORT), "--image 1: got image, and text-generation takes text"),
    ],
)
def test_what_is_wrong_is_refused(arguments: tuple[str, ...], message: str, decoder: Path, invoke: Invoke) -> None:
    assert message in invoke("run", decoder, *arguments, code=2).stderr


def test_a_pair_does_not_go_on(decoder: Path, invoke: Invoke) -> None:
    row = json.dumps({"text": "a", "text_pair": "b"})
    told = invoke("run", decoder, "--input", "-", *SHORT, stdin=row, code=2).stderr
    assert "line 1: got text and text_pair, and text-generation takes text" in told


def test_options_of_generation_mean_nothing_to_a_classifier(tiny_bundle: Path, invoke: Invoke) -> None:
    asked = ("run", tiny_bundle, "--text", "a", "--adapter", "spam")
    told = invoke(*asked, "--temperature", "1", "--seed", "2", code=2).stderr
    assert "--temperature, --seed have no meaning for text-classification.\nLeave them out." in told
    assert "--max-new-tokens has no meaning for text-classification" in invoke(*asked, *SHORT, code=2).stderr
    assert "--chat has no meaning for text-classification" in invoke(*asked, "--chat", code=2).stderr


def test_a_chat_without_a_template_is_refused(decoder: Path, tmp_path: Path, invoke: Invoke) -> None:
    bundle = Path(shutil.copytree(decoder, tmp_path / "bundle"))
    manifest = read_manifest(bundle)
    assert isinstance(manifest.generation, GenerationRecord) and manifest.generation.chat is not None
    write_manifest(bundle, replace(manifest, generation=replace(manifest.generation, chat=None)))
    told = invoke("run", bundle, "--text", TEXT, "--chat", *SHORT, code=2).stderr
    assert "The bundle has no chat template: the base it was exported from had none." in told
    assert invoke("run", bundle, "--text", TEXT, *SHORT).stdout == pieces(decoder, TEXT) + "\n"
    (bundle / "chat_template.jinja").write_text("{{ 'other' }}")
    write_manifest(bundle, manifest)
    assert "chat_template.jinja" in invoke("run", bundle, "--text", TEXT, *SHORT, code=2).stderr


def test_inspect_shows_the_cache_once_and_how_texts_end(decoder: Path, invoke: Invoke) -> None:
    lines = [" ".join(line.split()) for line in invoke("inspect", decoder).stdout.splitlines()]
    text = " ".join(lines)  # long cells take several lines
    shapes = {tensor.name: list(tensor.shape) for tensor in read_manifest(decoder).inputs}
    shape = ", ".join(map(str, shapes["past_key_values.1.key"]))
    assert f"2 past_key_values.*.key ({shape}), 2 past_key_values.*.value ({shape})" in text
    assert "kept_positions (batch, kept)" in text
    assert "end tokens 0" in lines and "positions 128" in lines and "chat template chat_template.jinja" in lines
    document = json.loads(invoke("inspect", decoder, "--json").stdout)["base"]
    assert document["inputs"] == shapes
    assert (document["end_tokens"], document["positions"]) == ([0], 128)
    assert document["chat_template"] == "chat_template.jinja"


def test_verify_replays_the_proof(decoder: Path, invoke: Invoke) -> None:
    document = json.loads(invoke("verify", decoder, "--json").stdout)
    assert document["passed"] and [each["name"] for each in document["adapters"]] == ["none", "tales"]
    assert document["adapters"][1]["effect"] > 0.01


def test_a_device_answers_with_no_framework(decoder: Path) -> None:
    lacks = [name for name in DEVICE_LACKS if name not in ("click", "rich", "edgeadapt.cli", "edgeadapt.exporter")]
    done = without((*lacks, "onnx_ir"), COMMAND, "run", decoder, "--text", TEXT, "--chat", "--adapter", "tales", *SHORT)
    assert (done.returncode, "Error" in done.stderr) == (0, False)
    assert done.stdout == pieces(decoder, [{"role": "user", "content": TEXT}], adapter="tales") + "\n"

"""`edgeadapt export`: what it writes and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgeadapt.bundle import adapter_names, read_adapter, read_manifest
from tests import tiny
from tests.cli.conftest import Invoke


def test_arguments_become_a_bundle(
    tiny_base: Path, tiny_adapters: dict[str, Path], tmp_path: Path, invoke: Invoke
) -> None:
    output = tmp_path / "bundle"
    result = invoke(
        "export", tiny_base, *(f"--adapter={name}={folder}" for name, folder in tiny_adapters.items()),
        "--labels", "spam=ham, spam", "--problem-type", "intents=multi_label_classification", "--as-lora", "spam=4",
        "--task", "text-classification", "-o", output,
    )  # fmt: skip
    assert f"wrote {output}\n" in result.stdout
    for name in ("none", "spam", "intents", "mixed rows"):
        assert any(
            line.startswith(name) and line.endswith("passed") for line in map(str.strip, result.stdout.splitlines())
        )
    assert adapter_names(output) == ["intents", "none", "spam"]
    assert read_adapter(output / "adapters" / "spam").labels == ("ham", "spam")
    assert read_adapter(output / "adapters" / "spam").problem_type is None
    stands_in = read_adapter(output / "adapters" / "spam").source["as_lora"]
    assert stands_in["rank"] == 4
    assert f"note: spam: LoRAs of rank 4 keep {stands_in['kept']:.2%} of its change" in result.stdout
    assert "as_lora" not in read_adapter(output / "adapters" / "intents").source
    assert read_adapter(output / "adapters" / "intents").labels == tuple(f"LABEL_{index}" for index in range(5))
    assert read_adapter(output / "adapters" / "intents").problem_type == "multi_label_classification"


def test_a_recipe_becomes_a_bundle(
    tiny_base: Path, tiny_adapters: dict[str, Path], tmp_path: Path, invoke: Invoke
) -> None:
    recipe = tmp_path / "recipe.yaml"
    spam = {"path": str(tiny_adapters["spam"]), "labels": ["ham", "spam"], "problem_type": "regression"}
    settings = {"base": str(tiny_base), "output": "bundle", "opset": 18, "adapters": {"spam": spam}}
    recipe.write_text(json.dumps(settings))
    result = invoke("export", "--config", recipe)
    assert f"wrote {tmp_path / 'bundle'}\n" in result.stdout
    manifest = read_manifest(tmp_path / "bundle")
    assert (manifest.task, manifest.model.opset) == ("text-classification", 18)
    record = read_adapter(tmp_path / "bundle" / "adapters" / "spam")
    assert (record.labels, record.problem_type) == (("ham", "spam"), "regression")


def test_another_runtime_loads_the_bundle_of_a_decoder(tmp_path: Path, invoke: Invoke) -> None:
    tiny.base(tmp_path / "base", "llama", "text-generation")
    tales = tiny.lora_adapter(tmp_path / "base", tmp_path / "tales", "text-generation", targets="q_proj")
    output = tmp_path / "bundle"

    result = invoke("export", tmp_path / "base", f"--adapter=tales={tales}", "--runtime", "genai", "-o", output)

    lines = [line.strip() for line in result.stdout.splitlines()]
    for name in ("none, genai", "tales, genai"):
        assert any(line.startswith(name) and line.endswith("passed") for line in lines)
    assert {"genai.onnx", "genai_config.json"} <= set(read_manifest(output).files)


@pytest.mark.parametrize("arguments", [["--task", "text-classification"], ["--task", "fill-mask"]])
def test_another_runtime_is_refused_where_it_runs_no_such_task(
    arguments: list[str], tiny_base: Path, tmp_path: Path, invoke: Invoke
) -> None:
    result = invoke("export", tiny_base, "--runtime", "genai", *arguments, "-o", tmp_path / "bundle", code=2)
    assert f"onnxruntime-genai runs text-generation, and the task is {arguments[1]}." in result.stderr
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "BASE and -o missing"),
        (["base"], "-o missing"),
        (["-o", "out"], "BASE missing"),
        (["base", "-o", "out", "--adapter", "spam"], "'spam' is not NAME=DIR"),
        (["base", "-o", "out", "--adapter", "=x", "--adapter", "y="], "'=x' is not NAME=DIR; 'y=' is not NAME=DIR"),
        (["base", "-o", "out", "--adapter", "a=x", "--adapter", "a=y"], "'a' is given twice"),
        (["base", "-o", "out", "--adapter", "a=x", "--labels", "b=c,d"], "--labels for b"),
        (["base", "-o", "out", "--as-lora", "b=8"], "--as-lora for b, and no --adapter of that name"),
        (["base", "-o", "out", "--as-lora", "0", "--as-lora", "=3"], "'0' is not [NAME=]RANK; '=3' is not [NAME=]RANK"),
        (["base", "-o", "out", "--as-lora", "8", "--as-lora", "9"], "a rank for all is given twice"),
        (["base", "-o", "out", "--problem-type", "b=c"], "--problem-type for b, and no --adapter of that name"),
        (["base", "-o", "out", "--problem-type", "b"], "'b' is not NAME=TYPE"),
        (["base", "-o", "out", "--max-abs", "0"], "--max-abs"),
        (["--config", "recipe.yaml", "base"], "leave out '[BASE]'"),
        (["--config", "recipe.yaml", "--allow-pickle"], "leave out '--allow-pickle'"),
        (["--config", "recipe.yaml", "-o", "out", "--task", "fill-mask"], "leave out '--task', '-o' / '--output'"),
        (["--config", "no-such.yaml"], "no-such.yaml can't be read: No such file or directory"),
    ],
)
def test_wrong_arguments_are_refused(arguments: list[str], message: str, invoke: Invoke) -> None:
    assert message in " ".join(invoke("export", *arguments, code=2).stderr.split())


def test_a_recipe_with_mistakes_is_refused_with_all_of_them(tmp_path: Path, invoke: Invoke) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("bas: x\noutput: out\nadapters: {spam: 3}\n")
    told = invoke("export", "--config", recipe, code=2).stderr
    assert "line 1: a recipe has no key 'bas' (did you mean 'base'?)" in told
    assert "line 3: adapters.spam: expected text, got a whole number (3)" in told
    assert "base: missing" in told


class TestNothingIsWritten:
    """Each of these fails at another point of the story, and leaves neither a bundle nor a part of one."""

    @pytest.fixture(autouse=True)
    def parent(self, tmp_path: Path) -> Path:
        return tmp_path

    def refused(self, invoke: Invoke, parent: Path, *arguments: object) -> str:
        result = invoke("export", *arguments, "-o", parent / "out" / "bundle", code=2)
        assert not list(parent.glob("out/*")) and not list(parent.glob("out/.*"))
        return result.stderr.removeprefix("Error: ")

    def test_unknown_task(self, tiny_base: Path, parent: Path, invoke: Invoke) -> None:
        told = self.refused(invoke, parent, tiny_base, "--task", "text-clasification")
        assert "'text-clasification' (did you mean 'text-classification'?)" in told

    def test_a_base_that_is_not_there(self, tiny_adapters: dict[str, Path], parent: Path, invoke: Invoke) -> None:
        told = self.refused(invoke, parent, parent / "nowhere", "--adapter", f"spam={tiny_adapters['spam']}")
        assert str(parent / "nowhere") in told

    def test_unknown_problem_types(
        self, tiny_base: Path, tiny_adapters: dict[str, Path], parent: Path, invoke: Invoke
    ) -> None:
        given = [f"--adapter={name}={folder}" for name, folder in tiny_adapters.items()]
        types = ("--problem-type", "spam=regresion", "--problem-type", "intents=multi_label")
        told = self.refused(invoke, parent, tiny_base, *given, *types)
        assert "spam: 'regresion' is no problem type (did you mean 'regression'?)" in told
        assert "intents: 'multi_label' is no problem type" in told

    def test_an_adapter_that_is_not_there(self, tiny_base: Path, parent: Path, invoke: Invoke) -> None:
        assert "nowhere" in self.refused(invoke, parent, tiny_base, "--adapter", f"spam={parent / 'nowhere'}")

    @pytest.mark.parametrize("name", ["none", "a/b", "nul", "-x", "é"])
    def test_an_unsafe_name(
        self, name: str, tiny_base: Path, tiny_adapters: dict[str, Path], parent: Path, invoke: Invoke
    ) -> None:
        told = self.refused(invoke, parent, tiny_base, f"--adapter={name}={tiny_adapters['spam']}")
        assert f"{name!r}" in told

    def test_no_effect(self, tiny_base: Path, still_adapter: Path, parent: Path, invoke: Invoke) -> None:
        told = self.refused(invoke, parent, tiny_base, "--adapter", f"still={still_adapter}")
        assert "no effect" in told
        assert "--allow-no-effect" in told

    def test_numbers_beyond_the_tolerance(
        self, tiny_base: Path, tiny_adapters: dict[str, Path], parent: Path, invoke: Invoke
    ) -> None:
        told = self.refused(
            invoke, parent, tiny_base, "--adapter", f"spam={tiny_adapters['spam']}", "--max-abs", "1e-12"
        )
        assert "expected at most 1e-12" in told


def test_an_output_that_is_there_is_left_as_it_is(tiny_base: Path, tmp_path: Path, invoke: Invoke) -> None:
    (tmp_path / "precious").write_text("mine")
    assert "already there" in invoke("export", tiny_base, "-o", tmp_path, code=2).stderr
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_an_adapter_without_effect_passes_if_asked(
    tiny_base: Path, still_adapter: Path, tmp_path: Path, invoke: Invoke
) -> None:
    result = invoke(
        "export", tiny_base, "--adapter", f"still={still_adapter}", "--allow-no-effect", "-o", tmp_path / "bundle"
    )
    assert "no effect" in result.stdout

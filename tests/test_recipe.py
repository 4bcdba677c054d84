"""Recipes: what they mean, every mistake with its line, and the ones that the project ships."""

from __future__ import annotations

import inspect
import shutil
from pathlib import Path

import pytest

from edgeadapt import tasks
from edgeadapt.errors import ConfigError
from edgeadapt.exporter import recipe
from edgeadapt.exporter.pipeline import AdapterSource, export
from edgeadapt.exporter.recipe import Recipe
from edgeadapt.parity import Tolerance

CONFIGS = sorted((Path(__file__).resolve().parents[1] / "export_configs").glob("*.yaml"))


def read(folder: Path, text: str) -> Recipe:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return recipe.read(path)


def problems(folder: Path, text: str) -> list[str]:
    """Returns the lines of the error, without the headline and the remedy."""
    with pytest.raises(ConfigError) as caught:
        read(folder, text)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{folder / 'recipe.yaml'} is not a recipe:"
    assert lines[-1].startswith("A recipe has base, output, adapters, and may have task, ")
    return [line.strip() for line in lines[1:-1]]


def test_a_recipe_with_everything(tmp_path: Path) -> None:
    text = """
base: ./model
task: token-classification
output: ../out
opset: 18
precision: int4
runtime: genai
tolerance:
  max_abs: 1e-5
  effect_fraction: 0.1
allow_no_effect: true
allow_pickle: yes
adapters:
  spam: adapters/spam
  names: {path: /data/names, labels: [O, "no", B-PER]}
  price: {path: price, problem_type: regression, as_lora: 8}
"""
    assert read(tmp_path, text) == Recipe(
        base=str(tmp_path / "model"),
        adapters={
            "spam": AdapterSource(tmp_path / "adapters" / "spam"),
            "names": AdapterSource(Path("/data/names"), ("O", "no", "B-PER")),
            "price": AdapterSource(tmp_path / "price", problem_type="regression", as_lora=8),
        },
        output=tmp_path / ".." / "out",
        task="token-classification",
        opset=18,
        precision="int4",
        runtime="genai",
        tolerance=Tolerance(1e-5, 0.1),
        allow_no_effect=True,
        allow_pickle=True,
    )


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int4"])
def test_a_precision_is_the_one_it_says(precision: str, tmp_path: Path) -> None:
    assert read(tmp_path, f"{{base: x, output: out, adapters: {{}}, precision: {precision}}}").precision == precision


def test_what_is_left_out_has_the_defaults_of_export(tmp_path: Path) -> None:
    found = read(tmp_path, "{base: org/model, output: out, adapters: {spam: spam}}")
    options = inspect.signature(export).parameters
    for name in ("task", "opset", "precision", "runtime", "tolerance", "allow_no_effect", "allow_pickle"):
        assert getattr(found, name) == options[name].default


def test_half_a_tolerance_keeps_the_other_half(tmp_path: Path) -> None:
    found = read(tmp_path, "{base: x, output: out, adapters: {}, tolerance: {effect_fraction: 1}}")
    assert found.tolerance == Tolerance(effect_fraction=1.0)
    assert found.adapters == {}


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("org/model", "org/model"),
        ("models/here", "{folder}/models/here"),
        ("./org/model", "{folder}/org/model"),
        ("../model", "{folder}/../model"),
        ("/models/bert", "/models/bert"),
        ("~/bert", "{home}/bert"),
    ],
)
def test_a_base_is_a_folder_or_a_hub_id(base: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "models" / "here").mkdir(parents=True)
    found = read(tmp_path, f"{{base: {base}, output: out, adapters: {{}}}}").base
    assert found == expected.format(folder=tmp_path, home=Path.home())


def test_every_mistake_is_named_with_its_line(tmp_path: Path) -> None:
    text = """bse: x
task: text-clasification
output: [a]
opset: new
tolerance:
  max_abs: small
  efect_fraction: 0.1
  effect_fraction: -1
allow_no_effect: 1
allow_pickle: "yes"
adapters:
  none: x
  spam: {path: y, label: [a]}
  intents: {labels: []}
  reviews:
  spam: z
  words: {path: y, labels: [yes, 3, ok, ""]}
  price: {path: y, problem_type: regresion}
  topics: {path: y, problem_type: [regression]}
"""
    assert problems(tmp_path, text) == [
        "line 1: a recipe has no key 'bse' (did you mean 'base'?)",
        "line 2: task: 'text-clasification' is no task (did you mean 'text-classification'?); there are "
        f"{', '.join(tasks.names())}",
        "line 3: output: expected text, got a list",
        "line 4: opset: expected a whole number, got text (new)",
        "line 6: tolerance.max_abs: expected a number, got text (small)",
        "line 7: tolerance has no key 'efect_fraction' (did you mean 'effect_fraction'?)",
        "line 8: tolerance.effect_fraction: -1.0 is not a number over 0",
        "line 9: allow_no_effect: expected true or false, got a whole number (1)",
        "line 10: allow_pickle: expected true or false, got text (yes)",
        "line 12: Not a name for an adapter: 'none' means the base itself.",
        "line 13: adapters.spam has no key 'label' (did you mean 'labels'?)",
        "line 14: adapters.intents.labels: expected a list of texts, got an empty list",
        "line 14: adapters.intents.path: missing",
        "line 15: adapters.reviews: expected text, got nothing",
        "line 16: 'spam' stands in line 13 already",
        "line 17: adapters.words.labels[0]: expected text, got true or false (yes); put it in quotes",
        "line 17: adapters.words.labels[1]: expected text, got a whole number (3); put it in quotes",
        "line 17: adapters.words.labels[3]: is empty",
        "line 18: adapters.price.problem_type: 'regresion' is no problem type (did you mean 'regression'?); there are "
        "regression, single_label_classification, multi_label_classification",
        "line 19: adapters.topics.problem_type: expected text, got a list",
        "base: missing",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- base\n", "line 1: a recipe: expected keys with values, got a list"),
        ("base", "line 1: a recipe: expected keys with values, got text (base)"),
        ("{base: x, output: y, adapters: [spam]}", "line 1: adapters: expected keys with values, got a list"),
        ("{base: x, output: y, adapters: {}, opset: 0}", "line 1: opset: 0 is less than 1"),
        (
            "{base: x, output: y, adapters: {}, runtime: genia}",
            "line 1: runtime: 'genia' is none that a bundle can be written for (did you mean 'genai'?); there is genai",
        ),
        (
            "{base: x, output: y, adapters: {a: {path: z, as_lora: 0}}}",
            "line 1: adapters.a.as_lora: 0 is less than 1",
        ),
        (
            "{base: x, output: y, adapters: {}, opset: 18.5}",
            "line 1: opset: expected a whole number, got a number (18.5)",
        ),
        (
            "{base: x, output: y, adapters: {}, tolerance: {max_abs: .inf}}",
            "line 1: tolerance.max_abs: inf is not a number over 0",
        ),
        ("{base: x, output: y, adapters: {}, [a]: b}", "line 1: a recipe: a key has to be text"),
        ("{base: x, output: y, adapters: {}, <<: {task: z}}", "line 1: a recipe has no key '<<'"),
        ("{base: '', output: y, adapters: {}}", "line 1: base: is empty"),
        ("{base: 3, output: y, adapters: {}}", "line 1: base: expected text, got a whole number (3); put it in quotes"),
    ],
)
def test_a_mistake_has_one_line(text: str, expected: str, tmp_path: Path) -> None:
    found = [line for line in problems(tmp_path, text) if not line.endswith(": missing")]
    assert len(found) == 1
    assert found[0].startswith(expected)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"base: [x\n", "is not YAML:\n  line 2, column 1: "),
        (b"base: x\n\tb: y\n", "is not YAML:\n  line 2, column 1: "),
        (b"base: \xe9", "is not UTF-8 text"),
        (b"", "is empty"),
        (b"# nothing\n", "is empty"),
        (b"a: \x00", "is not YAML"),
        (b"[" * 100_000, "is not YAML"),
        (b"a: 1\n---\nb: 2\n", "is not YAML"),
        (b"base: !!python/object:os.system x\noutput: y\nadapters: {}\n", "base: expected text"),
    ],
)
def test_what_is_no_yaml_is_refused(content: bytes, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        recipe.read(path)
    assert expected in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read: No such file or directory"):
        recipe.read(tmp_path / "recipe.yaml")
    with pytest.raises(ConfigError, match="can't be read: Is a directory"):
        recipe.read(tmp_path)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_the_project_s_recipes_are_valid(path: Path) -> None:
    found = recipe.read(path)
    assert found.adapters
    for source in found.adapters.values():
        assert (source.folder / "adapter_config.json").is_file()


@pytest.mark.real
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_the_project_s_recipes_run(path: Path, minilm: Path, tmp_path: Path) -> None:
    found = recipe.read(path)
    assert Path(found.base).resolve() == minilm
    exported = export(
        found.base,
        found.adapters,
        tmp_path / "bundle",
        task=found.task,
        opset=found.opset,
        precision=found.precision,
        runtime=found.runtime,
        tolerance=found.tolerance,
        allow_no_effect=found.allow_no_effect,
        allow_pickle=found.allow_pickle,
    )
    assert max(report.max_abs_error for report in exported.reports) <= 1e-5
    shutil.rmtree(exported.path)

"""Recipes: an export written down in YAML. Every mistake is named with its line, all of them at once.

    base: ../.models/all-MiniLM-L6-v2        # a folder, or a hub id
    task: text-classification                # optional, as all but base, output and adapters
    output: ../build/minilm-multitask
    opset: 23
    precision: fp32                          # or fp16, for GPUs; or int4, for text-generation
    runtime: genai                           # for a decoder: onnxruntime-genai loads the bundle, too
    tolerance: {max_abs: 1e-4, effect_fraction: 0.01}
    allow_no_effect: false
    allow_pickle: false
    adapters:
      spam: ../examples/adapters/spam
      intents: {path: ../examples/adapters/intents, labels: [play, book], problem_type: single_label_classification}
      reviews: {path: ../examples/adapters/reviews, as_lora: 8}

Relative paths start at the recipe's folder. A base that is neither there nor written as a path (`./`, `../`, `/`, `~`)
is a hub id.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgeadapt import bundle, tasks
from edgeadapt.errors import AdapterError, ConfigError, listed, nearest
from edgeadapt.exporter import genai, problem_types
from edgeadapt.exporter.genai import Runtime
from edgeadapt.exporter.pipeline import AdapterSource
from edgeadapt.exporter.precision import PRECISIONS, Precision
from edgeadapt.exporter.strict_yaml import Mapped, Node, Reader, compose
from edgeadapt.parity import Tolerance

REQUIRED = ("base", "output", "adapters")
OPTIONAL = ("task", "opset", "precision", "runtime", "tolerance", "allow_no_effect", "allow_pickle")
TOLERANCE_KEYS = ("max_abs", "effect_fraction")
ADAPTER_KEYS = ("path", "labels", "problem_type", "as_lora")


@dataclass(frozen=True, slots=True)
class Recipe:
    """One export, as `edgeadapt.export` takes it.

    Attributes:
        base: Folder or hub id.
        adapters: Folder of every adapter by name, and what is to be said about it or done with it.
        output: The bundle's folder.
        task: The task, or None to take it from the adapters.
        opset: The ONNX opset, or None for the newest that works.
        precision: How the base's weights are stored.
        runtime: What else loads the bundle, or None.
        tolerance: What the parity gate holds every adapter to.
        allow_no_effect: Lets adapters pass that don't move the base's outputs.
        allow_pickle: Permits adapters in `.bin` files.
    """

    base: str
    adapters: Mapping[str, AdapterSource]
    output: Path
    task: str | None
    opset: int | None
    precision: Precision
    runtime: Runtime | None
    tolerance: Tolerance
    allow_no_effect: bool
    allow_pickle: bool


def read(path: Path) -> Recipe:
    """Reads the recipe at `path`.

    Raises:
        ConfigError: The file can't be read, is no YAML, or has mistakes: all of them, one a line.
    """
    reader = Reader()
    fields = reader.fields(compose(path), "a recipe", REQUIRED + OPTIONAL)
    base = reader.text(fields.get("base"), "base")
    output = reader.text(fields.get("output"), "output")
    adapters = _adapters(reader, fields.get("adapters"), path.parent)
    task = reader.checked(fields.get("task"), "task", reader.text, _task_problem)
    opset = reader.checked(fields.get("opset"), "opset", reader.integer, _positive_problem)
    precision = reader.checked(fields.get("precision"), "precision", reader.text, _precision_problem)
    runtime = reader.checked(fields.get("runtime"), "runtime", reader.text, genai.runtime_problem)
    tolerance = _tolerance(reader, fields.get("tolerance"))
    allow_no_effect = reader.boolean(fields.get("allow_no_effect"), "allow_no_effect")
    allow_pickle = reader.boolean(fields.get("allow_pickle"), "allow_pickle")
    problems = reader.problems + [f"{key}: missing" for key in REQUIRED if key not in fields]
    if problems or base is None or output is None:
        raise ConfigError.collect(
            f"{path} is not a recipe:", problems, f"A recipe has {listed(REQUIRED)}, and may have {listed(OPTIONAL)}."
        )
    return Recipe(
        base=_base(path.parent, base),
        adapters=adapters,
        output=path.parent / Path(output).expanduser(),
        task=task,
        opset=opset,
        precision=next((each for each in PRECISIONS if each == precision), "fp32"),
        runtime=next((each for each in genai.RUNTIMES if each == runtime), None),
        tolerance=tolerance,
        allow_no_effect=bool(allow_no_effect),
        allow_pickle=bool(allow_pickle),
    )


def _adapters(reader: Reader, node: Node | None, folder: Path) -> dict[str, AdapterSource]:
    """Returns every adapter's source: a path, or a path with what is to be said about its head."""
    sources: dict[str, AdapterSource] = {}
    for name, where, value in reader.entries(node, "adapters"):
        if problem := _name_problem(name):
            reader.wrong(where, problem)
        given, labels, problem_type, as_lora = value, None, None, None
        if isinstance(value, Mapped):
            fields = reader.fields(value, f"adapters.{name}", ADAPTER_KEYS)
            labels = reader.texts(fields.get("labels"), f"adapters.{name}.labels")
            problem_type = reader.checked(
                fields.get("problem_type"), f"adapters.{name}.problem_type", reader.text, problem_types.problem
            )
            as_lora = reader.checked(
                fields.get("as_lora"), f"adapters.{name}.as_lora", reader.integer, _positive_problem
            )
            if "path" not in fields:
                reader.wrong(where, f"adapters.{name}.path: missing")
                continue
            given = fields["path"]
        path = reader.text(given, f"adapters.{name}")
        if path is not None:
            sources[name] = AdapterSource(folder / Path(path).expanduser(), labels, problem_type, as_lora)
    return sources


def _tolerance(reader: Reader, node: Node | None) -> Tolerance:
    fields = reader.fields(node, "tolerance", TOLERANCE_KEYS)
    given = {
        key: reader.checked(value, f"tolerance.{key}", reader.number, _limit_problem) for key, value in fields.items()
    }
    return Tolerance(**{key: number for key, number in given.items() if number is not None})


def _base(folder: Path, base: str) -> str:
    """Returns a base's folder from where the recipe lies, or the hub id that it is otherwise."""
    path = folder / Path(base).expanduser()
    return str(path) if base.startswith((".", "/", "~")) or path.exists() else base


def _task_problem(task: str) -> str:
    known = tasks.names()
    return "" if task in known else f"is no task{nearest(task, known)}; there are {listed(known)}"


def _precision_problem(precision: str) -> str:
    return "" if precision in PRECISIONS else f"is no precision; there are {listed(PRECISIONS)}"


def _positive_problem(number: int) -> str:
    return "" if number > 0 else "is less than 1"


def _limit_problem(number: float) -> str:
    return "" if math.isfinite(number) and number > 0 else "is not a number over 0"


def _name_problem(name: str) -> str:
    try:
        bundle.check_adapter_name(name)
    except AdapterError as error:
        return str(error).partition("\n")[0]
    return ""

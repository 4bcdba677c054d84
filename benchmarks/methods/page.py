"""Writes `docs/methods.md` from `benchmarks/results/` and from the docstrings of `edgeadapt/methods/`."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.methods.zoo import FAMILIES, LIBRARIES, Case
from edgeadapt import methods
from edgeadapt.runtime import blend

VARIANTS = {"bottleneck": "bottleneck-relu", "oft": "oft-8", "compacter": "bottleneck-gelu"}
FORMS = {
    "adalora": "lora", "adapterhub_lora": "lora", "loha": "lora", "lokr": "lora", "vera": "lora", "boft": "oft",
    "ln_tuning": "modules_to_save", "compacter": "bottleneck", "p_tuning": "prompt",
}  # fmt: skip
"""The form of a file that only reads."""

HEAD = """# Methods

Every adapter method that edgeadapt knows, what it computes, and how near ONNX Runtime came to the library that trains
it: the largest absolute error on the parity inputs, beside how far the adapter moves the outputs. An error means
something only beside an effect. This page is made by `make methods`, which runs all of it; the formulas are the first
lines of the files in `edgeadapt/methods/`, named as there.
"""


def document(results: Path) -> str:
    """Returns the page."""
    found = [
        json.loads(path.read_text(encoding="utf-8"))
        for library in LIBRARIES
        if (path := results / f"methods-{library}.json").is_file()
    ]
    rows: dict[str, Mapping[str, Any]] = {title: row for each in found for title, row in each["rows"].items()}
    cases = [case for cases in LIBRARIES.values() for case in cases if case.title in rows]
    overhead = results / "overhead.json"
    parts = [HEAD, "## What each computes\n", _formulas(cases), "## What each can do\n", _abilities(cases, rows)]
    parts += ["## How near it comes\n", _errors(cases, rows, found)]
    if overhead.is_file():
        parts += ["## What it costs\n", _costs(json.loads(overhead.read_text(encoding="utf-8")))]
    return "\n".join(parts)


def _formulas(cases: list[Case]) -> str:
    rows = []
    for form in dict.fromkeys(case.form for case in cases):
        text = (importlib.import_module(f"edgeadapt.methods.{form}").__doc__ or "").strip()
        first = " ".join(text.split("\n\n")[0].split())
        source = re.search(r"Source: (.*?)(?:\.\s|\.$|\n\n)", text + "\n\n", re.DOTALL)
        rows.append((f"`{form}`", first, " ".join(source.group(1).split()) if source else ""))
    return _table(("file", "formula", "source"), rows)


def _abilities(cases: list[Case], rows: Mapping[str, Mapping[str, Any]]) -> str:
    lines = []
    for case in cases:
        form = FORMS.get(case.form, case.form)
        name = VARIANTS.get(form, form)
        rule = blend.rule(name)
        blends = "refused" if rule is None else "one a blend" if rule is blend.alone else "exact"
        fold = "into the weights" if isinstance(methods.get(name), methods.Foldable) else "as constants"
        size = rows[case.title].get("minilm")
        lines.append((case.title, "yes", fold, "yes", blends, f"{size['bytes'] / 1e3:.0f} KB" if size else "-"))
    note = "\nBytes are those of the adapters below on MiniLM (6 layers, 384 wide), fp32.\n"
    return _table(("method", "switch", "fold", "mixed rows", "blend", "size"), lines) + note


def _errors(cases: list[Case], rows: Mapping[str, Mapping[str, Any]], found: list[dict[str, Any]]) -> str:
    lines = []
    for case in cases:
        cells = [_cell(rows[case.title].get(family)) for family in FAMILIES]
        lines.append((case.title, *cells))
    titles = [family if family == "minilm" else f"tiny {family}" for family in FAMILIES]
    words = " and ".join(each["versions"] for each in found)
    return (
        _table(("method", *titles), lines)
        + "\nEach cell: the largest error of switched, folded and in a batch with all the other methods / the effect.\n"
        + f"Measured with {words}.\n"
    )


def _cell(found: Mapping[str, float] | None) -> str:
    if found is None:
        return "-"
    error = max(found["error"], found["folded"], found["mixed"])
    return f"{error:.1e} / {found['effect']:.2g}"


def _costs(result: Mapping[str, Any]) -> str:
    rows = [
        (
            str(each["name"]).partition(" / base")[0],
            f"{each['raw']['multiplications_share']:.1%}",
            f"{each['value']:.3f}",
            " to ".join(f"{end:.3f}" for end in each["quartiles"] or ()),
        )
        for each in result["figures"]
    ]
    return (
        _table(("method", "share of the multiplications", "run / base's run", "quartiles"), rows)
        + f"\n{result['how']} BERT-base's size, {result['figures'][0]['raw']['counts']}.\n"
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(each.replace('|', chr(92) + '|') for each in line)} |" for line in lines) + "\n"

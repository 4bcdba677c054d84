"""Writes `docs/methods.md` from `benchmarks/results/` and from the docstrings of `edgeadapt/methods/`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.methods.cases import FAMILIES, Case, Library
from benchmarks.methods.formulas import describe
from benchmarks.methods.zoo import LIBRARIES
from benchmarks.models import methods as costs
from edgeadapt import methods
from edgeadapt.runtime import blend

LAW = 1e-5
"""The largest error that a tiny model may have."""

TITLES: Mapping[Library, str] = {
    "peft": "PEFT",
    "adapters": "AdapterHub",
    "torch": "Your own modules",
}
HEAD = """# Methods

Every adapter method that edgeadapt knows: what it can do, what it costs, how near ONNX Runtime comes to the library
that trains it, and its formula. `make methods` measures all of it and writes this page.

- [What each can do and costs](#what-each-can-do-and-costs)
- [How near it comes](#how-near-it-comes)
- [What is rounding](#what-is-rounding)
- [What each computes](#what-each-computes)
"""
ABILITIES = """## What each can do and costs

**Switch**: chosen by an argument of the run. **Fold**: absorbed into the base's weights, at no cost, or where it is no
change of weights put into the graph as constants. **Mixed rows**: every row of a batch may use another adapter.
**Blend**: several at once, each with a weight; *one a blend* means that only one of them may bring it. **Trained** and
**stored** count numbers, of 4 bytes each: what the library saves, and what the bundle has of it, with everything
multiplied out that can be; for the adapters measured below, on MiniLM (6 layers of 384). **Run** is the time of a run
with an adapter switched on over the plain base's, at BERT-base's size; in brackets, the adapter that it was measured
of. Folded into the weights, all cost nothing. The files are those [below](#what-each-computes).
"""
ERRORS = """## How near it comes

Each cell: **the largest absolute error / the effect**. The error is the largest of three: switched, folded, and in
batches whose rows have all the other methods of its table, against the library's own outputs in PyTorch. The effect is
how far the adapter moves the base's outputs; an error means something only beside it. The adapters' weights are drawn
at random, and large. The tiny bases have 2 layers of 32 and random weights; MiniLM is the real all-MiniLM-L6-v2.
A number in brackets says below why a method is not on a base.
"""
ROUNDING = """## What is rounding

PyTorch's outputs are rounded too. The same adapters, loaded by their libraries and run by PyTorch in float64, tell how
far each side is from what is right: the largest distance over all methods that are measured without a head. Both sides
are about as far, and which one is nearer differs from adapter to adapter: what is between them is rounding. Weights
drawn at random make much of it: they reach further than trained ones, and a rotation of OFT made of them stretches what
it should only turn.
"""
FORMULAS = """## What each computes

By the files in `edgeadapt/methods/`: what the first lines of each say. `x` enters a module and `y` leaves it; `y'`
takes the place of `y`, and `x'` that of `x`; `delta` is added to a weight. Some are parts that others are made of.
"""


@dataclass(frozen=True, slots=True)
class Results:
    """What was measured.

    Attributes:
        rows: By method and base.
        versions: What it was measured with, by library.
        overhead: The overhead measure's document, or None.
    """

    rows: Mapping[str, Mapping[str, Any]]
    versions: Mapping[Library, str]
    overhead: Mapping[str, Any] | None


def document(folder: Path) -> str:
    """Returns the page from the results in a folder."""
    results = _read(folder)
    parts = [HEAD, ABILITIES]
    parts += [f"### {TITLES[each]}\n\n{_abilities(cases, results)}" for each, cases in LIBRARIES.items()]
    parts += [_overhead(results), ERRORS]
    parts += [f"### {TITLES[each]}: errors\n\n{_errors(cases, results)}" for each, cases in LIBRARIES.items()]
    parts += [_versions(results), ROUNDING, _rounding(results), FORMULAS, _formulas()]
    return "\n".join(parts)


def _read(folder: Path) -> Results:
    rows: dict[str, Any] = {}
    versions: dict[Library, str] = {}
    for library in LIBRARIES:
        if (path := folder / f"methods-{library}.json").is_file():
            found = json.loads(path.read_text(encoding="utf-8"))
            rows |= found["rows"]
            versions[library] = found["versions"]
    path = folder / "overhead.json"
    return Results(rows, versions, json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None)


def _abilities(cases: Sequence[Case], results: Results) -> str:
    ratios = {
        str(each["name"]).partition(" / base")[0]: f"{each['value']:.3f}"
        for each in (results.overhead or {"figures": ()})["figures"]
    }
    timed = {case.title for case in costs.CASES}
    lines = []
    for case in cases:
        row = results.rows.get(case.title, {})
        if not row:
            continue
        family = "minilm" if "minilm" in row else next(iter(row))
        found = row[family]
        counts = [f"{found[what]:,}" + ("" if family == "minilm" else f" ({family})") for what in ("trained", "stored")]
        run = f"{ratios.get(case.cost, 'not yet')} ({case.cost})" if case.cost in timed else case.cost
        lines.append(
            (case.title, f"`{case.form}`", "yes", _fold(found["forms"]), "yes", _blend(found["forms"]), *counts, run)
        )
    return _table(("method", "file", "switch", "fold", "mixed rows", "blend", "trained", "stored", "run"), lines)


def _fold(forms: Sequence[str]) -> str:
    absorbed = {isinstance(methods.get(form), methods.Foldable) for form in forms}
    return "into the weights" if absorbed == {True} else "as constants" if absorbed == {False} else "both"


def _blend(forms: Sequence[str]) -> str:
    rules = [blend.rule(form) for form in forms]
    return "refused" if None in rules else "one a blend" if blend.alone in rules else "exact"


def _overhead(results: Results) -> str:
    if results.overhead is None:
        return ""
    figures = results.overhead["figures"]
    rows = [
        (
            str(each["name"]).partition(" / base")[0],
            f"{each['raw']['multiplications_share']:.1%}",
            f"{each['value']:.3f}",
            " to ".join(f"{end:.3f}" for end in each["quartiles"] or ()),
        )
        for each in figures
    ]
    table = _table(("method", "share of the multiplications", "run / base's run", "quartiles"), rows)
    counts = figures[0]["raw"]["counts"]
    return f"### What a run costs\n\n{results.overhead['how']} At BERT-base's size; {counts}.\n\n{table}"


def _errors(cases: Sequence[Case], results: Results) -> str:
    reasons = list(dict.fromkeys(reason for case in cases for reason in case.absent.values()))
    lines = []
    for case in cases:
        row = results.rows.get(case.title, {})
        cells = [
            f"[{reasons.index(case.absent[family]) + 1}]" if family in case.absent else _cell(row.get(family))
            for family in FAMILIES
        ]
        lines.append((case.title, *cells))
    titles = ["MiniLM" if family == "minilm" else f"tiny {family}" for family in FAMILIES]
    notes = "".join(f"\n{number}. {reason}" for number, reason in enumerate(reasons, 1))
    return _table(("method", *titles), lines) + (f"{notes}\n" if notes else "")


def _cell(found: Mapping[str, float] | None) -> str:
    return "not yet" if found is None else f"{_worst(found):.1e} / {found['effect']:.2g}"


def _worst(found: Mapping[str, float]) -> float:
    return max(found["error"], found["folded"], found["mixed"])


def _versions(results: Results) -> str:
    words = "; ".join(f"{TITLES[library]} with {versions}" for library, versions in results.versions.items())
    return f"Measured: {words}.\n"


def _rounding(results: Results) -> str:
    """Returns how far both sides are from float64 on every base, and every error that is over the law."""
    sides = ("runtime_to_exact", "torch_to_exact")
    lines = []
    for family in FAMILIES:
        found = [row[family] for row in results.rows.values() if sides[0] in row.get(family, {})]
        if found:
            lines.append((family, str(len(found)), *(f"{max(each[side] for each in found):.1e}" for side in sides)))
    table = _table(("base", "methods", "ONNX Runtime to float64", "PyTorch to float64"), lines)
    over = [
        (
            title,
            family,
            *(f"{found[what]:.1e}" for what in ("error", "folded", "mixed")),
            *(f"{found[side]:.1e}" if side in found else "-" for side in sides),
        )
        for title, row in results.rows.items()
        for family, found in row.items()
        if _worst(found) > LAW
    ]
    if not over:
        return f"{table}\nNo error is over {LAW:.0e}.\n"
    head = ("method", "base", "switched", "folded", "mixed", "ONNX Runtime to float64", "PyTorch to float64")
    return f"{table}\nErrors over {LAW:.0e}, and how much of them is each side's own:\n\n{_table(head, over)}"


def _formulas() -> str:
    found = [(name, describe(name)) for name in methods.names()]
    rows = [(f"`{name}`", each.what, each.formulas, each.source) for name, each in found]
    return _table(("file", "what it is", "formula", "source"), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(each.replace('|', chr(92) + '|') for each in line)} |" for line in lines) + "\n"

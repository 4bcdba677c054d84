"""Writes `docs/benchmarks.md` from the files in `benchmarks/results/`, and from nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import measures
from benchmarks.results import Figure, Result, read
from benchmarks.settings import THREADS

PARITY = "parity"
_HEAD = """# Benchmarks

How fast and how small edgeadapt is, measured against targets that were set before. This page is made by `python -m
benchmarks table` from the files in `benchmarks/results/`, which hold every round. `make bench` measures all of it.
"""


def load(folder: Path) -> list[Result]:
    """Returns the results that are in `folder`, in the order of the measures."""
    return [read(path) for name in measures.NAMES if (path := folder / f"{name}.json").is_file()]


def document(results: Sequence[Result]) -> str:
    """Returns the page: verdict, figures, parity, and how each was measured."""
    if not results:
        return f"{_HEAD}\nNothing was measured yet.\n"
    parts = [_HEAD, _verdict(results)]
    timed = [result for result in results if result.name != PARITY]
    if timed:
        rows = [_row(figure) for result in timed for figure in result.figures]
        parts.append("## Speed and size\n")
        parts.append(_table(("what", "measured", "quartiles", "target", "verdict", "from"), rows))
    parts += [_parity(result) for result in results if result.name == PARITY]
    parts.append(_method(results))
    parts.append(_machines(results))
    return "\n".join(parts)


def _verdict(results: Sequence[Result]) -> str:
    """Returns which targets are missed, by name, or that all are met."""
    judged = [(result, figure) for result in results for figure in result.figures if figure.met is not None]
    missed = [
        f"- **Missed:** {figure.name}: {_number(figure)}, target {_target(figure)} (`{result.name}`)"
        for result, figure in judged
        if not figure.met
    ]
    absent = [f"`{name}`" for name in measures.NAMES if name not in {result.name for result in results}]
    lines = missed or [f"All {len(judged)} targets are met."]
    lines += [f"Not measured: {', '.join(absent)}."] if absent else []
    return "\n".join(lines) + "\n"


def _row(figure: Figure) -> tuple[str, ...]:
    spread = "-" if figure.quartiles is None else " to ".join(f"{each:.3f}" for each in figure.quartiles)
    verdict = {None: "-", True: "met", False: "**missed**"}[figure.met]
    return figure.name, _number(figure), spread, _target(figure), verdict, _origin(figure)


def _number(figure: Figure) -> str:
    """Returns a figure's value with its unit; a ratio has none."""
    if figure.unit == "abs error":
        return f"{figure.value:.1e}"
    return f"{figure.value:.3f}" + ("" if figure.unit == "ratio" else f" {figure.unit}")


def _target(figure: Figure) -> str:
    if figure.target is None:
        return "-"
    return f"≤ {figure.target:g}" + ("" if figure.unit in ("ratio", "abs error") else f" {figure.unit}")


def _origin(figure: Figure) -> str:
    """Returns what the value was computed from."""
    raw = figure.raw
    if "variant_ms" in raw:
        rate = f"; {raw['tokens_per_s']:.0f} tokens a second" if "tokens_per_s" in raw else ""
        return f"{raw['variant_ms']:.1f} ms / {raw['against_ms']:.1f} ms{rate}"
    if "taken_mb" in raw:
        return f"{raw['taken_mb']:.0f} MB / {raw['held_mb']:.0f} MB"
    if "adapter_mb" in raw:
        return f"({raw['all_mb']:.0f} MB - {raw['before_mb']:.0f} MB) / {raw['adapter_mb']:.0f} MB"
    if "import_s" in raw:
        return f"imports before it: {raw['import_s']:.2f} s; torch not imported"
    return "-"


def _parity(result: Result) -> str:
    rows = []
    for figure in result.figures:
        effect, top1 = figure.raw.get("effect"), figure.raw.get("top1_agreement")
        rows.append(
            (
                figure.name,
                _number(figure),
                "-" if effect is None else f"{effect:.2g}",
                "-" if top1 is None else f"{top1:.0%}",
                _target(figure),
                "met" if figure.met else "**missed**",
            )
        )
    table = _table(("adapter", "max abs error", "effect", "top-1", "target", "verdict"), rows)
    reference = next((found for figure in result.figures if (found := figure.raw.get("reference"))), "PyTorch")
    return f"## {result.title}\n\nReference: {reference}.\n\n{table}"


def _method(results: Iterable[Result]) -> str:
    lines = [
        "## How it was measured\n",
        "Where no model is named: BERT-base's size (12 layers of 768, 30522 tokens), random weights with a seed, fp32, "
        f"LoRA of rank 8 on query and value, a head of two labels, {THREADS} threads, no padding. A ratio of times is "
        "taken in one process: both variants run in blocks of consecutive calls that take turns; a round gives the "
        "ratio of its two medians, and the figure is the median over the rounds, with their first and third quartile. "
        "What differs between two sessions of the very same model is the noise of the machine.\n",
    ]
    for result in results:
        counts = list(dict.fromkeys(str(figure.raw["counts"]) for figure in result.figures if "counts" in figure.raw))
        lines.append(f"**{result.title}** (`python -m benchmarks {result.name}`). {result.how}")
        lines += [f"Counts: {'; '.join(counts)}."] if counts else []
        lines.append("")
    return "\n".join(lines)


def _machines(results: Iterable[Result]) -> str:
    """Returns what was measured where: one line for all results of the same machine, versions and day."""
    groups: dict[str, list[tuple[str, float | None]]] = {}
    for result in results:
        groups.setdefault(_machine(result.machine), []).append((result.name, result.machine.get("others_share")))
    lines = ["## Machine\n"]
    for machine, members in groups.items():
        shares = [share for _, share in members if share is not None]
        load = f" Meanwhile others took {min(shares):.0%} to {max(shares):.0%} of the processor." if shares else ""
        names = f" ({', '.join(name for name, _ in members)})" if len(groups) > 1 else ""
        lines.append(f"- {machine}.{load}{names}")
    return "\n".join(lines) + "\n"


def _machine(facts: Mapping[str, Any]) -> str:
    beside = f", onnxruntime-genai {found}" if (found := facts.get("onnxruntime_genai")) else ""
    gpu = f"{found} (name, driver), " if (found := facts.get("gpu")) else ""
    return (
        f"{gpu}{facts['cpu']}, {facts['cores']} cores, {facts['memory_gb']} GB, {facts['system']}; "
        f"Python {facts['python']}, onnxruntime {facts['onnxruntime']}{beside}, numpy {facts['numpy']}, "
        f"edgeadapt {facts['edgeadapt']}; {facts['date']}"
    )


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"

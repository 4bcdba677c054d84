"""`edgeadapt inspect`: what a bundle holds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeadapt.cli import options, terminal

if TYPE_CHECKING:
    from edgeadapt.bundle import AdapterRecord, Manifest

_COLUMNS = (
    "adapter",
    "method",
    "rank",
    "sites",
    "labels",
    "problem type",
    "size",
    "max abs error",
    "effect",
    "top-1",
    "reference",
)


@click.command(
    epilog="""\b
Examples:
  edgeadapt inspect bundle
  edgeadapt inspect bundle --json
"""
)
@click.argument("bundle", type=options.FOLDER)
@options.json_option
@options.debug_option
def inspect(bundle: Path, as_json: bool) -> None:
    """Show the base, the sites and the adapters of BUNDLE. Nothing is run."""
    from edgeadapt import bundle as bundles

    manifest = bundles.read_manifest(bundle)
    homes = [bundle / bundles.ADAPTERS / name for name in bundles.adapter_names(bundle)]
    records = [bundles.read_adapter(home) for home in homes]
    bundles.verify_files(bundle, manifest.files, hashes=False)
    for home, record in zip(homes, records, strict=True):
        bundles.verify_files(home, record.files, hashes=False)
    adapters = [(home.name, record) for home, record in zip(homes, records, strict=True)]
    if as_json:
        sites = {site: sorted(methods) for site, methods in _sites(manifest).items()}
        facts = {name: _facts(record) for name, record in adapters}
        terminal.show_json({"base": _base(manifest), "sites": sites, "adapters": facts})
        return
    terminal.show_table(
        "base", ("", ""), [(key.replace("_", " "), _text(value)) for key, value in _base(manifest).items()]
    )
    terminal.show_table("sites", ("site", "count", "methods"), _patterns(manifest))
    terminal.show_table("adapters", _COLUMNS, [_row(name, _facts(record)) for name, record in adapters])


def _base(manifest: Manifest) -> dict[str, Any]:
    return {
        "task": manifest.task,
        "model_type": manifest.model_type,
        "model": manifest.model.file,
        "precision": manifest.model.precision,
        "opset": manifest.model.opset,
        "onnxruntime": manifest.model.onnxruntime,
        "inputs": {tensor.name: list(tensor.shape) for tensor in manifest.inputs},
        "outputs": {tensor.name: list(tensor.shape) for tensor in manifest.outputs},
        "labels": manifest.labels and list(manifest.labels),
        "problem_type": manifest.problem_type,
        "end_tokens": manifest.generation and list(manifest.generation.eos_ids),
        "positions": manifest.generation and manifest.generation.positions,
        "chat_template": _chat(manifest),
        "bytes": sum(record.bytes for record in manifest.files.values()),
        "fingerprint": manifest.fingerprint,
        "format": manifest.format,
        "producer": manifest.producer,
    }


def _chat(manifest: Manifest) -> str | None:
    chat = getattr(manifest.generation, "chat", None)
    return None if chat is None else str(chat.file)


def _facts(record: AdapterRecord) -> dict[str, Any]:
    ranks = {facts["rank"] for methods in record.sites.values() for facts in methods.values() if "rank" in facts}
    return {
        "method": record.method,
        "ranks": sorted(ranks),
        "sites": len(record.sites),
        "labels": record.labels and list(record.labels),
        "problem_type": record.problem_type,
        "bytes": sum(each.bytes for each in record.files.values()),
        "parity": record.parity
        and {
            "max_abs_error": record.parity.max_abs_error,
            "effect": record.parity.effect,
            "cosine": record.parity.cosine,
            "top1_agreement": record.parity.top1_agreement,
            "tolerance": record.parity.tolerance,
            "reference": record.parity.reference,
        },
        "source": record.source,
    }


def _row(name: str, facts: dict[str, Any]) -> tuple[str, ...]:
    parity = facts["parity"]
    figures = (
        ("-", "-", "-", "-")
        if parity is None
        else (
            f"{parity['max_abs_error']:.1e}",
            f"{parity['effect']:.1e}" if facts["sites"] else "-",
            "-" if parity["top1_agreement"] is None else f"{parity['top1_agreement']:.1%}",
            parity["reference"],
        )
    )
    ranks = ", ".join(map(str, facts["ranks"])) or "-"
    labels = str(len(facts["labels"])) if facts["labels"] else "-"
    problem_type = facts["problem_type"] or "-"
    return (
        name,
        facts["method"],
        ranks,
        str(facts["sites"]),
        labels,
        problem_type,
        terminal.size(facts["bytes"]),
        *figures,
    )


def _sites(manifest: Manifest) -> dict[str, set[str]]:
    """Returns the methods of every site, in the order of the slots."""
    sites: dict[str, set[str]] = {}
    for slot in manifest.slots:
        sites.setdefault(slot.site, set()).add(slot.method)
    return sites


def _patterns(manifest: Manifest) -> list[tuple[str, str, str]]:
    """Returns one row for all sites whose names differ only in numbers."""
    counts: dict[tuple[str, str], int] = {}
    for site, methods in _sites(manifest).items():
        key = (re.sub(r"\d+", "*", site), ", ".join(sorted(methods)))
        counts[key] = counts.get(key, 0) + 1
    return [(pattern, str(count), methods) for (pattern, methods), count in counts.items()]


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, dict):
        return ", ".join(_members(value))
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)


def _members(members: dict[str, Any]) -> list[str]:
    """Returns what a table says of arrays by name: shapes once for all names that differ only in numbers.

    Example:
        >>> _members({"past.0.key": ["batch", 8], "past.1.key": ["batch", 8], "x": ["batch"]})
        ['2 past.*.key (batch, 8)', 'x (batch)']
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for name, shape in members.items():
        groups.setdefault((re.sub(r"\d+", "*", name), f"({', '.join(map(str, shape))})"), []).append(name)
    return [
        f"{names[0]} {shape}" if len(names) == 1 else f"{len(names)} {pattern} {shape}"
        for (pattern, shape), names in groups.items()
    ]

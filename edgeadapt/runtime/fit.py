"""Tells whether an adapter's arrays fit the slots of a model: everything that is wrong, one line each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from edgeadapt.bundle import CACHE
from edgeadapt.errors import AdapterError, listed
from edgeadapt.runtime.decoder import of_manifest
from edgeadapt.runtime.filling import label_count
from edgeadapt.runtime.inputs import fits, shown

if TYPE_CHECKING:
    from edgeadapt.bundle import AdapterRecord, Manifest, Slot
    from edgeadapt.runtime.filling import Array

Symbol: TypeAlias = tuple[str, str, str]


def check_fit(
    name: str, record: AdapterRecord, arrays: Mapping[str, Array], base: Mapping[str, Array], manifest: Manifest
) -> None:
    """Refuses an adapter that does not fit.

    Args:
        name: The adapter's name in messages.
        record: Its `adapter.json`.
        arrays: What it brings, by slot, and what a cache begins with by the name that it enters under.
        base: The neutrals, by slot; what the adapter does not bring is taken from here.
        manifest: The bundle's.

    Raises:
        AdapterError: All that does not fit.
    """
    problems, remedies = [], []
    if record.fingerprint != manifest.fingerprint:
        problems.append(f"fingerprint of the base: got {record.fingerprint}, expected {manifest.fingerprint}")
        remedies.append("Export it from the base it was trained on.")
    layers = cache_layers(manifest)
    spare = sorted(set(arrays) - {slot.name for slot in manifest.slots} - set(layers))
    if spare:
        problems.append(f"the model has no slots {listed(spare)}")
        remedies.append("`edgeadapt add` the checkpoint to this bundle: it gives the model the slots that are missing.")
    problems += array_problems(arrays, base, manifest.slots)
    problems += _record_problems(record, arrays, base, manifest)
    problems += _cache_problems(record, {name: array for name, array in arrays.items() if name in layers}, manifest)
    if problems:
        remedy = "\n".join(remedies) or "Convert it again for this bundle with `edgeadapt add`."
        raise AdapterError.collect(f"Adapter {name!r} does not fit the model:", problems, remedy)


def cache_layers(manifest: Manifest) -> Mapping[str, tuple[int, int]]:
    """Returns the names of a decoder's cache as it enters, with heads and length of one head's keys; else nothing."""
    return of_manifest(manifest).layers if manifest.generation is not None else {}


def _cache_problems(record: AdapterRecord, cache: Mapping[str, Array], manifest: Manifest) -> list[str]:
    """Returns what is wrong with what an adapter's cache begins with, or with what its record says of that."""
    said = [facts.get("rank") for facts in record.sites.get(CACHE, {}).values()]
    if not said and not cache:
        return []
    if not said:
        return [f"it brings {listed(sorted(cache))}, of which sites.{CACHE} in adapter.json says nothing"]
    known = of_manifest(manifest)
    problems = initial_problems(cache, cache_layers(manifest), known.positions, known.dtype)
    if not problems and (length := next(iter(cache.values())).shape[2]) != said[0]:
        problems.append(f"{CACHE}: rank {said[0]} in adapter.json, {length} tokens in its arrays")
    return problems


def initial_problems(
    cache: Mapping[str, Array],
    layers: Mapping[str, tuple[int, int]],
    positions: int | None,
    dtype: str = "float32",
) -> list[str]:
    """Returns what keeps keys and values from being what a decoder's cache begins with.

    Args:
        cache: Keys and values `(1, heads, n, head_dim)` by the names that they enter the model under.
        layers: These names, with the model's heads and head_dim; none where it has no cache.
        positions: How many tokens it takes, or None where it knows no limit.
        dtype: What the model's cache holds.
    """
    if not layers:
        return [f"{CACHE}: this model generates no text, so it has no cache that could begin with anything"]
    problems = [f"{name}: the model has no such layer" for name in cache if name not in layers]
    lengths: dict[str, int] = {}
    for name, (heads, width) in layers.items():
        array = cache.get(name)
        if array is None:
            problems.append(f"{name}: missing")
        elif (
            array.ndim != 4
            or array.shape[2] == 0
            or (array.shape[0], array.shape[1], array.shape[3])
            != (
                1,
                heads,
                width,
            )
        ):
            problems.append(f"{name}: got {array.shape}, expected (1, {heads}, n, {width}) with n of 1 or more")
        elif array.dtype != dtype:
            problems.append(f"{name}: got {array.dtype}, expected {dtype}")
        elif not np.isfinite(array).all():
            problems.append(f"{name}: holds NaN or infinity")
        else:
            lengths[name] = array.shape[2]
    if len(set(lengths.values())) > 1:
        problems.append(f"{CACHE}: {', '.join(f'{length} tokens in {name}' for name, length in lengths.items())}")
    elif lengths and positions is not None and (longest := max(lengths.values())) >= positions:
        problems.append(f"{CACHE}: {longest} tokens leave no room for a text in the model's {positions} positions")
    return problems


def array_problems(arrays: Mapping[str, Array], base: Mapping[str, Array], slots: Sequence[Slot]) -> list[str]:
    """Returns what is wrong with `arrays`, with `base` in the slots that they leave; names of no slot are ignored."""
    problems = []
    for slot in slots:
        if slot.name in arrays:
            problems += [f"{slot.name}: {problem}" for problem in _array_problems(arrays[slot.name], slot)]
        elif slot.name not in base:
            problems.append(f"{slot.name}: missing, and the base has no value for it")
    return problems or _disagreements(arrays, base, slots)


def symbol_of(slot: Slot, dimension: str) -> Symbol:
    """Returns what identifies a free dimension: labels are one for the whole model, a rank is one a site and method."""
    return ("", "", dimension) if dimension == "labels" else (slot.site, slot.method, dimension)


def _array_problems(array: Array, slot: Slot) -> list[str]:
    problems = []
    if array.dtype != slot.dtype:
        problems.append(f"got {array.dtype}, expected {slot.dtype}")
    if not fits(array.shape, slot.shape):
        problems.append(f"got {array.shape}, expected {shown(slot.shape)}")
    elif array.shape[0] != 1:
        problems.append(f"got {array.shape}, expected {shown(slot.shape)} with 1 for rows: an adapter is one row")
    elif array.size == 0:
        problems.append(f"got {array.shape}, which is empty")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        problems.append("holds NaN or infinity")
    return problems


def _disagreements(arrays: Mapping[str, Array], base: Mapping[str, Array], slots: Sequence[Slot]) -> list[str]:
    """Returns where slots that share a free dimension have different lengths of it, the neutrals' included."""
    lengths: dict[Symbol, dict[str, int]] = {}
    brought: set[Symbol] = set()
    for slot in slots:
        array = arrays.get(slot.name, base.get(slot.name))
        for axis, dimension in enumerate(slot.shape[1:], start=1):
            if isinstance(dimension, str) and array is not None:
                symbol = symbol_of(slot, dimension)
                origin = "" if slot.name in arrays else " (the neutral)"
                lengths.setdefault(symbol, {})[f"{slot.name}{origin}"] = array.shape[axis]
                brought |= {symbol} if slot.name in arrays else set()
    return [
        f"{symbol[-1]}: {', '.join(f'{length} in {name}' for name, length in where.items())}"
        for symbol, where in lengths.items()
        if symbol in brought and len(set(where.values())) > 1
    ]


def _record_problems(
    record: AdapterRecord, arrays: Mapping[str, Array], base: Mapping[str, Array], manifest: Manifest
) -> list[str]:
    """Returns where `adapter.json` says other ranks or another number of labels than the arrays have."""
    problems = []
    count = label_count({**base, **arrays}, manifest.slots) or len(manifest.labels or ())
    if record.labels and count and len(record.labels) != count:
        problems.append(f"labels: {len(record.labels)} names in adapter.json, {count} columns in the head")
    for slot in manifest.slots:
        said = record.sites.get(slot.site, {}).get(slot.method, {}).get("rank")
        if said is None or slot.name not in arrays or "rank" not in slot.shape:
            continue
        axis = slot.shape.index("rank")
        if axis < arrays[slot.name].ndim and arrays[slot.name].shape[axis] != said:
            problems.append(f"{slot.name}: rank {said} in adapter.json, {arrays[slot.name].shape[axis]} in its array")
    return problems

"""Tells whether an adapter's arrays fit the slots of a model: everything that is wrong, one line each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from edgeadapt.errors import AdapterError, listed
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
        arrays: What it brings, by slot.
        base: The neutrals, by slot; what the adapter does not bring is taken from here.
        manifest: The bundle's.

    Raises:
        AdapterError: All that does not fit.
    """
    problems, remedies = [], []
    if record.fingerprint != manifest.fingerprint:
        problems.append(f"fingerprint of the base: got {record.fingerprint}, expected {manifest.fingerprint}")
        remedies.append("Export it from the base it was trained on.")
    spare = sorted(set(arrays) - {slot.name for slot in manifest.slots})
    if spare:
        problems.append(f"the model has no slots {listed(spare)}")
        remedies.append("`edgeadapt add` the checkpoint to this bundle: it gives the model the slots that are missing.")
    problems += array_problems(arrays, base, manifest.slots)
    problems += _record_problems(record, arrays, base, manifest)
    if problems:
        remedy = "\n".join(remedies) or "Convert it again for this bundle with `edgeadapt add`."
        raise AdapterError.collect(f"Adapter {name!r} does not fit the model:", problems, remedy)


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

"""Runs what PyTorch ran and compares: the proof that a bundle carries, repeated on the device that it is on."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from edgeadapt.bundle import ADAPTERS, PARITY, adapter_names, read_adapter, verify_files
from edgeadapt.errors import BundleError
from edgeadapt.parity import ParityReport, Tolerance, compare, for_fp16, for_int8
from edgeadapt.runtime.session import Session

if TYPE_CHECKING:
    from edgeadapt.bundle import AdapterRecord, Manifest
    from edgeadapt.runtime.filling import Array

_MOST_BYTES = 1 << 30
_GROUPS = ("input", "output", "probe")


def verify(session: Session, name: str | None, tolerance: Tolerance | None = None) -> ParityReport:
    """Runs the inputs stored with an adapter and compares the outputs with PyTorch's, stored beside them.

    Args:
        session: The loaded bundle.
        name: The adapter; None is the base, which is run with the stored probes in slots that it can't fill itself.
        tolerance: What passes; None is what the adapter was exported with.

    Returns:
        The report. Its effect is the one measured against PyTorch's base at the export, as that base is not here.

    Raises:
        AdapterError: There is no adapter of this name.
        BundleError: Its `parity.npz` is missing, changed, too large or not readable.
        ParityError: The outputs differ in names, shapes or dtypes.
    """
    adapter = session.adapter(name)
    record = adapter.record.parity
    if tolerance is None:
        tolerance = Tolerance() if record is None else Tolerance(max_abs=record.tolerance)
        if session.manifest.model.precision == "int4":
            tolerance = for_int8(tolerance)
        elif session.manifest.model.precision == "fp16":
            tolerance = for_fp16(tolerance)
    stored = read_parity(adapter.folder, adapter.record)
    inputs = stored["input"]
    # Neither has more than one adapter, so no output is a list.
    got = (
        session.run_slots(inputs, stored["probe"])
        if name is None or stored["probe"]
        else session.replay(inputs, adapter.name)
    )
    report = compare(
        adapter.name,
        cast("Mapping[str, Array]", got),
        stored["output"],
        None,
        tolerance,
        padding(inputs, session.manifest),
        classes=record is None or record.top1_agreement is not None,
    )
    if not adapter.brings or record is None:
        return report
    return replace(report, effect=record.effect, against_base=True)


def check_cases(folder: Path) -> None:
    """Refuses a bundle that doesn't hold a parity case of its base and of every adapter.

    Raises:
        BundleError: Some of them have none; all of these.
    """
    names = adapter_names(folder)
    lacking = [name for name in names if PARITY not in read_adapter(folder / ADAPTERS / name).files]
    if lacking == names:
        raise BundleError(
            f"{folder} holds no {PARITY}, so there is nothing to prove here: it was packaged without.\n"
            "Verify the bundle that it was packaged from."
        )
    if lacking:
        raise BundleError.collect(
            f"There is nothing to prove some of {folder} by:",
            [f"{name}: has no {PARITY}" for name in lacking],
            "Export or add these adapters again, or verify the bundle that they come from.",
        )


def padding(inputs: Mapping[str, Array], manifest: Manifest) -> dict[str, Array]:
    """Returns for each output with the axes of `attention_mask` which of its positions are no padding."""
    shapes = {tensor.name: tensor.shape for tensor in manifest.inputs}
    mask, axes = inputs.get("attention_mask"), shapes.get("attention_mask")
    if mask is None or axes is None:
        return {}
    return {output.name: mask != 0 for output in manifest.outputs if output.shape[: len(axes)] == axes}


def read_parity(folder: Path, record: AdapterRecord) -> dict[str, dict[str, Array]]:
    """Returns `{"input": arrays, "output": arrays, "probe": arrays}` of an adapter's `parity.npz`.

    Raises:
        BundleError: It is missing, changed, too large or not readable.
    """
    path = folder / PARITY
    if PARITY not in record.files:
        raise BundleError(f"{folder} has no {PARITY}, so there is nothing to compare with.\nExport it again.")
    verify_files(folder, {PARITY: record.files[PARITY]})
    stored: dict[str, dict[str, Array]] = {group: {} for group in _GROUPS}
    try:
        for key, array in _arrays(path).items():
            group, _, name = key.partition("/")
            stored[group][name] = array
    except (OSError, ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile) as error:
        raise BundleError(f"{path} can't be read: {error}\nExport the adapter again.") from error
    return stored


def _arrays(path: Path) -> dict[str, Array]:
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > _MOST_BYTES:
        raise ValueError(f"it unpacks to {size} bytes, and more than {_MOST_BYTES} are refused")
    with np.load(path, allow_pickle=False) as arrays:
        return {key: arrays[key] for key in arrays.files}

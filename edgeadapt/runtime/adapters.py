"""Reads an adapter's folder into arrays that fit the model, and the base as the adapter `none`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime as ort

from edgeadapt.errors import AdapterError, BundleError
from edgeadapt.runtime.container import Places, places_of, read_places
from edgeadapt.runtime.filling import Filling, stretched
from edgeadapt.runtime.fit import cache_layers, check_fit
from edgeadapt.runtime.layout import Block, layout, side_by_side

if TYPE_CHECKING:
    from edgeadapt.bundle import AdapterRecord, Manifest
    from edgeadapt.runtime.filling import Array
    from edgeadapt.runtime.layout import Allocate
    from edgeadapt.runtime.provider import Device

NONE = "none"
WEIGHTS = "weights.onnx_adapter"


@dataclass(frozen=True, slots=True, eq=False)
class LoadedAdapter:
    """An adapter in memory; two are equal only if they are the same object, whatever their names.

    Attributes:
        name: What a run calls it.
        record: Its `adapter.json`, under this name.
        folder: Where it was read from.
        filling: Its arrays, `(1, ...)`, with the neutrals in the slots that it leaves.
        brings: The slots that it fills itself.
        cache: What a text's cache holds before its first token; empty where it holds nothing.
    """

    name: str
    record: AdapterRecord
    folder: Path
    filling: Filling
    brings: frozenset[str]
    cache: Mapping[str, Array] = field(default_factory=dict)

    def size(self) -> int:
        """Returns its bytes in memory, without what it shares with the base."""
        return self.filling.size() + sum(array.nbytes for array in self.cache.values())


def read_base(bundle: Path, folder: Path, record: AdapterRecord, manifest: Manifest, device: Device) -> LoadedAdapter:
    """Returns the adapter `none` of a bundle: a neutral in every slot that has one.

    Args:
        bundle: The bundle's folder.
        folder: The adapter's own, `adapters/none`.
        record: Its `adapter.json`.
        manifest: The bundle's.
        device: Where runs want the arrays.

    Raises:
        AdapterError: A stored neutral is missing or does not fit.
        BundleError: ONNX Runtime can't read them, or the folder holds an adapter.
    """
    if record.method != NONE:
        raise BundleError(f"{folder} holds the adapter {record.name!r}, and not the base.\nCopy the bundle again.")
    stored = {} if manifest.model.neutrals is None else _arrays(bundle / manifest.model.neutrals)
    kept = tuple(slot for slot in manifest.slots if slot.neutral == "stored")
    check_fit(NONE, record, stored, {}, replace(manifest, slots=kept))
    filled = {
        slot.name: np.full(slot.neutral.shape, slot.neutral.fill, slot.dtype)
        for slot in manifest.slots
        if slot.neutral is not None and slot.neutral != "stored"
    }
    return LoadedAdapter(NONE, record, folder, Filling({**filled, **stored}, device), frozenset())


def read_loaded(
    folder: Path,
    record: AdapterRecord,
    name: str,
    base: LoadedAdapter,
    manifest: Manifest,
    allocate: Allocate = side_by_side,
) -> tuple[LoadedAdapter, Places | None]:
    """Returns the adapter in `folder`, whose files were verified, under `name`, and where its arrays lie, if any.

    Args:
        folder: Its folder.
        record: Its `adapter.json`.
        name: What a run calls it.
        base: The adapter `none`.
        manifest: The bundle's.
        allocate: Gives the memory for its arrays.

    Raises:
        AdapterError: All that does not fit the model.
        BundleError: ONNX Runtime can't read its weights, or they changed meanwhile.
    """
    if record.method == NONE:
        raise AdapterError(f"{folder} is the base of a bundle, no adapter, and can't be called {name!r}.")
    path = folder / WEIGHTS
    # A file that the record doesn't list was not verified.
    block = _arrays(path, allocate) if WEIGHTS in record.files else None
    arrays: Mapping[str, Array] = block or {}
    places = places_of(path, arrays) if arrays else None
    neutrals = stretched(arrays, manifest.slots)
    check_fit(name, record, arrays, {**base.filling.arrays, **neutrals}, manifest)
    if block:
        block.forget()
    return _loaded(folder, record, name, base, manifest, arrays, neutrals), places


def read_again(
    folder: Path,
    record: AdapterRecord,
    name: str,
    base: LoadedAdapter,
    manifest: Manifest,
    allocate: Allocate,
    places: Places | None,
) -> LoadedAdapter:
    """Returns the adapter in `folder` as `read_loaded` did, which told its `places`; nothing is checked.

    Raises:
        BundleError: Its weights aren't there any more, or are shorter by now.
    """
    arrays: Mapping[str, Array] = read_places(folder / WEIGHTS, places, allocate) if places else {}
    return _loaded(folder, record, name, base, manifest, arrays, stretched(arrays, manifest.slots))


def _loaded(
    folder: Path,
    record: AdapterRecord,
    name: str,
    base: LoadedAdapter,
    manifest: Manifest,
    arrays: Mapping[str, Array],
    neutrals: Mapping[str, Array],
) -> LoadedAdapter:
    cache = {layer: arrays[layer] for layer in cache_layers(manifest) if layer in arrays}
    own = {slot: array for slot, array in arrays.items() if slot not in cache} if cache else arrays
    # As it is where nothing else comes in: it may be in one piece.
    filling = base.filling.replaced({**neutrals, **own} if neutrals else own)
    brings = own.layout.names if isinstance(own, Block) else frozenset(own)
    return LoadedAdapter(name, replace(record, name=name), folder, filling, brings, cache)


def _arrays(path: Path, allocate: Allocate = side_by_side) -> Block:
    """Returns the arrays of a file, by slot, copied into what `allocate` gives."""
    try:
        # The values are views of the file, which older versions let go with `file`: held here until all are copied.
        file = ort.AdapterFormat.read_adapter(str(path))
        found = {name: value.numpy() for name, value in file.get_parameters().items()}
        arrays = allocate(layout({name: (array.shape, array.dtype) for name, array in found.items()}))
        for name, array in found.items():
            arrays[name][...] = array
        return arrays
    except Exception as error:  # ONNX Runtime's exceptions have no root of their own
        raise BundleError(f"ONNX Runtime can't read {path}: {error}\nConvert the adapter again.") from error

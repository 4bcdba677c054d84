"""Brings a session in line with its bundle's folder: adapters that were put there, replaced or removed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeadapt.errors import BundleError, EdgeAdaptError
from edgeadapt.runtime.adapters import NONE, LoadedAdapter
from edgeadapt.runtime.reading import Known, Stamp, known_in, stamp_of
from edgeadapt.runtime.store import AdapterStore

if TYPE_CHECKING:
    from edgeadapt.bundle import Manifest


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What a refresh found.

    Attributes:
        added: Adapters that are new; they are read when they are first used.
        replaced: Adapters in memory whose folder is another one now; runs from here on have the new one.
        removed: Adapters whose folder is gone.
        failed: Adapters in memory whose new folder can't be used: they stay what they were. Each is told once.
    """

    added: tuple[str, ...]
    replaced: tuple[str, ...]
    removed: tuple[str, ...]
    failed: Mapping[str, EdgeAdaptError]


def refresh(folder: Path, manifest: Manifest, store: AdapterStore) -> Refreshed:
    """Looks at a bundle's adapters on disk and changes the store in one step; one thread at a time.

    Raises:
        BundleError: The bundle's own documents can't be read, or its model is another one; nothing has changed.
    """
    from edgeadapt.bundle import ADAPTERS, adapter_names, read_manifest

    now = read_manifest(folder)
    if (now.fingerprint, now.model, now.slots) != (manifest.fingerprint, manifest.model, manifest.slots):
        raise BundleError(
            f"The model in {folder} is another one than this session has open: it got other slots, or another base.\n"
            "Load the bundle again; this session goes on as it is."
        )
    there = dict.fromkeys(name for name in adapter_names(folder) if name != NONE)
    known = store.known
    new = [name for name in there if name not in known and name not in store.hidden]
    gone = dict.fromkeys(each for each in known.values() if each.listed and each.name not in there)
    put: list[tuple[Known, LoadedAdapter | None, Stamp]] = [
        (each, None, Stamp()) for each in known_in(folder / ADAPTERS, new)
    ]
    replaced: list[Known] = []
    failed: dict[str, EdgeAdaptError] = {}
    for each in known.values():
        before = store.stamp(each) if each.listed and each not in gone else None
        now_stamp = stamp_of(each.path) if before is not None else None
        if now_stamp == before or now_stamp is None or store.reader.has_failed(each.name, now_stamp):
            continue
        fresh = Known(each.name, each.path, listed=True)
        try:
            put.append((fresh, *store.reader.read(fresh)))
            replaced.append(each)
        except EdgeAdaptError as error:
            failed[each.name] = error
    store.change(put, [*gone, *replaced], frozenset(store.hidden & there.keys()))
    return Refreshed(tuple(new), tuple(each.name for each in replaced), tuple(each.name for each in gone), failed)

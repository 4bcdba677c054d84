"""Reads adapters from disk: whole, checked once in each state of a folder, and told of once where that is useless."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from edgeadapt.errors import AdapterError, EdgeAdaptError
from edgeadapt.runtime.adapters import LoadedAdapter, read_again, read_loaded
from edgeadapt.runtime.layout import side_by_side

if TYPE_CHECKING:
    from edgeadapt.bundle import AdapterRecord, Manifest
    from edgeadapt.runtime.container import Places
    from edgeadapt.runtime.layout import Allocate
    from edgeadapt.runtime.memory import Memory


class Stamp(NamedTuple):
    """The state of a folder: another one if anything in it was replaced. A session keeps thousands.

    Attributes:
        names: Its files; none where there is no folder.
        marks: Of each the times of its last writing and of any change, in ns, its bytes and its inode.
    """

    names: tuple[str, ...] = ()
    marks: bytes = b""


_LOG = logging.getLogger("edgeadapt")
_TRIES = 5
"""How often an adapter is read that is replaced meanwhile."""
_FAILED = 8
"""How many useless states of one adapter's folder are remembered."""
_SOUND = 4096
"""How many sound states are remembered, one a folder; one takes about 1 KB."""
_PARTS = 256
"""How many different parts of records, and places of arrays in their files, are shared."""


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """An adapter that the session knows; another one of the same name is another object.

    Attributes:
        name: What a run calls it.
        path: The folder that it lies in; text, which is made in no time, and a bundle may have ten thousand.
        listed: It was found in the bundle, not added by hand.
    """

    name: str
    path: str
    listed: bool

    @property
    def folder(self) -> Path:
        """The same as a path."""
        return Path(self.path)


def known_in(home: Path, names: Iterable[str]) -> list[Known]:
    """Returns the adapters of these names, found in `home`, the folder of all adapters of a bundle."""
    start = f"{home}{os.sep}"
    return [Known(name, start + name, listed=True) for name in names]


class Reader:
    """Threads share it; its lock is held for a few steps at a time, and never while something is read."""

    def __init__(self, base: LoadedAdapter, manifest: Manifest, memory: Memory, *, verify: bool) -> None:
        """Takes what adapters have to fit.

        Args:
            base: The adapter `none`.
            manifest: The bundle's.
            memory: What they are read into, with the most bytes that one may take.
            verify: Check the files of an adapter against their sha256 before they are read.
        """
        self._base = base
        self._manifest = manifest
        self._memory = memory
        self._verify = verify
        self._sound: OrderedDict[str, tuple[Stamp, AdapterRecord, Places | None]] = OrderedDict()
        self._parts: dict[Any, Any] = {}
        self._failed: dict[str, tuple[Stamp, ...]] = {}
        self._lock = threading.Lock()

    def read(self, known: Known, *, anew: bool = False) -> tuple[LoadedAdapter, Stamp]:
        """Returns an adapter from disk, whole: where its folder is replaced meanwhile it is read again.

        Files that were found sound are not checked once more while they are the same files: only their arrays are read.

        Args:
            known: The adapter.
            anew: Checks them in any case, and evicts nothing to make room.

        Raises:
            AdapterError: It does not fit the model, all reasons, or is larger than the budget.
            BundleError: A file is missing, changed or a link.
        """
        start = time.perf_counter()
        if not anew and (again := self._again(known)):
            self._log_read(again[0], start)
            return again
        for _ in range(_TRIES):
            before = stamp_of(known.path)
            try:
                loaded, places = self._checked(known, side_by_side if anew else self._memory.allocate)
            except EdgeAdaptError as error:
                if stamp_of(known.path) != before:
                    continue
                self._report(known.name, before, error)
                raise
            # Nothing is no state to know again: what came and went between two absences may be of several folders.
            if before.names and stamp_of(known.path) == before:
                self._check_size(loaded)
                self._remember(known, before, loaded.record, places)
                self._log_read(loaded, start)
                return loaded, before
        raise AdapterError(f"{known.path} changes again and again while it is read.\nPut it there in one step.")

    def has_failed(self, name: str, stamp: Stamp) -> bool:
        """Tells whether a folder was found useless already, as it is."""
        return stamp in self._failed.get(name, ())

    def _checked(self, known: Known, allocate: Allocate) -> tuple[LoadedAdapter, Places | None]:
        from edgeadapt.bundle import read_adapter, verify_files

        record = read_adapter(known.folder)
        if self._verify:
            verify_files(known.folder, record.files)
        record = self._shared(record)
        return read_loaded(known.folder, record, known.name, self._base, self._manifest, allocate)

    def _again(self, known: Known) -> tuple[LoadedAdapter, Stamp] | None:
        """Returns an adapter whose folder was found sound and is as it was then; None where it isn't.

        It is looked at once, and last: what was read of another state is thrown away.
        """
        sound = self._sound.get(known.path)
        if sound is None:
            return None
        stamp, record, places = sound
        try:
            loaded = read_again(
                known.folder, record, known.name, self._base, self._manifest, self._memory.allocate, places
            )
        except EdgeAdaptError:  # it is another one, or is being replaced: whoever checks it will say
            return None
        return (loaded, stamp) if _is_still(known.path, stamp) else None

    def _shared(self, record: AdapterRecord) -> AdapterRecord:
        """Returns the record; what others have too, as those of one training recipe do, is once in memory."""
        with self._lock:
            if len(self._parts) >= _PARTS:
                self._parts.clear()
            return replace(
                record,
                **{
                    name: self._parts.setdefault(json.dumps([name, value]), value)
                    for name in ("fingerprint", "sites", "labels", "source")
                    if (value := getattr(record, name))
                },
            )

    def _remember(self, known: Known, stamp: Stamp, record: AdapterRecord, places: Places | None) -> None:
        with self._lock:
            self._sound[known.path] = stamp, record, self._parts.setdefault(places, places)
            self._sound.move_to_end(known.path)
            if len(self._sound) > _SOUND:
                self._sound.popitem(last=False)
            if failed := self._failed.get(known.name):
                self._failed[known.name] = tuple(each for each in failed if each != stamp)

    def _log_read(self, loaded: LoadedAdapter, start: float) -> None:
        if not _LOG.isEnabledFor(logging.INFO):
            return
        took = (time.perf_counter() - start) * 1000
        _LOG.info("read adapter %r: %d bytes in %.1f ms", loaded.name, loaded.filling.size(), took)

    def _report(self, name: str, stamp: Stamp, error: EdgeAdaptError) -> None:
        """Logs once that a folder can't be used, until it is another one.

        Its last few states are remembered: a thread may come late with what it read before the folder was replaced.
        """
        with self._lock:
            failed = self._failed.get(name, ())
            new = stamp not in failed
            if new:
                self._failed[name] = (*failed[1 - _FAILED :], stamp)
        if new:
            _LOG.warning("adapter %r can't be used: %s", name, error)

    def _check_size(self, loaded: LoadedAdapter) -> None:
        if self._memory.limit is not None and loaded.size() > self._memory.limit:
            raise AdapterError(
                f"Adapter {loaded.name!r} takes {loaded.size()} bytes, and adapter_memory is {self._memory.limit}.\n"
                "Give the session more."
            )


def stamp_of(folder: str) -> Stamp:
    """Returns what the files of a folder are like; nothing where there is no folder."""
    try:
        with os.scandir(folder) as entries:
            found = sorted((entry.name, entry.stat(follow_symlinks=False)) for entry in entries)
    except OSError:
        found = []
    return Stamp(_once(tuple(name for name, _ in found)), b"".join(_mark(status) for _, status in found))


def _is_still(folder: str, stamp: Stamp) -> bool:
    """Tells whether the files of a stamp are what they were; sooner than another stamp does."""
    try:
        return b"".join(_mark(os.lstat(f"{folder}{os.sep}{name}")) for name in stamp.names) == stamp.marks
    except OSError:
        return False


def _mark(status: os.stat_result) -> bytes:
    # As text: on Windows, numbers may be larger than 64 bits.
    return b"%d %d %d %d;" % (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)


@lru_cache(maxsize=256)
def _once(names: tuple[str, ...]) -> tuple[str, ...]:
    """Returns equal names that are there already, as the folders of adapters have the same files."""
    return names

"""The adapters of a session: known by their names, read when a run first wants them, kept within a budget."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

from edgeadapt.errors import AdapterError, EdgeAdaptError, listed
from edgeadapt.runtime.adapters import NONE, LoadedAdapter
from edgeadapt.runtime.choice import named
from edgeadapt.runtime.memory import Held, Memory
from edgeadapt.runtime.reading import Known, Reader, Stamp

if TYPE_CHECKING:
    from edgeadapt.bundle import AdapterRecord, Manifest
    from edgeadapt.runtime.filling import Filling
    from edgeadapt.runtime.layout import Block, Layout

_LOG = logging.getLogger("edgeadapt")


class AdapterStore:
    """Threads share it. A run takes a `lease`, and what it has taken stays as it is until the run is over."""

    def __init__(
        self, base: LoadedAdapter, manifest: Manifest, known: Iterable[Known], limit: int | None, *, verify: bool
    ) -> None:
        """Takes the base and what the bundle holds.

        Args:
            base: The adapter `none`.
            manifest: The bundle's.
            known: The other adapters of the bundle.
            limit: The most bytes that adapters, their stacks and blends may take; None for no limit.
            verify: Check the files of an adapter against their sha256 before they are read.
        """
        self.base = base
        self.memory = Memory(limit, lambda adapter: _LOG.info("evicted adapter %r", adapter.name))
        self.reader = Reader(base, manifest, self.memory, verify=verify)
        # Never changed, only replaced, under the lock: whoever reads it has it for good.
        self._known: Mapping[str, Known] = {each.name: each for each in known}
        self._stamps: dict[Known, Stamp] = {}
        self._reading: dict[Known, threading.Lock] = {}
        self._hidden: frozenset[str] = frozenset()
        self._lock = threading.Lock()

    @property
    def known(self) -> Mapping[str, Known]:
        """All adapters but the base, by name."""
        return self._known

    @property
    def hidden(self) -> frozenset[str]:
        """The adapters of the bundle that were removed from the session, not from the disk."""
        return self._hidden

    def lease(self) -> Lease:
        """Returns the adapters for one run, none of them taken yet."""
        return Lease(self, self._known)

    def record(self, name: str) -> AdapterRecord:
        """Returns an adapter's record, from memory or from disk.

        Raises:
            AdapterError: There is none of this name.
            BundleError: Its `adapter.json` can't be read.
        """
        from edgeadapt.bundle import read_adapter

        known = named(name, self._known)
        loaded: LoadedAdapter | None = self.memory.peek("read", known)
        return loaded.record if loaded else replace(read_adapter(known.folder), name=name)

    def take(self, known: Known) -> Held:
        """Returns an adapter for one user more, read now where it isn't in memory; one thread reads, others wait.

        Raises:
            AdapterError: It does not fit the model, all reasons, or is larger than the budget.
            BundleError: A file is missing, changed or a link.
        """
        if held := self.memory.take("read", known):
            return held
        with self._lock:
            reading = self._reading.setdefault(known, threading.Lock())
        try:
            with reading:
                return self.memory.take("read", known) or self.keep(known, *self.reader.read(known))
        finally:
            with self._lock:
                self._reading.pop(known, None)

    def keep(self, known: Known, loaded: LoadedAdapter, stamp: Stamp) -> Held:
        """Holds an adapter that was read, for one user; one that was removed meanwhile is held for this user only."""
        with self._lock:
            current = self._known.get(known.name) is known
            held = self.memory.hold("read", known, loaded, loaded.size(), keep=current)
            if current and held.value is loaded:  # not what another thread has read, which may be of another state
                self._stamps[known] = stamp
            return held

    def stamp(self, known: Known) -> Stamp | None:
        """Returns what an adapter's folder was like when it was read; None where it isn't in memory."""
        return self._stamps.get(known) if self.memory.peek("read", known) is not None else None

    def put(self, known: Known, loaded: LoadedAdapter, stamp: Stamp) -> None:
        """Makes an adapter known that was read already.

        Raises:
            AdapterError: Its name is taken.
        """
        with self._lock:
            self.check_free(known.name)
            self._known = {**self._known, known.name: known}
            self._hidden -= {known.name}
        self.memory.leave([self.keep(known, loaded, stamp)])

    def check_free(self, name: str) -> None:
        """Refuses a name that is taken.

        Raises:
            AdapterError: It is.
        """
        if name in self._known:
            raise AdapterError(
                f"There is an adapter {name!r} already.\nRemove it first, or give this one another name."
            )

    def remove(self, name: str) -> None:
        """Forgets an adapter.

        Raises:
            AdapterError: There is none of this name.
        """
        with self._lock:
            gone = named(name, self._known)
            self._known = {key: known for key, known in self._known.items() if known is not gone}
            self._hidden |= {name} if gone.listed else set()
        self._forget([gone])

    def change(
        self,
        put: Iterable[tuple[Known, LoadedAdapter | None, Stamp]],
        gone: Iterable[Known],
        hidden: frozenset[str],
    ) -> None:
        """Changes what is known in one step.

        Args:
            put: Adapters that are there now, what was read of them where they replace one in memory, and their stamps.
            gone: Adapters that aren't there any more, or not the same.
            hidden: Adapters that are still hidden.
        """
        put, gone = list(put), set(gone)
        with self._lock:
            self._hidden = hidden
            left = {name: known for name, known in self._known.items() if known not in gone}
            self._known = {**left, **{known.name: known for known, _, _ in put if known.name not in left}}
        for known, loaded, stamp in put:
            if loaded is not None:
                held = self.keep(known, loaded, stamp)
                held.pinned = any(self.memory.is_pinned(old) for old in gone if old.name == known.name)
                self.memory.leave([held])
        self._forget(gone)

    def check(self) -> None:
        """Reads every adapter and keeps none.

        Raises:
            EdgeAdaptError: Adapters can't be used; where several can't, all reasons.
        """
        errors: list[EdgeAdaptError] = []
        for known in self._known.values():
            try:
                self.reader.read(known, anew=True)
            except EdgeAdaptError as error:
                errors.append(error)
        if len(errors) == 1:
            raise errors[0]
        if errors:
            problems = [str(error).replace("\n", "\n  ") for error in errors]
            raise type(errors[0]).collect(f"{len(errors)} adapters of the bundle can't be used:", problems)

    def pin(self, names: Iterable[str], *, pinned: bool) -> None:
        """Reads adapters and keeps them from being evicted, or no longer; see `Session.pin`."""
        lease = self.lease()
        with lease:
            found = [named(name, self._known) for name in names]
            if pinned:
                more = {known: lease[known.name].size() for known in found if not self.memory.is_pinned(known)}
                size = sum(more.values()) + self.memory.pinned_bytes()
                if self.memory.limit is not None and size > self.memory.limit:
                    raise AdapterError(
                        f"{listed([known.name for known in found])} can't be pinned: with what is pinned already they "
                        f"take {size} bytes, and adapter_memory is {self.memory.limit}."
                    )
            for known in found:
                self.memory.pin(known, pinned=pinned)

    def _forget(self, gone: Iterable[Known]) -> None:
        gone = list(gone)
        with self._lock:
            for known in gone:
                self._stamps.pop(known, None)
        if gone:
            self.memory.clear_made()
            self.memory.drop("read", gone)


class Lease(Mapping[str, LoadedAdapter]):
    """The adapters for one run by name, the base among them: read when asked for, and held until it is closed."""

    __slots__ = ("_held", "_known", "_store", "_taken")

    def __init__(self, store: AdapterStore, known: Mapping[str, Known]) -> None:
        self._store = store
        self._known = known
        self._taken: dict[str, LoadedAdapter] = {}
        self._held: list[Held] = []

    def __getitem__(self, name: str) -> LoadedAdapter:
        """Returns an adapter; the same one each time.

        Raises:
            KeyError: There is none of this name.
            EdgeAdaptError: It can't be read, or does not fit.
        """
        if name == NONE:
            return self._store.base
        if name not in self._taken:
            held = self._store.take(self._known[name])
            self._held.append(held)
            self._taken[name] = held.value
        return self._taken[name]

    def __iter__(self) -> Iterator[str]:
        yield NONE
        yield from self._known

    def __len__(self) -> int:
        return 1 + len(self._known)

    def __contains__(self, name: object) -> bool:
        return name == NONE or name in self._known

    def allocate(self, wanted: Layout) -> Block:
        """Returns arrays that are not yet filled, for what `made` is to make."""
        return self._store.memory.allocate(wanted)

    def made(self, key: Any, make: Callable[[], Filling]) -> Filling:
        """Returns what was made under a key, or what `make` makes; held until the lease is closed.

        Not kept for others where an adapter of this lease was removed meanwhile: it is never asked for again.
        """
        held = self._store.memory.take("made", key)
        if held is None:
            made = make()
            keep = not any(held.gone for held in self._held)
            held = self._store.memory.hold("made", key, made, made.size(), keep=keep)
        self._held.append(held)
        filling: Filling = held.value
        return filling

    def close(self) -> None:
        """Lets go of all that was taken."""
        held, self._held = self._held, []
        if held:
            self._store.memory.leave(held)

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # A generation is never closed, only let go, and a finaliser must not wait for a lock.
        if held := self._held:
            self._store.memory.abandon(held)


class Records(Mapping[str, "AdapterRecord"]):
    """The records of all adapters but the base, by name, as they are when they are asked for."""

    __slots__ = ("_store",)

    def __init__(self, store: AdapterStore) -> None:
        self._store = store

    def __getitem__(self, name: str) -> AdapterRecord:
        """Returns a record.

        Raises:
            KeyError: There is no adapter of this name.
            BundleError: Its `adapter.json` can't be read.
        """
        if name not in self._store.known:
            raise KeyError(name)
        return self._store.record(name)

    def __contains__(self, name: object) -> bool:
        return name in self._store.known

    def __iter__(self) -> Iterator[str]:
        return iter(self._store.known)

    def __len__(self) -> int:
        return len(self._store.known)

    def __repr__(self) -> str:
        return f"<records of {listed(list(self._store.known))}>"

"""Which adapter a run wants: what the caller wrote, made into one row or one for each row of the batch.

A row is a blend, adapters with their weights; a single adapter is a blend of one with the weight 1.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from edgeadapt.errors import AdapterError, ConfigError, InputError, listed, nearest
from edgeadapt.runtime.adapters import NONE, LoadedAdapter

if TYPE_CHECKING:
    from edgeadapt.bundle import Slot

Choice: TypeAlias = str | Mapping[str, float] | None
"""An adapter's name, a blend, or None for the base."""
Choices: TypeAlias = Choice | Sequence[Choice]
Row: TypeAlias = tuple[tuple[LoadedAdapter, float], ...]
Registry: TypeAlias = Mapping[str, LoadedAdapter]
T = TypeVar("T")


def chosen_rows(choices: Choices, adapters: Registry, slots: Sequence[Slot], batch: int | None) -> tuple[Row, ...]:
    """Returns one row that holds for the whole batch, or `batch` rows that are not all the same.

    Raises:
        AdapterError: An adapter is unknown, or the base was chosen and has no value of its own for a slot.
        ConfigError: A choice is no name, blend or None, or a weight is no finite number.
        InputError: There are more or fewer choices than rows.
    """
    if choices is None or isinstance(choices, str | bytes | Mapping) or not isinstance(choices, Sequence):
        return (chosen(choices, adapters, slots),)
    if batch is None:
        raise InputError("A list of adapters needs a batch, and no input of this model has an axis 'batch'.")
    if len(choices) != batch:
        raise InputError(f"A list of adapters has one for each row: got {len(choices)} for a batch of {batch}.")
    if not choices:
        raise InputError("The batch is empty, so there is no row to run an adapter for.")
    rows = tuple(chosen(choice, adapters, slots) for choice in choices)
    return rows[:1] if len(set(rows)) == 1 else rows


class Names(Mapping[str, str]):
    """The names that can be chosen, each by itself: with these `chosen` checks a choice, and no adapter is read."""

    __slots__ = ("_others",)

    def __init__(self, others: Collection[str]) -> None:
        """Takes all names but the base's; they may change."""
        self._others = others

    def __getitem__(self, name: str) -> str:
        """Returns the name.

        Raises:
            KeyError: There is none.
        """
        if name == NONE or name in self._others:
            return name
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        yield NONE
        yield from self._others

    def __len__(self) -> int:
        return 1 + len(self._others)


def chosen(choice: Choice, adapters: Mapping[str, T], slots: Sequence[Slot]) -> tuple[tuple[T, float], ...]:
    """Returns the row of one choice; the parts of a blend come sorted by name, so that equal blends are equal rows.

    Raises:
        AdapterError: An adapter is unknown, or the base was chosen and has no value of its own for a slot.
        ConfigError: The choice is no name, blend or None, or a weight is no finite number.
    """
    if choice is None or choice == NONE:
        _check_base(adapters, slots)
        return ((adapters[NONE], 1.0),)
    if isinstance(choice, str):
        return ((named(choice, adapters), 1.0),)
    if not isinstance(choice, Mapping):
        raise ConfigError(f"adapter: got {choice!r}, expected a name, None, or a blend such as {{'spam': 0.5}}.")
    return _blend(choice, adapters)


def named(name: str, adapters: Mapping[str, T]) -> T:
    """Returns the adapter of this name.

    Raises:
        AdapterError: There is none.
    """
    if name in adapters and name != NONE:
        return adapters[name]
    others = [other for other in adapters if other != NONE]
    raise AdapterError(f"There is no adapter {name!r}{nearest(name, others)}.\nThere are: {listed(others)}.")


def _blend(weights: Mapping[str, float], adapters: Mapping[str, T]) -> tuple[tuple[T, float], ...]:
    if not weights:
        raise ConfigError("A blend is empty.\nName its adapters, such as {'spam': 0.5}, or pass None for the base.")
    if NONE in weights:
        raise ConfigError("A blend adds adapters to the base, so the base has no weight in it.\nLeave 'none' out.")
    for name, weight in weights.items():
        if isinstance(weight, bool) or not isinstance(weight, numbers.Real) or not math.isfinite(weight):
            raise ConfigError(f"The blend's weight of {name!r}: got {weight!r}, expected a finite number.")
    return tuple((named(name, adapters), float(weights[name])) for name in sorted(weights))


def _check_base(adapters: Mapping[str, object], slots: Sequence[Slot]) -> None:
    sites = list(dict.fromkeys(slot.site for slot in slots if slot.neutral is None))
    if sites:
        others = [name for name in adapters if name != NONE]
        raise AdapterError(f"The base has no {listed(sites)} of its own; choose an adapter: {listed(others)}.")

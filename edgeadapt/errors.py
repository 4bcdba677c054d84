"""Every error edgeadapt raises on purpose.

    EdgeAdaptError
    ├── ConfigError            a recipe, an option or an argument is wrong
    ├── UnsupportedError       understood, and not something edgeadapt can do exactly
    ├── OutputExistsError      the target is already there
    ├── CheckpointError        an adapter or base checkpoint can't be read as it claims to be
    │   ├── PickleError        a pickle without permission, or one that failed to load
    │   └── BindingError       tensors and sites don't match one to one
    ├── GraphError             the exporter's graph is not what the merge needs
    ├── BundleError            a bundle's files are missing, changed, unsafe or from a newer format
    ├── AdapterError           an adapter is unknown, unsafe in name, or doesn't fit this bundle
    ├── InputError             inputs of a run have wrong names, dtypes or shapes
    ├── ProviderError          the execution provider that was asked for is not there
    ├── BusyError              more requests wait than are let in, and the time to wait for room is over
    ├── ClosedError            a batcher takes no requests any more
    └── ParityError            the numbers differ from PyTorch's, or an adapter has no effect

A message says what was found, what was got and expected, then what to do. Everything that is wrong is collected and
raised once: `EdgeAdaptError.collect` joins the problems under one headline.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import TypeVar

ErrorT = TypeVar("ErrorT", bound="EdgeAdaptError")


class EdgeAdaptError(Exception):
    """The root of the tree: catch this to catch everything edgeadapt raises on purpose."""

    @classmethod
    def collect(cls: type[ErrorT], headline: str, problems: Iterable[str], remedy: str = "") -> ErrorT:
        """Returns one error for all problems, one a line, with the remedy last.

        Example:
            >>> print(EdgeAdaptError.collect("Two things are wrong:", ["a", "b"], "Mend both."))
            Two things are wrong:
              a
              b
            Mend both.
        """
        lines = [headline, *(f"  {problem}" for problem in problems)]
        if remedy:
            lines.append(remedy)
        return cls("\n".join(lines))


class ConfigError(EdgeAdaptError):
    """A recipe, an option or an argument is wrong."""


class UnsupportedError(EdgeAdaptError):
    """Understood, and not something edgeadapt can do exactly."""


class OutputExistsError(EdgeAdaptError):
    """The target is already there, and nothing is ever overwritten."""


class CheckpointError(EdgeAdaptError):
    """An adapter or base checkpoint can't be read as it claims to be."""


class PickleError(CheckpointError):
    """A pickle without permission, or one that failed to load."""


class BindingError(CheckpointError):
    """The tensors of an adapter and the sites of the base don't match one to one."""


class GraphError(EdgeAdaptError):
    """The exporter's graph is not what the merge needs."""


class BundleError(EdgeAdaptError):
    """A bundle's files are missing, changed, unsafe or from a newer format."""


class AdapterError(EdgeAdaptError):
    """An adapter is unknown, unsafe in name, or doesn't fit this bundle."""


class InputError(EdgeAdaptError):
    """The inputs of a run have wrong names, dtypes or shapes."""


class ProviderError(EdgeAdaptError):
    """The execution provider that was asked for is not there."""


class BusyError(EdgeAdaptError):
    """More requests wait than are let in, and the time to wait for room is over."""


class ClosedError(EdgeAdaptError):
    """A batcher takes no requests any more."""


class ParityError(EdgeAdaptError):
    """The numbers differ from PyTorch's, or an adapter has no effect."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns ` (did you mean 'x'?)` for the known name closest to `name`, or nothing.

    Example:
        >>> nearest("lorra", ["lora", "ia3"])
        " (did you mean 'lora'?)"
        >>> nearest("prefix", ["lora", "ia3"])
        ''
    """
    match = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {match[0]!r}?)" if match else ""


def listed(names: Sequence[str], most: int = 12) -> str:
    """Returns the names on one line, cut after `most` with a count of the rest.

    Example:
        >>> listed(["a", "b", "c"], most=2)
        'a, b and 1 more'
    """
    if len(names) <= most:
        return ", ".join(names) if names else "none"
    return f"{', '.join(names[:most])} and {len(names) - most} more"

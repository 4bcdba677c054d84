"""Says what is being done, to whoever wants to show it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[str], None]


def silent(stage: str) -> None:
    """Shows nothing."""

"""What heads are trained to answer, as transformers' `config.problem_type` spells it, where a user says it."""

from __future__ import annotations

from typing import get_args

from edgeadapt.adapter import ProblemType
from edgeadapt.errors import ConfigError, listed, nearest

NAMES: tuple[ProblemType, ...] = get_args(ProblemType)


def get(name: str | None) -> ProblemType | None:
    """Returns the problem type of this name; None, where nobody says one, is None.

    Raises:
        ConfigError: There is none of this name.
    """
    if name is None:
        return None
    for each in NAMES:
        if each == name:
            return each
    raise ConfigError(f"{name!r} {problem(name)}.")


def problem(name: str) -> str:
    """Returns what is wrong with a name, or nothing.

    Example:
        >>> problem("regresion")
        "is no problem type (did you mean 'regression'?); there are regression, single_label_classification, ..."
        >>> problem("regression")
        ''
    """
    return "" if name in NAMES else f"is no problem type{nearest(name, NAMES)}; there are {listed(NAMES)}"

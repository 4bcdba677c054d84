"""What the files in `edgeadapt/methods/` say of themselves: what a method is, its formula, and where it comes from."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass

SOURCE = re.compile(r"Source: ((?:`[^`]*`|[^`])+?)(?:\.\s(?=[A-Z`])|\.?$|, (?:whose|which|where) )")
"""A docstring's source, up to the end of its sentence, or to a clause on it; names in backticks have points, too."""
FORMULA = re.compile(r"`[^`]* = [^`]*`")


@dataclass(frozen=True, slots=True)
class Description:
    """One file.

    Attributes:
        what: Its first sentence, without its formulas.
        formulas: Its first formulas, or nothing.
        source: Papers and functions.
    """

    what: str
    formulas: str
    source: str


def describe(name: str) -> Description:
    """Returns what the file of a method says.

    Example:
        >>> describe("lora")
        Description(what='LoRA: a low-rank change of a weight', formulas="`y' = y + (x A) B`", source=...)
    """
    text = (importlib.import_module(f"edgeadapt.methods.{name}").__doc__ or "").strip()
    joined = re.sub(r"`[^`]*`", lambda found: re.sub(r"(?<=\w)\.\s+(?=\w)", ".", found[0]), " ".join(text.split()))
    formulas, source = FORMULA.findall(joined.partition("Source:")[0]), SOURCE.search(joined)
    first = " ".join(text.split("\n\n")[0].split()).rstrip(".")
    for each in formulas:
        first = first.removesuffix(each).rstrip(" ,:")  # a column of its own has it
    return Description(first, ", ".join(formulas), "" if source is None else source[1])

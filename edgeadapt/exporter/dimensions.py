"""Gives the dimensions that the exporter has left as formulas the names that a decoder's inputs have for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache

import onnx_ir as ir
import sympy

NAMED: Mapping[str, Sequence[int]] = {
    "batch": (2, 3, 7),
    "sequence": (3, 5, 2),
    "past": (5, 4, 9),
    "total": (8, 9, 11),
    "source": (6, 11, 10),
}
"""What can be a dimension of a decoder's values, and three lengths of each: `total` is `past` and `sequence`, and
`source` that of what an encoder has read."""

RENAMED = {"read_batch": "batch", "read_source": "source"}
"""What lengths are called while an encoder is traced beside its decoder, and what they are called afterwards."""


def rename(model: ir.Model) -> None:
    """Gives the lengths of an encoder the names that its decoder has for them.

    Before:   input_ids `(read_batch, read_source)`, encoder_attention_mask `(batch, source)`
    After:    input_ids `(batch, source)`, encoder_attention_mask `(batch, source)`
    """

    def renamed(name: str) -> str:
        for old, new in RENAMED.items():
            name = name.replace(old, new)
        return name

    _name_anew(model, renamed)


def resolve(model: ir.Model) -> None:
    """Writes `total` for `sequence + past`, and `batch` for formulas that come to it whatever the lengths are.

    Before:   keys `(batch, 4, past + sequence, 8)`, output `((batch*Min(128, past + sequence) ...)//sequence, ...)`
    After:    keys `(batch, 4, total, 8)`, output `(batch, ...)`
    """
    _name_anew(model, _name)


def _name_anew(model: ir.Model, name_of: Callable[[str], str]) -> None:
    """Gives all lengths other names; those without one stay so, since equal names mean equal lengths."""
    values = [*model.graph.inputs, *(value for node in model.graph.all_nodes() for value in node.outputs)]
    for value in values:
        if value.shape is not None and any(isinstance(dim, ir.SymbolicDim) for dim in value.shape):
            dims = [
                dim if isinstance(dim, int) or dim.value is None else name_of(str(dim.value)) for dim in value.shape
            ]
            value.shape = ir.Shape(dims)


@cache
def _name(formula: str) -> str:
    """Returns the name of what a formula comes to, or the formula where it is none of them.

    Example:
        >>> _name("past + sequence"), _name("batch*sequence")
        ('total', 'batch*sequence')
    """
    if formula in NAMED:
        return formula
    try:
        parsed = sympy.sympify(formula, locals={name: sympy.Symbol(name) for name in NAMED})
        lengths = [
            parsed.subs({name: each[number] for name, each in NAMED.items()}) for number in range(len(NAMED["batch"]))
        ]
    except (sympy.SympifyError, TypeError, AttributeError):
        return formula  # no formula but a name
    return next((name for name, each in NAMED.items() if list(each) == lengths), formula)

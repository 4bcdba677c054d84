"""How near the exported model's outputs are to PyTorch's, and how far an adapter moves them. numpy only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgeadapt.bundle import ParityRecord
from edgeadapt.errors import ParityError, listed

Arrays = Mapping[str, NDArray[np.generic]]

INT8_OF_LARGEST = 0.15
FP16_OF_LARGEST = 0.02
FP16_EFFECT_FRACTION = 0.1

COLUMNS = ("adapter", "max abs error", "effect", "error / effect", "cosine", "top-1", "verdict")
"""The headings of `table`."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What passes: an error of at most `max_abs`, and of at most `effect_fraction` of the adapter's effect.

    The second rule is for adapters that move the outputs little: an error of 1e-5 is nothing beside an effect of 5,
    and all of an effect of 1e-5.

    Where outputs are large, `of_largest` of the largest expected number may be more than `max_abs`, and passes too.
    """

    max_abs: float = 1e-4
    effect_fraction: float = 0.01
    of_largest: float = 0.0


def for_logits(tolerance: Tolerance) -> Tolerance:
    """Returns a tolerance for logits of a whole vocabulary, which are large: 1e-5 of the largest passes as well.

    A float32 has 24 bits, so that a logit of 30 is known to 2e-6 at best; some 80 such steps add up in the dozens of
    layers of a decoder. PyTorch's own are a third of that away from what it says in float64.
    """
    return replace(tolerance, of_largest=max(tolerance.of_largest, 1e-5))


def for_int8(tolerance: Tolerance) -> Tolerance:
    """Returns a tolerance for products whose inputs are rounded to 8 bits on the way.

    That is no error of the graph, which is held to fp32 before: what is looked for here is a kernel that goes astray. A
    number of 8 bits is off by 0.4 % at most, and a model of dozens of layers came to 5 % of the largest logit.
    """
    return replace(tolerance, of_largest=INT8_OF_LARGEST, effect_fraction=math.inf)


def for_fp16(tolerance: Tolerance) -> Tolerance:
    """Returns a tolerance for a graph that computes in fp16, with weights that are the reference's own.

    fp16 has 11 bits: a number is off by 4.9e-4 of itself at most, and the roundings of all sums on the way to an output
    add up like a random walk, 300 of them to 8e-3. Measured were 1e-3 to 4e-3 of the largest number, in models of 2
    layers with large weights as in a decoder of 30; the rest is for GPUs, which round more often than the CPU does.

    What tells a wrong graph from a rounded one is the adapter's effect: an error of more than a tenth of it fails. So
    does an adapter that moves the outputs by less than ten errors, which fp16 is too coarse for.
    """
    return replace(
        tolerance,
        of_largest=max(tolerance.of_largest, FP16_OF_LARGEST),
        effect_fraction=max(tolerance.effect_fraction, FP16_EFFECT_FRACTION),
    )


def for_model(tolerance: Tolerance, precision: str, *, logits: bool) -> Tolerance:
    """Returns a tolerance for a model of a precision, exact but for that; `logits` are those of a whole vocabulary."""
    if precision == "fp16":
        tolerance = for_fp16(tolerance)
    return for_logits(tolerance) if logits else tolerance


@dataclass(frozen=True, slots=True)
class ParityReport:
    """What `compare` found for one adapter, over all of its outputs.

    Attributes:
        name: The adapter's name.
        max_abs_error: The largest `|got - expected|`; infinite where `got` is not finite.
        effect: The largest `|expected - base|`, how far PyTorch's adapter moves the outputs; 0 for the base.
        cosine: The smallest cosine between an output and the expected one, both flattened, in [-1, 1].
        top1_agreement: The share of equal argmax over the last axis; None where there are no classes.
        tolerance: What the figures are held to.
        against_base: False for the base itself, which has no effect to judge.
    """

    name: str
    max_abs_error: float
    effect: float
    cosine: float
    top1_agreement: float | None
    tolerance: Tolerance
    against_base: bool = True

    @property
    def no_effect(self) -> bool:
        """Whether these inputs can't tell the adapter from the base: it moves the outputs no further than the error.

        An effect of exactly 0 is always none. An error beyond `tolerance.max_abs` fails for itself and hides no effect.
        Whether an adapter may have no effect is for the caller to say: `passed` does not ask.
        """
        return self.against_base and self.effect <= min(self.max_abs_error, self.tolerance.max_abs)

    @property
    def passed(self) -> bool:
        """Whether the error is within the tolerance."""
        return not self.failures()

    def failures(self) -> list[str]:
        """Returns what is beyond the tolerance, one line each; nothing where the report passes."""
        problems = []
        if not math.isfinite(self.max_abs_error):
            return ["the outputs hold NaN or infinity"]
        if self.max_abs_error > self.tolerance.max_abs:
            problems.append(
                f"the max abs error is {self.max_abs_error:.2g}, expected at most {self.tolerance.max_abs:.2g}"
            )
        allowed = self.tolerance.effect_fraction * self.effect
        if self.against_base and not self.no_effect and self.max_abs_error > allowed:
            problems.append(
                f"the max abs error is {self.max_abs_error:.2g}, expected at most {allowed:.2g}: "
                f"{self.tolerance.effect_fraction:g} of the adapter's effect of {self.effect:.2g}"
            )
        return problems

    def record(self, reference: str) -> ParityRecord:
        """Returns the figures for `adapter.json`; `reference` names what was compared with, and its versions."""
        return ParityRecord(
            reference=reference,
            max_abs_error=self.max_abs_error,
            effect=self.effect,
            cosine=self.cosine,
            top1_agreement=self.top1_agreement,
            tolerance=self.tolerance.max_abs,
        )


def compare(
    name: str,
    got: Arrays,
    expected: Arrays,
    base: Arrays | None,
    tolerance: Tolerance,
    mask: Arrays | None = None,
    *,
    classes: bool = True,
) -> ParityReport:
    """Compares an adapter's outputs with PyTorch's, and PyTorch's with the base's.

    Args:
        name: The adapter's name.
        got: What the exported model returned, by output name.
        expected: What PyTorch returned: the same names, shapes and dtypes.
        base: What PyTorch's base returned, again with the same names and shapes (the same label count, so with the
            adapter's own head); None for the base itself.
        tolerance: What the figures are held to.
        mask: Output name to a bool array that broadcasts to the leading axes, such as `(batch, sequence)` for
            `(batch, sequence, hidden)`: False leaves a padded position out of every figure.
        classes: False where the last axis does not hold classes; then there is no top-1 agreement.

    Raises:
        ParityError: Names, shapes or dtypes differ, the reference is not finite, or nothing is left to compare.

    Example:
        >>> logits = np.array([[1.0, 2.0]])
        >>> report = compare("spam", {"logits": logits}, {"logits": logits}, {"logits": logits + 3}, Tolerance())
        >>> report.max_abs_error, report.effect, report.passed
        (0.0, 3.0, True)
    """
    _check(name, got, expected, base)
    errors, effects, cosines, hits = [], [0.0], [], []
    for output, wanted in expected.items():
        keep = _kept(name, output, wanted, mask)
        here, there = _figures(got[output], keep), _figures(wanted, keep)
        if base is not None:
            effects.append(float(np.abs(there - _figures(base[output], keep)).max()))
        finite = bool(np.isfinite(here).all())
        errors.append(float(np.abs(here - there).max()) if finite else math.inf)
        cosines.append(_cosine(here, there) if finite else 0.0)
        if classes and wanted.ndim and wanted.shape[-1] > 1:
            hits.append((_classes(got[output], keep) == _classes(wanted, keep)).ravel())
    top1 = float(np.concatenate(hits).mean()) if hits else None
    largest = max(float(np.abs(wanted).max()) for wanted in expected.values())
    tolerance = replace(tolerance, max_abs=max(tolerance.max_abs, tolerance.of_largest * largest))
    return ParityReport(name, max(errors), max(effects), min(cosines), top1, tolerance, against_base=base is not None)


def table(reports: Sequence[ParityReport]) -> list[tuple[str, ...]]:
    """Returns one row of text for each report, under the headings `COLUMNS`."""
    return [
        (
            report.name,
            f"{report.max_abs_error:.1e}",
            f"{report.effect:.1e}" if report.against_base else "-",
            f"{report.max_abs_error / report.effect:.1e}" if report.effect > 0 else "-",
            f"{report.cosine:.6f}",
            "-" if report.top1_agreement is None else f"{report.top1_agreement:.1%}",
            "failed" if not report.passed else "no effect" if report.no_effect else "passed",
        )
        for report in reports
    ]


def _check(name: str, got: Arrays, expected: Arrays, base: Arrays | None) -> None:
    problems = [] if expected else ["the reference has no outputs"]
    for whose, arrays in (("the model", got), ("the base", base)):
        if arrays is None:
            continue
        if set(arrays) != set(expected):
            problems.append(f"{whose} has the outputs {listed(sorted(arrays))}; expected {listed(sorted(expected))}")
        for output in sorted(set(arrays) & set(expected)):
            found, wanted = _described(arrays[output]), _described(expected[output])
            if found != wanted:
                problems.append(f"{output}: {whose} has {found}; expected {wanted}")
    problems += [f"{output}: the reference is not finite" for output in expected if not _finite(expected[output])]
    problems += [
        f"{output}: the base's reference is not finite" for output in base or {} if not _finite((base or {})[output])
    ]
    if problems:
        raise ParityError.collect(f"The outputs of {name!r} can't be compared with PyTorch's:", problems)


def _described(array: NDArray[np.generic]) -> str:
    return f"{array.dtype} {array.shape}"


def _finite(array: NDArray[np.generic]) -> bool:
    return bool(np.isfinite(array.astype(np.float64)).all())


def _kept(name: str, output: str, array: NDArray[np.generic], mask: Arrays | None) -> NDArray[np.bool_]:
    """Returns what counts of `array` as bools over its leading axes; a mask that is not given keeps everything."""
    given = np.asarray((mask or {}).get(output, np.True_))
    try:
        keep = np.broadcast_to(given.astype(np.bool_), array.shape[: given.ndim])
    except ValueError:
        raise ParityError(
            f"The mask of {name!r} for {output} has the shape {given.shape}, which does not broadcast to "
            f"the leading axes of {array.shape}.\nGive one bool for each position, such as (batch, sequence)."
        ) from None
    if not keep.any() or array.size == 0:
        raise ParityError(
            f"Nothing of {output} is left to compare for {name!r}.\nGive inputs that are not all padding."
        )
    return keep


def _figures(array: NDArray[np.generic], keep: NDArray[np.bool_]) -> NDArray[np.float64]:
    return array.astype(np.float64)[keep].ravel()


def _classes(array: NDArray[np.generic], keep: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Returns argmax over the last axis where `keep` says so; a mask of that axis itself takes classes away."""
    scores = array.astype(np.float64)
    if keep.ndim < scores.ndim:
        return np.asarray(scores.argmax(-1)[keep])
    return np.asarray(np.where(keep, scores, -np.inf).argmax(-1)[keep.any(-1)])


def _cosine(here: NDArray[np.float64], there: NDArray[np.float64]) -> float:
    """Returns the cosine of two vectors; 1 for two zeros, 0 for one."""
    sizes = float(np.abs(here).max()), float(np.abs(there).max())
    if 0.0 in sizes:
        return float(sizes[0] == sizes[1])
    # Scaled first, so that no square overflows or vanishes.
    here, there = here / sizes[0], there / sizes[1]
    cosine = float(here @ there) / math.sqrt(float(here @ here) * float(there @ there))
    return max(-1.0, min(1.0, cosine))

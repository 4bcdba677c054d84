"""Parity: figures by hand, masks, what passes and what can't be compared."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeadapt.bundle import ParityRecord
from edgeadapt.errors import ParityError
from edgeadapt.parity import COLUMNS, ParityReport, Tolerance, compare, for_logits, table

Floats = NDArray[np.float32]
TOLERANCE = Tolerance()


def floats(*values: object) -> Floats:
    return np.array(values, np.float32)


def report(error: float, effect: float, **fields: object) -> ParityReport:
    made = ParityReport("spam", error, effect, 1.0, 1.0, Tolerance(max_abs=1e-4, effect_fraction=0.01))
    return replace(made, **fields)  # type: ignore[arg-type]


def test_the_figures_are_those_of_the_definitions() -> None:
    expected = {"logits": floats([1, 2, 3], [6, 5, 4]), "pooled": floats([3, 4])}
    got = {"logits": floats([1, 2, 3], [5, 5.5, 4]), "pooled": floats([3, 4])}
    base = {"logits": floats([1, 2, 3], [6, 5, 4]), "pooled": floats([3, -4])}
    found = compare("spam", got, expected, base, TOLERANCE)
    a, b = got["logits"].ravel().astype(float), expected["logits"].ravel().astype(float)
    assert found.max_abs_error == 1.0
    assert found.effect == 8.0
    assert found.cosine == pytest.approx(a @ b / np.sqrt(a @ a * (b @ b)), abs=1e-12)
    assert found.top1_agreement == pytest.approx(2 / 3)  # of two rows of logits and one of pooled
    assert found.against_base


def test_errors_are_taken_in_double_precision() -> None:
    here, there = floats([2.0**24, 1.0]), floats([2.0**24, 1.0 + 2.0**-23])
    found = compare("spam", {"y": here}, {"y": there}, None, TOLERANCE)
    assert found.max_abs_error == 2.0**-23


def test_the_base_has_no_effect_to_judge() -> None:
    logits = {"logits": floats([1, 2])}
    found = compare("none", {"logits": floats([1, 2.00005])}, logits, None, TOLERANCE)
    assert (found.effect, found.against_base, found.no_effect, found.passed) == (0.0, False, False, True)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_fails(value: float) -> None:
    found = compare("spam", {"y": floats([1, value])}, {"y": floats([1, 2])}, None, Tolerance(max_abs=math.inf))
    assert (found.max_abs_error, found.cosine) == (math.inf, 0.0)
    assert not found.passed
    assert found.failures() == ["the outputs hold NaN or infinity"]


@pytest.mark.parametrize(
    ("got", "expected", "cosine"),
    [
        ([0, 0], [0, 0], 1.0),
        ([0, 0], [1, 0], 0.0),
        ([1, 0], [0, 0], 0.0),
        ([1, 2], [-2, -4], -1.0),
        ([1, 1], [1e-30, 1e-30], 1.0),
    ],
)
def test_the_cosine_at_its_ends(got: list[float], expected: list[float], cosine: float) -> None:
    found = compare("spam", {"y": np.array([got], float)}, {"y": np.array([expected], float)}, None, TOLERANCE)
    assert found.cosine == pytest.approx(cosine, abs=1e-12)
    assert -1.0 <= found.cosine <= 1.0


def test_the_cosine_of_huge_numbers_does_not_overflow() -> None:
    huge = {"y": np.array([1e200, 1e200])}
    assert compare("spam", huge, huge, None, TOLERANCE).cosine == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("array", "classes"),
    [(floats([1, 2]), False), (floats([1], [2]), True), (np.float32(1).reshape(()), True)],
    ids=["not classes", "one class", "a scalar"],
)
def test_without_classes_there_is_no_agreement(array: Floats, classes: bool) -> None:
    found = compare("spam", {"y": array}, {"y": array}, None, TOLERANCE, classes=classes)
    assert found.top1_agreement is None


def test_a_mask_leaves_padding_out_of_every_figure() -> None:
    expected = {"y": floats([[1, 2, 0], [3, 4, 0]], [[5, 6, 0], [0, 1, 0]])}
    got = {"y": floats([[1, 2, 0], [3, 4, 0]], [[5, 6, 0], [math.nan, -9, 0]])}
    base = {"y": floats([[1, 2, 0], [3, 3, 0]], [[5, 6, 0], [99, 99, 0]])}
    mask = {"y": np.array([[True, True], [True, False]])}
    found = compare("spam", got, expected, base, TOLERANCE, mask)
    assert (found.max_abs_error, found.effect, found.cosine, found.top1_agreement) == (0.0, 1.0, 1.0, 1.0)


def test_a_mask_of_the_class_axis_takes_classes_away() -> None:
    expected = {"start": floats([1, 2, 0], [3, 2, 1])}
    got = {"start": floats([1, 2, 9], [2, 3, 1])}
    mask = {"start": np.array([[True, True, False], [True, True, True]])}
    found = compare("spam", got, expected, None, TOLERANCE, mask)
    assert (found.max_abs_error, found.top1_agreement) == (1.0, 0.5)


def test_a_mask_broadcasts_and_holds_for_its_output_alone() -> None:
    expected = {"y": floats([[1], [2]], [[3], [4]]), "z": floats([1])}
    got = {"y": floats([[1], [9]], [[3], [9]]), "z": floats([3])}
    found = compare("spam", got, expected, None, TOLERANCE, {"y": np.array([[True, False]])})
    assert found.max_abs_error == 2.0


def test_a_mask_that_does_not_fit_is_refused() -> None:
    y = {"y": floats([1, 2], [3, 4])}
    with pytest.raises(ParityError, match=r"has the shape \(3,\), which does not broadcast"):
        compare("spam", y, y, None, TOLERANCE, {"y": np.ones(3, bool)})
    with pytest.raises(ParityError, match=r"has the shape \(2, 2, 1\), which does not broadcast"):
        compare("spam", y, y, None, TOLERANCE, {"y": np.ones((2, 2, 1), bool)})


@pytest.mark.parametrize("shape", [(0, 2), (2, 2)])
def test_where_nothing_is_left_there_is_no_parity(shape: tuple[int, ...]) -> None:
    y = {"y": np.zeros(shape, np.float32)}
    with pytest.raises(ParityError, match="Nothing of y is left to compare"):
        compare("spam", y, y, None, TOLERANCE, {"y": np.array(False)})
    if not shape[0]:
        with pytest.raises(ParityError, match="Nothing of y is left to compare"):
            compare("spam", y, y, None, TOLERANCE)


def test_all_that_can_not_be_compared_is_told_at_once() -> None:
    y = floats([1, 2])
    expected = {"a": y, "b": y, "c": y, "d": floats([math.inf, 0])}
    got: dict[str, NDArray[Any]] = {"a": floats([1], [2]), "b": y.astype(np.float64), "c": y, "x": y}
    base = {"a": y, "b": y, "c": floats([math.nan, 1])}
    with pytest.raises(ParityError) as caught:
        compare("spam", got, expected, base, TOLERANCE)
    assert [line.strip() for line in str(caught.value).splitlines()] == [
        "The outputs of 'spam' can't be compared with PyTorch's:",
        "the model has the outputs a, b, c, x; expected a, b, c, d",
        "a: the model has float32 (2, 1); expected float32 (1, 2)",
        "b: the model has float64 (1, 2); expected float32 (1, 2)",
        "the base has the outputs a, b, c; expected a, b, c, d",
        "d: the reference is not finite",
        "c: the base's reference is not finite",
    ]


def test_a_base_with_another_label_count_is_refused() -> None:
    y = {"y": floats([1, 2])}
    with pytest.raises(ParityError, match=r"y: the base has float32 \(1, 3\); expected float32 \(1, 2\)"):
        compare("spam", y, y, {"y": floats([1, 2, 3])}, TOLERANCE)


def test_no_outputs_are_no_proof() -> None:
    with pytest.raises(ParityError, match="the reference has no outputs"):
        compare("spam", {}, {}, None, TOLERANCE)


@pytest.mark.parametrize(
    ("error", "effect", "failures", "no_effect"),
    [
        (1e-4, 5.0, 0, False),
        (1.01e-4, 5.0, 1, False),
        (1e-6, 1e-4, 0, False),
        (1.01e-6, 1e-4, 1, False),
        (1e-3, 5e-2, 2, False),
        (0.0, 1e-9, 0, False),
        (0.0, 0.0, 0, True),
        (1e-6, 0.0, 0, True),
        (1e-6, 1e-6, 0, True),
        (1e-6, 1.1e-6, 1, False),
        (1.0, 0.5, 2, False),
        (1.0, 0.0, 1, True),
    ],
)
def test_what_passes(error: float, effect: float, failures: int, no_effect: bool) -> None:
    found = report(error, effect)
    assert len(found.failures()) == failures
    assert found.passed == (failures == 0)
    assert found.no_effect == no_effect


def test_a_failure_says_what_was_got_and_expected() -> None:
    assert report(2e-4, 1e-2).failures() == [
        "the max abs error is 0.0002, expected at most 0.0001",
        "the max abs error is 0.0002, expected at most 0.0001: 0.01 of the adapter's effect of 0.01",
    ]


def test_the_record_has_the_figures() -> None:
    expected = ParityRecord("torch 2.13.0", 1e-6, 5.0, 1.0, None, 1e-4)
    assert report(1e-6, 5.0, top1_agreement=None).record("torch 2.13.0") == expected


def test_the_table_has_a_row_for_each_report() -> None:
    rows = table(
        [
            report(1.44e-6, 5.1),
            report(1e-7, 0.0, name="zero"),
            report(1.0, 5.0, name="bad", cosine=0.5, top1_agreement=0.25),
            report(1e-6, 0.0, name="none", against_base=False, top1_agreement=None),
        ]
    )
    assert rows == [
        ("spam", "1.4e-06", "5.1e+00", "2.8e-07", "1.000000", "100.0%", "passed"),
        ("zero", "1.0e-07", "0.0e+00", "-", "1.000000", "100.0%", "no effect"),
        ("bad", "1.0e+00", "5.0e+00", "2.0e-01", "0.500000", "25.0%", "failed"),
        ("none", "1.0e-06", "-", "-", "1.000000", "-", "passed"),
    ]
    assert {len(row) for row in rows} == {len(COLUMNS)}


def test_large_logits_are_held_to_a_share_of_the_largest() -> None:
    expected = np.array([[30.0, -2.0]], np.float32)
    got = expected + np.float32(2e-4)

    strict = compare("none", {"logits": got}, {"logits": expected}, None, Tolerance())
    fair = compare("none", {"logits": got}, {"logits": expected}, None, for_logits(Tolerance()))
    small = compare("none", {"logits": got / 30}, {"logits": expected / 30}, None, for_logits(Tolerance(1e-6)))

    assert not strict.passed
    assert fair.passed
    assert fair.tolerance.max_abs == pytest.approx(3e-4)
    assert small.tolerance.max_abs == pytest.approx(1e-5)

"""Every way to choose adapters, against numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeadapt.runtime import Session, load
from edgeadapt.runtime.filling import Filling
from tests.runtime.tiny_bundle import Arrays, TinyBundle, arrays, inputs, write_adapter

KINDS = ["headless", "headed", "encoder", "whole_batch"]
CHOICES: dict[str, list[Any]] = {
    "headless": ["spam", "topic", "tone"],
    "headed": [None, "none", "spam", "polite", "short", {"polite": 0.5, "short": -2.0}, {"spam": 0.25, "short": 1.0}],
    "encoder": [None, "polite", "short", "formal", {"polite": 0.5, "short": 0.25, "formal": 3}],
}
CHOICES["whole_batch"] = CHOICES["headed"]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def tiny(kind: str, request: pytest.FixtureRequest) -> TinyBundle:
    found = request.getfixturevalue(kind)
    assert isinstance(found, TinyBundle)
    return found


def expect(tiny: TinyBundle, fed: Arrays, rows: Sequence[Any], got: Mapping[str, Any]) -> None:
    """Compares every row of `got` with the reference, shape included."""
    names = [None if row == "none" else row for row in rows]
    wanted = [tiny.expected(x, name) for x, name in zip(fed["x"], names, strict=True)]
    assert set(got) == set(wanted[0])
    for output, values in got.items():
        assert len(values) == len(rows)
        for value, row in zip(values, wanted, strict=True):
            assert value.shape == row[output].shape
            assert value.dtype == np.float32
            np.testing.assert_allclose(value, row[output], atol=1e-5)


def test_one_choice_for_all_rows(tiny: TinyBundle, kind: str) -> None:
    session, fed = load(tiny.path), inputs()
    for choice in CHOICES[kind]:
        got = session.run(fed, adapter=choice)
        assert all(isinstance(value, np.ndarray) for value in got.values())
        expect(tiny, fed, [choice] * 3, got)


def test_all_choices_in_one_batch(tiny: TinyBundle, kind: str) -> None:
    session, rows = load(tiny.path), CHOICES[kind] + CHOICES[kind][::-1]
    fed = inputs(batch=len(rows))
    for _ in range(2):  # made, then kept
        expect(tiny, fed, rows, session.run(fed, adapter=rows))


def test_stacks_too_large_to_be_kept(whole_batch: TinyBundle) -> None:
    session, fed = load(whole_batch.path, adapter_memory=300), inputs(4)
    rows: list[Any] = [{"polite": 0.5, "short": 2.0}, "spam", {"polite": 0.5, "short": 2.0}, None]
    expect(whole_batch, fed, rows, session.run(fed, rows))


def test_each_row_equals_its_adapter_alone(tiny: TinyBundle, kind: str) -> None:
    session, rows = load(tiny.path), CHOICES[kind]
    fed = inputs(batch=len(rows))
    got = session.run(fed, adapter=rows)
    for index, choice in enumerate(rows):
        alone = session.run({"x": fed["x"][index : index + 1]}, adapter=choice)
        for output, value in alone.items():
            np.testing.assert_allclose(got[output][index], value[0], atol=1e-6)


def test_base_equals_a_neutral_adapter_bitwise(encoder: TinyBundle) -> None:
    session, fed = load(encoder.path), inputs()
    neutral = {name: np.zeros_like(array) for name, array in encoder.adapters["polite"].items()}
    np.testing.assert_array_equal(session.run(fed)["hidden"], session.run_slots(fed, neutral)["hidden"])


def test_a_list_of_one_adapter_is_that_adapter(session: Session) -> None:
    fed = inputs()
    np.testing.assert_array_equal(session.run(fed, ["spam"] * 3)["logits"], session.run(fed, "spam")["logits"])


def test_rows_come_as_a_list_only_where_label_counts_differ(session: Session) -> None:
    mixed = session.run(inputs(), ["spam", None, "polite"])
    assert isinstance(mixed["logits"], list)
    assert [row.shape for row in mixed["logits"]] == [(2,), (3,), (3,)]
    assert isinstance(mixed["hidden"], np.ndarray)
    equal = session.run(inputs(), ["short", None, "polite"])
    assert isinstance(equal["logits"], np.ndarray)


def test_rows_that_share_a_whole_batch_slot_share_a_run(
    whole_batch: TinyBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, run, runs = load(whole_batch.path), Session._run, []

    def counted(self: Session, fed: Arrays, filling: Filling) -> dict[str, Any]:
        runs.append(len(fed["x"]))
        return run(self, fed, filling)

    monkeypatch.setattr(Session, "_run", counted)
    session.run(inputs(5), ["short", "spam", None, "polite", "spam"])
    assert sorted(runs) == [1, 2, 2]  # polite's bias, spam's, and the neutral of short and the base


def test_a_blend_of_one_at_weight_one_is_the_adapter(session: Session) -> None:
    fed = inputs()
    np.testing.assert_array_equal(session.run(fed, {"polite": 1.0})["logits"], session.run(fed, "polite")["logits"])


def test_equal_blends_are_one_stack_in_any_order(session: Session) -> None:
    got = session.run(inputs(2), [{"polite": 0.5, "short": 2}, {"short": 2.0, "polite": np.float32(0.5)}])
    assert isinstance(got["logits"], np.ndarray)
    assert session.stats().loaded == 2
    assert len(session._store.memory._held["made"]) == 1


def test_arrays_that_are_not_contiguous_run_too(session: Session, headed: TinyBundle) -> None:
    fed = {"x": np.asfortranarray(inputs()["x"])}
    expect(headed, fed, ["spam"] * 3, session.run(fed, "spam"))


def test_labels(session: Session, headless: TinyBundle, encoder: TinyBundle) -> None:
    assert session.labels() == ("no", "maybe", "yes")
    assert session.labels("polite") == ("no", "maybe", "yes")
    assert session.labels("spam") == ("spam-0", "spam-1")
    assert session.labels({"short": 1, "spam": 1}) == ("spam-0", "spam-1")
    assert load(headless.path).labels("topic") == tuple(f"topic-{index}" for index in range(5))
    assert load(encoder.path).labels("polite") == ()


def test_problem_types_are_those_of_the_head(session: Session, headless: TinyBundle, tmp_path: Path) -> None:
    assert session.problem_type() == "multi_label_classification"
    assert session.problem_type("polite") == "multi_label_classification"
    assert session.problem_type("spam") is None
    own = arrays(2, 3, labels=1)
    session.add_adapter(write_adapter(tmp_path / "price", "price", own, problem_type="regression"))
    assert session.problem_type("price") == "regression"
    assert session.problem_type({"polite": 1, "price": 1}) == "regression"
    assert load(headless.path).problem_type("topic") is None


def test_what_a_session_tells_about_itself(session: Session, headed: TinyBundle) -> None:
    assert session.provider == "cpu"
    assert session.path == headed.path
    assert list(session.adapters) == ["polite", "short", "spam"]
    assert session.adapters["spam"].sites == {"encoder.fc": {"lora": {"rank": 2}}}
    assert session.adapter(None).name == "none"

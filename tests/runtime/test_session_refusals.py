"""What a run refuses, and what its message says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgeadapt.errors import AdapterError, ConfigError, InputError, UnsupportedError
from edgeadapt.runtime import Session, blend, load
from tests.runtime.tiny_bundle import A, TinyBundle, inputs


def test_all_that_is_wrong_with_the_inputs_is_said_at_once(session: Session) -> None:
    with pytest.raises(InputError) as caught:
        session.run({"X": inputs()["x"], "mask": np.ones(3)})
    assert str(caught.value).splitlines() == [
        "The inputs don't fit the model:",
        "  x: missing, expected float32 (batch, sequence, 4)",
        "  X: no input of this model",
        "  mask: no input of this model",
    ]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (np.zeros((2, 5, 4)), "x: got float64, expected float32; convert it with .astype(np.float32)"),
        (np.zeros((2, 5), np.float32), "x: got (2, 5), expected (batch, sequence, 4)"),
        (np.zeros((2, 5, 3), np.float32), "x: got (2, 5, 3), expected (batch, sequence, 4)"),
        ([[1.0]], "x: got list, expected a numpy array of float32 (batch, sequence, 4)"),
        (1, "x: got int, expected a numpy array of float32 (batch, sequence, 4)"),
    ],
)
def test_an_input_of_another_kind(session: Session, value: Any, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        session.run({"x": value})
    assert str(caught.value).splitlines()[1:] == [f"  {problem}"]


def test_inputs_by_position(session: Session) -> None:
    with pytest.raises(InputError, match="got ndarray, expected a mapping"):
        session.run(inputs()["x"])  # type: ignore[arg-type]


def test_an_unknown_adapter(session: Session) -> None:
    with pytest.raises(AdapterError) as caught:
        session.run(inputs(), "spma")
    assert str(caught.value) == ("There is no adapter 'spma' (did you mean 'spam'?).\nThere are: polite, short, spam.")
    with pytest.raises(AdapterError, match="'spma'"):
        session.run(inputs(), ["spam", "spma", None])
    with pytest.raises(AdapterError, match="'spma'"):
        session.run(inputs(), {"spam": 1.0, "spma": 1.0})


def test_a_base_without_a_head(headless: TinyBundle) -> None:
    session = load(headless.path)
    for choice in (None, "none", ["spam", None, "spam"]):
        with pytest.raises(AdapterError, match="The base has no classifier of its own; choose an adapter: spam, t"):
            session.run(inputs(), choice)
    with pytest.raises(AdapterError, match="The base has no classifier"):
        session.labels()


@pytest.mark.parametrize("count", [0, 2, 4])
def test_a_list_of_another_length(session: Session, count: int) -> None:
    with pytest.raises(InputError, match=f"got {count} for a batch of 3"):
        session.run(inputs(), ["spam"] * count)


def test_a_list_for_an_empty_batch(session: Session) -> None:
    with pytest.raises(InputError, match="The batch is empty"):
        session.run(inputs(batch=0), [])


@pytest.mark.parametrize("choice", [3, 0.5, b"spam", ["spam", "spam", ["spam"]]])
def test_a_choice_of_no_kind(session: Session, choice: Any) -> None:
    with pytest.raises(ConfigError, match="expected a name, None, or a blend"):
        session.run(inputs(), choice)


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), "1", None, True])
def test_a_weight_that_is_no_finite_number(session: Session, weight: Any) -> None:
    with pytest.raises(ConfigError, match=f"weight of 'spam': got {weight!r}, expected a finite number"):
        session.run(inputs(), {"spam": weight, "polite": 1.0})


def test_blends_of_nothing_and_of_the_base(session: Session) -> None:
    with pytest.raises(ConfigError, match="A blend is empty"):
        session.run(inputs(), {})
    with pytest.raises(ConfigError, match="the base has no weight in it"):
        session.run(inputs(), {"none": 0.5, "spam": 0.5})


def test_heads_that_dont_add_up(headless: TinyBundle) -> None:
    with pytest.raises(UnsupportedError) as caught:
        load(headless.path).run(inputs(), {"spam": 0.5, "tone": 0.5})
    assert str(caught.value).splitlines() == [
        "A blend of spam, tone has no exact meaning:",
        "  classifier: spam, tone each bring their own, and these don't add up",
        "Run them one by one and combine the outputs.",
    ]


def test_a_method_that_is_no_sum(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(blend.RULES, "bias")
    with pytest.raises(UnsupportedError, match=r"encoder\.fc: bias is no sum beside the base \(polite\)"):
        session.run(inputs(), {"short": 0.5, "polite": 0.5})


def test_arrays_for_slots_are_checked(session: Session, headless: TinyBundle) -> None:
    fed = inputs()
    with pytest.raises(AdapterError, match=r"encoder\.fc\.lora_X: the model has no such slot"):
        session.run_slots(fed, {"encoder.fc.lora_X": np.zeros(1)})
    with pytest.raises(AdapterError, match=r"rank: 2 in encoder.fc.lora_A, 1 in encoder.fc.lora_B \(the neutral\)"):
        session.run_slots(fed, {A: np.zeros((1, 4, 2), np.float32)})
    with pytest.raises(AdapterError, match=r"classifier\.weight: missing, and the base has no value for it"):
        load(headless.path).run_slots(fed, {})

"""The Python loader passes, from `cases.json` alone; and no case passes by itself."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgeadapt.bundle import TokenizerRecord
from edgeadapt.runtime.tokenizer import TextTokenizer
from tests.conformance import documents
from tests.conformance.broken import FAULTS
from tests.conformance.bundles import EXPORTED
from tests.conformance.cases import Answer, Array, Case, Refusal, TokenCase
from tests.conformance.generate import generate
from tests.conformance.python_loader import PythonLoader
from tests.conformance.texts import NO_LIMIT, OWN, PAIRS, TEXTS
from tests.conformance.variants import VARIANTS

NEAR, FAR = 1e-5, 1e-3
"""Rows that mean the same differ by less than the one, rows of different adapters by more than the other."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("conformance") / "out"
    generate(folder)
    yield folder
    shutil.rmtree(folder)  # one of its documents is 64 MiB


@pytest.fixture(scope="module")
def read(root: Path) -> tuple[list[Case], list[TokenCase]]:
    return documents.read(root)


@pytest.fixture(scope="module")
def answers(read: tuple[list[Case], list[TokenCase]]) -> list[tuple[Case, Answer]]:
    return [(case, case.outcome) for case in read[0] if isinstance(case.outcome, Answer)]


def test_the_python_loader_passes(root: Path, read: tuple[list[Case], list[TokenCase]]) -> None:
    """Each case in a session of its own, so that none is helped by another."""
    loader = PythonLoader(root)
    failed = {
        case.question.name: found
        for case in read[0]
        if (found := documents.differences(loader.outcome(case.question), case.outcome))
    }
    assert not failed


def test_the_python_tokenizer_passes(root: Path, read: tuple[list[Case], list[TokenCase]]) -> None:
    made: dict[tuple[str, int], TextTokenizer] = {}
    for case in read[1]:
        key = case.tokenizer, case.max_length or NO_LIMIT
        if key not in made:
            made[key] = TextTokenizer(root / key[0], TokenizerRecord(key[0], key[1], "right", 0, "", 0, None))
        (row,) = made[key].tokens([case.text if case.pair is None else (case.text, case.pair)])
        assert (tuple(row.ids.tolist()), tuple(row.type_ids.tolist())) == (case.ids, case.type_ids), case


def test_every_bundle_and_every_fault_has_its_cases(
    read: tuple[list[Case], list[TokenCase]], answers: list[tuple[Case, Answer]]
) -> None:
    assert {case.question.bundle for case, _ in answers} == {f"bundles/{name}" for name in (*EXPORTED, *VARIANTS)}
    refused = [case for case in read[0] if isinstance(case.outcome, Refusal)]
    assert len(refused) >= len(FAULTS) >= 40
    assert {case.outcome.step for case in refused if isinstance(case.outcome, Refusal)} == {"open", "add", "run"}


def test_every_tokenizer_has_its_texts(read: tuple[list[Case], list[TokenCase]]) -> None:
    for name in OWN:
        own = [case for case in read[1] if case.tokenizer == f"bundles/{name}/tokenizer.json"]
        assert len(own) == 2 * (TEXTS + PAIRS)
        cut = [case for case in own if case.max_length]
        assert len(cut) == len(own) // 2
        assert all(len(case.ids) == len(case.type_ids) <= (case.max_length or NO_LIMIT) for case in own)
        assert sum(len(case.ids) == case.max_length for case in cut) > len(cut) // 2
        assert any(1 in case.type_ids for case in own if case.pair)


def single(answers: list[tuple[Case, Answer]], like: Case) -> dict[str | None, Answer]:
    """Returns what each adapter alone, and the base, gives for the inputs of a case."""
    return {
        case.question.adapter: answer
        for case, answer in answers
        if not isinstance(case.question.adapter, list)
        and case.question.bundle == like.question.bundle
        and same(case, like)
    }


def same(one: Case, other: Case) -> bool:
    """Tells whether two cases have the same inputs."""
    given, like = one.question.inputs, other.question.inputs
    return given.keys() == like.keys() and all(np.array_equal(given[name], like[name]) for name in given)


def rows(answer: Answer, output: str) -> list[Array]:
    return list(answer.outputs[output])


def apart(one: Array, other: Array) -> float:
    """Returns how far two rows are apart; rows of other shapes are as far as can be."""
    return float(np.abs(one - other).max(initial=0.0)) if one.shape == other.shape else np.inf


def test_every_adapter_says_something_of_its_own(answers: list[tuple[Case, Answer]]) -> None:
    compared = 0
    for case, _ in answers:
        if "the base" in case.question.name or case.question.add or case.question.remove:
            continue
        alone = list(single(answers, case).items())
        for index, (name, answer) in enumerate(alone):
            for other, another in alone[:index]:
                if {name, other} == {None, "none"}:
                    continue
                moved = max(
                    apart(one, two)
                    for output in answer.outputs
                    for one, two in zip(rows(answer, output), rows(another, output), strict=True)
                )
                assert moved > FAR, f"{case.question.bundle}: {name} and {other} say the same"
                compared += 1
    assert compared > 100


def test_every_row_of_a_mixed_batch_says_what_its_adapter_says_alone(answers: list[tuple[Case, Answer]]) -> None:
    compared = parted = 0
    for case, answer in answers:
        choice = case.question.adapter
        if not isinstance(choice, list) or "half" in case.question.bundle:  # fp16 rounds more than NEAR
            continue
        alone = single(answers, case)
        for output in answer.outputs:
            for index, row in enumerate(rows(answer, output)):
                for name, own in alone.items():
                    distance = apart(row, rows(own, output)[index])
                    if (name or "none") == (choice[index] or "none"):
                        assert distance < NEAR, case.question.name
                        compared += 1
                    elif output == list(answer.outputs)[-1]:
                        parted += distance > FAR
    assert compared > 100
    assert parted > 100


def test_rows_with_other_label_counts_are_lists(answers: list[tuple[Case, Answer]]) -> None:
    lists = [answer for _, answer in answers if any(isinstance(each, list) for each in answer.outputs.values())]
    assert len(lists) > 10
    for answer in lists:
        assert len({row.shape for each in answer.outputs.values() if isinstance(each, list) for row in each}) > 1


def test_what_is_read_is_what_was_written(root: Path, read: tuple[list[Case], list[TokenCase]]) -> None:
    again = root / "again"
    documents.write(again, *read)
    assert (again / documents.CASES).read_bytes() == (root / documents.CASES).read_bytes()


def test_a_bit_that_differs_is_told() -> None:
    zeros = Answer({"y": np.zeros(2, np.float32)}, None, ())
    for other in (
        Answer({"y": np.array([0.0, -0.0], np.float32)}, None, ()),
        Answer({"y": np.zeros((1, 2), np.float32)}, None, ()),
        Answer({"y": np.zeros(2, np.int32)}, None, ()),
        Answer({"y": [np.zeros(2, np.float32)]}, None, ()),
        Answer({"z": np.zeros(2, np.float32)}, None, ()),
        Answer({"y": np.zeros(2, np.float32)}, ("a",), ()),
        Answer({"y": np.zeros(2, np.float32)}, None, ("a",)),
        Refusal("run", "InputError"),
    ):
        assert documents.differences(other, zeros)
        assert documents.differences(zeros, other)
    assert not documents.differences(zeros, Answer({"y": np.zeros(2, np.float32)}, None, ()))

"""Problem types: what a user may say of a head, and how another word is refused before anything is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeadapt.errors import ConfigError
from edgeadapt.exporter import problem_types
from edgeadapt.exporter.adding import add
from edgeadapt.exporter.pipeline import AdapterSource, export
from tests.exporter import snapshot

THERE_ARE = "there are regression, single_label_classification, multi_label_classification"


@pytest.mark.parametrize("name", problem_types.NAMES)
def test_every_name_is_itself(name: str) -> None:
    assert problem_types.get(name) == name
    assert problem_types.problem(name) == ""


def test_nothing_said_is_none() -> None:
    assert problem_types.get(None) is None


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("multi_label_clasification", " (did you mean 'multi_label_classification'?)"),
        ("Regression", " (did you mean 'regression'?)"),
        ("other", ""),
        ("", ""),
    ],
)
def test_another_word_is_refused(name: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        problem_types.get(name)
    assert str(caught.value) == f"{name!r} is no problem type{hint}; {THERE_ARE}."


def test_export_names_all_that_are_wrong_and_reads_nothing(tmp_path: Path) -> None:
    sources = {
        "price": AdapterSource(tmp_path / "nowhere", problem_type="regresion"),
        "topics": AdapterSource(tmp_path / "nowhere", problem_type="other"),
        "spam": AdapterSource(tmp_path / "nowhere", problem_type="regression"),
    }
    with pytest.raises(ConfigError) as caught:
        export(tmp_path / "base", sources, tmp_path / "bundle")
    assert str(caught.value).splitlines() == [
        "Adapters were given problem types that there are not:",
        f"  price: 'regresion' is no problem type (did you mean 'regression'?); {THERE_ARE}",
        f"  topics: 'other' is no problem type; {THERE_ARE}",
    ]
    assert list(tmp_path.iterdir()) == []


def test_add_leaves_the_bundle_as_it_was(tiny_bundle: Path, tiny_adapters: dict[str, Path]) -> None:
    before = snapshot(tiny_bundle)
    with pytest.raises(ConfigError, match="'regresion' is no problem type"):
        add(tiny_bundle, tiny_adapters["spam"], "price", problem_type="regresion")
    assert snapshot(tiny_bundle) == before

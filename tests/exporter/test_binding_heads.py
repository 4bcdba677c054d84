"""What is said about an adapter's head: its labels and its problem type."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeadapt.errors import BindingError
from edgeadapt.exporter import binding
from edgeadapt.exporter.pipeline import export
from tests import tiny
from tests.exporter import altered
from tests.exporter.classifiers import bound


def test_labels_are_the_given_else_the_checkpoints_else_numbered(
    tiny_adapters: dict[str, Path], tiny_bundle: Path, tmp_path: Path
) -> None:
    folder = altered(tiny_adapters["spam"], tmp_path / "adapter")

    assert bound(tiny_bundle, folder).labels == ("LABEL_0", "LABEL_1")
    (folder / "config.json").write_text('{"id2label": {"1": "yes", "0": "no"}}')
    assert bound(tiny_bundle, folder).labels == ("no", "yes")
    assert bound(tiny_bundle, folder, (("ham", "spam"), None)).labels == ("ham", "spam")


@pytest.mark.parametrize("given", [True, False], ids=["given", "in config.json"])
def test_a_wrong_number_of_labels_is_refused_with_both_numbers(
    given: bool, tiny_adapters: dict[str, Path], tiny_bundle: Path, tmp_path: Path
) -> None:
    folder = altered(tiny_adapters["spam"], tmp_path / "adapter")
    (folder / "config.json").write_text('{"id2label": {"0": "a", "1": "b", "2": "c"}}')

    with pytest.raises(BindingError, match=r"the head has 2 labels, but 3 names are given:\n  a, b, c"):
        bound(tiny_bundle, folder, (("a", "b", "c") if given else None, None))


def test_the_problem_type_is_the_given_else_the_checkpoints(
    tiny_adapters: dict[str, Path], tiny_bundle: Path, tmp_path: Path
) -> None:
    folder = altered(tiny_adapters["spam"], tmp_path / "adapter")

    assert bound(tiny_bundle, folder).problem_type is None
    assert bound(tiny_bundle, folder, (None, "regression")).problem_type == "regression"
    (folder / "config.json").write_text('{"problem_type": "single_label_classification"}')
    assert bound(tiny_bundle, folder).problem_type == "single_label_classification"
    assert bound(tiny_bundle, folder, (None, "regression")).problem_type == "regression"


@pytest.mark.parametrize(
    ("said", "refused"),
    [
        ((("a",), None), "labels"),
        ((None, "regression"), "a problem type"),
        ((("a",), "regression"), "labels or a problem type"),
    ],
)
def test_an_adapter_without_a_head_has_none_to_speak_of(said: binding.HeadWords, refused: str, tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base", task="text-classification", num_labels=3)
    folder = tiny.lora_adapter(base, tmp_path / "adapter", task_type=None)
    export(base, {"keeps": folder}, tmp_path / "bundle", task="text-classification")

    assert bound(tmp_path / "bundle", folder).problem_type is None
    with pytest.raises(BindingError, match=f"brings no head of its own, so it can't be given {refused}\\.$"):
        bound(tmp_path / "bundle", folder, said)

"""Multiple choice: PEFT's adapters, which have no task type for it, against live transformers and PEFT."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
import transformers

import edgeadapt
from edgeadapt.adapter import Array
from edgeadapt.errors import BindingError
from edgeadapt.exporter.adding import add
from edgeadapt.exporter.pipeline import export
from edgeadapt.runtime.verify import verify
from tests import tiny

TASK = "multiple-choice"
MAX_ERROR = 1e-5
QUESTION = "where is our parcel?"
CHOICES = ["at the village.", "it was long", "you never won a prize, so send it back to the customer", "no"]
HEAD = ["pooler", "classifier"]


def adapter(base: Path, folder: Path, rank: int, **options: Any) -> Path:
    return tiny.lora_adapter(base, folder, TASK, rank, ["query", "dense"], seed=rank, modules_to_save=HEAD, **options)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A headless base, two adapters, a bundle of one of them, and the other added."""
    folder = tmp_path_factory.mktemp("multiple-choice")
    base = tiny.base(folder / "base")
    adapters = {name: adapter(base, folder / name, rank) for name, rank in (("law", 4), ("science", 2))}
    result = export(base, {"law": adapters["law"]}, folder / "bundle")  # the task is the adapter's own
    assert all(report.max_abs_error <= MAX_ERROR for report in result.reports)
    report = add(folder / "bundle", adapters["science"], "science")
    assert report.max_abs_error <= MAX_ERROR < report.effect
    return folder


def live_scores(home: Path, name: str, choices: list[str]) -> list[float]:
    """Returns what PEFT says, asked as transformers' model is asked: one question, all its choices."""
    with tiny.quiet():
        base = transformers.AutoModelForMultipleChoice.from_pretrained(home / "base")
        model = peft.PeftModel.from_pretrained(base, str(home / name)).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(home / "base")
    tokens = tokenizer([QUESTION] * len(choices), choices, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = model(**{key: each[None] for key, each in tokens.items()}).logits
    assert logits.shape == (1, len(choices))
    scores: list[float] = torch.softmax(logits[0], -1).tolist()
    return scores


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("name", ["law", "science"])
def test_a_bundle_answers_as_peft_does(name: str, count: int, home: Path) -> None:
    choices = CHOICES[:count]

    got = edgeadapt.pipeline(home / "bundle")(question=QUESTION, choices=choices, adapter=name, top_k=None)

    expected = live_scores(home, name, choices)
    assert max(expected) - min(expected) > 1e-3
    assert [each["score"] for each in sorted(got, key=lambda each: each["index"])] == pytest.approx(expected, abs=1e-5)


def test_questions_of_several_lengths_have_adapters_of_their_own(home: Path) -> None:
    """Rows of several questions, adapters and numbers of choices share batches."""
    asked = [("law", CHOICES), ("science", CHOICES[:2]), ("law", CHOICES[1:])]
    rows = [{"question": QUESTION, "choices": choices} for _, choices in asked]

    got = edgeadapt.pipeline(home / "bundle")(rows, adapter=[name for name, _ in asked], top_k=None, batch_size=5)

    for answers, (name, choices) in zip(got, asked, strict=True):
        scores = [each["score"] for each in sorted(answers, key=lambda each: each["index"])]
        assert scores == pytest.approx(live_scores(home, name, choices), abs=1e-5)


def test_what_is_stored_is_what_transformers_says_of_questions_of_four_choices(home: Path) -> None:
    """The reference run is `(questions, choices, sequence)`, and its scores are the rows' in their order."""
    with np.load(home / "bundle" / "adapters" / "law" / "parity.npz") as case:
        inputs = {key.removeprefix("input/"): case[key] for key in case.files if key.startswith("input/")}
        stored: Array = case["output/logits"]
    with tiny.quiet():
        base = transformers.AutoModelForMultipleChoice.from_pretrained(home / "base")
        model = peft.PeftModel.from_pretrained(base, str(home / "law")).eval()
    with torch.no_grad():
        logits = model(**{name: torch.from_numpy(each).unflatten(0, (-1, 4)) for name, each in inputs.items()}).logits
    assert logits.shape[1] == 4 and stored.shape == (logits.numel(), 1)
    np.testing.assert_allclose(stored.reshape(logits.shape), logits.numpy(), atol=1e-6)


def test_a_bundle_says_one_score_a_row_and_no_labels(home: Path) -> None:
    manifest = json.loads((home / "bundle" / "edgeadapt.json").read_text())
    assert manifest["task"] == TASK and manifest["labels"] is None
    assert [output["shape"] for output in manifest["outputs"]] == [["batch", 1]]
    session = edgeadapt.load(home / "bundle")
    assert session.labels("law") == ()
    assert all(verify(session, name).passed for name in (None, "law", "science"))


def test_a_base_with_a_head_answers_without_adapters(tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base", "distilbert", TASK)
    lora = tiny.lora_adapter(base, tmp_path / "lora", TASK, targets="q_lin")  # without a head: the base's is kept
    result = export(base, {"lora": lora}, tmp_path / "bundle")  # the task is the base's own

    assert [report.name for report in result.reports] == ["none", "lora", "mixed rows"]
    assert all(report.max_abs_error <= MAX_ERROR for report in result.reports)
    ask = edgeadapt.pipeline(result.path)
    model = transformers.AutoModelForMultipleChoice.from_pretrained(base).eval()
    tokens = transformers.AutoTokenizer.from_pretrained(base)(
        [QUESTION] * 4, CHOICES, padding=True, return_tensors="pt", return_token_type_ids=False
    )
    with torch.no_grad():
        scores = torch.softmax(model(**{key: each[None] for key, each in tokens.items()}).logits[0], -1).tolist()
    got = sorted(ask(question=QUESTION, choices=CHOICES, top_k=None), key=lambda each: each["index"])
    assert [each["score"] for each in got] == pytest.approx(scores, abs=1e-5)


def test_modules_of_ones_own_stand_in_a_model_of_multiple_choice(tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base", task=TASK)
    torch.manual_seed(0)
    own = {"bert.encoder.layer.0.output.dense": torch.nn.Linear(tiny.HIDDEN, tiny.HIDDEN)}

    result = export(base, {"own": own}, tmp_path / "bundle", task=TASK)

    assert all(report.max_abs_error <= MAX_ERROR for report in result.reports)
    assert result.reports[1].effect > 0.01


def test_a_head_trained_for_multiple_choice_is_refused_elsewhere(tmp_path: Path) -> None:
    """PEFT saves the class of the model where it has no task type; a `classifier` of one output would fit both."""
    task = "text-classification"
    base = tiny.base(tmp_path / "base", task=task, num_labels=1)
    made = tiny.lora_adapter(base, tmp_path / "made", TASK, targets="query", modules_to_save=["classifier"])
    message = f"has a head for {TASK}, and this is {task}: classifier would be misread"

    with pytest.raises(BindingError, match=message):
        export(base, {"made": made}, tmp_path / "bundle", task=task)
    export(base, {}, tmp_path / "bundle", task=task)
    with pytest.raises(BindingError, match=message):
        add(tmp_path / "bundle", made, "made")


def test_a_head_of_several_labels_is_refused(tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base")
    made = tiny.lora_adapter(base, tmp_path / "made", targets="query", num_labels=3, modules_to_save=["classifier"])

    with pytest.raises(BindingError, match=r"classifier.weight: got \(1, 32, 3\), expected \(rows, 32, 1\)"):
        export(base, {"made": made}, tmp_path / "bundle", task=TASK)


def test_an_adapter_without_a_head_is_refused_where_the_base_has_none(tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base")
    made = tiny.lora_adapter(base, tmp_path / "made", TASK, targets="query")

    with pytest.raises(BindingError, match="classifier: the base has no weights here, and the adapter brings none"):
        export(base, {"made": made}, tmp_path / "bundle", task=TASK)

"""`cases.json` and the arrays beside it: cases to JSON and back, with nothing lost on the way."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.conformance.cases import Added, Answer, Array, Case, Outcome, Question, Refusal, TokenCase

VERSION = 1
CASES = "cases.json"
ARRAYS = "arrays"


class ArrayFiles:
    """Writes arrays as raw little-endian bytes in C order, each content once."""

    def __init__(self, root: Path) -> None:
        """Takes the folder of `cases.json`."""
        self._root = root
        self._files: dict[str, str] = {}
        (root / ARRAYS).mkdir(parents=True)

    def put(self, array: Array) -> dict[str, Any]:
        """Returns what stands for an array in `cases.json`."""
        content = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
        digest = hashlib.sha256(content).hexdigest()
        if digest not in self._files:
            self._files[digest] = f"{ARRAYS}/{len(self._files) + 1:04}.bin"
            (self._root / self._files[digest]).write_bytes(content)
        return {"file": self._files[digest], "dtype": array.dtype.name, "shape": list(array.shape)}


def write(root: Path, cases: Iterable[Case], texts: Iterable[TokenCase]) -> None:
    """Writes `cases.json` into `root`, and the arrays that it names.

    Raises:
        ValueError: Two cases have the same name.
    """
    files = ArrayFiles(root)
    told = [_case(case, files) for case in cases]
    names = [each["name"] for each in told]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"Two cases are called {twice[0]!r}.")
    lines = ",\n".join(f"  {json.dumps(each, ensure_ascii=False)}" for each in told)
    rows = ",\n".join(f"  {json.dumps(_text(each), ensure_ascii=False)}" for each in texts)
    document = f'{{"version": {VERSION},\n "cases": [\n{lines}\n ],\n "texts": [\n{rows}\n ]}}\n'
    (root / CASES).write_text(document, "utf-8")


def read(root: Path) -> tuple[list[Case], list[TokenCase]]:
    """Returns what `cases.json` in `root` says, from it and the arrays beside it alone.

    Raises:
        ValueError: It is of another version.
    """
    document = json.loads((root / CASES).read_text("utf-8"))
    if document["version"] != VERSION:
        raise ValueError(f"{root / CASES} has the version {document['version']}, expected {VERSION}.")
    cases = [Case(_question(each, root), _outcome(each, root)) for each in document["cases"]]
    return cases, [
        TokenCase(**{**each, "ids": tuple(each["ids"]), "type_ids": tuple(each["type_ids"])})
        for each in document["texts"]
    ]


def _case(case: Case, files: ArrayFiles) -> dict[str, Any]:
    question, outcome = case.question, case.outcome
    told: dict[str, Any] = {"name": question.name, "bundle": question.bundle}
    if question.add:
        told["add"] = [{"folder": added.folder, "name": added.name} for added in question.add]
    if question.remove:
        told["remove"] = list(question.remove)
    if isinstance(outcome, Refusal):
        told["step"] = outcome.step
    # What is refused before anything runs is asked nothing.
    if isinstance(outcome, Answer) or outcome.step == "run":
        told["adapter"] = question.adapter
        told["inputs"] = {name: files.put(array) for name, array in question.inputs.items()}
    if isinstance(outcome, Refusal):
        return {**told, "error": outcome.error}
    outputs = {name: _output(output, files) for name, output in outcome.outputs.items()}
    labels = None if outcome.labels is None else list(outcome.labels)
    return {**told, "outputs": outputs, "labels": labels, "adapters": list(outcome.adapters)}


def _output(output: Array | list[Array], files: ArrayFiles) -> dict[str, Any]:
    return {"rows": [files.put(row) for row in output]} if isinstance(output, list) else files.put(output)


def _text(case: TokenCase) -> dict[str, Any]:
    return {
        "tokenizer": case.tokenizer,
        "text": case.text,
        "pair": case.pair,
        "max_length": case.max_length,
        "ids": list(case.ids),
        "type_ids": list(case.type_ids),
    }


def _question(told: Mapping[str, Any], root: Path) -> Question:
    return Question(
        told["name"],
        told["bundle"],
        {name: _array(each, root) for name, each in told.get("inputs", {}).items()},
        told.get("adapter"),
        tuple(Added(each["folder"], each["name"]) for each in told.get("add", [])),
        tuple(told.get("remove", [])),
    )


def _outcome(told: Mapping[str, Any], root: Path) -> Outcome:
    if "error" in told:
        return Refusal(told["step"], told["error"])
    outputs = {
        name: [_array(row, root) for row in each["rows"]] if "rows" in each else _array(each, root)
        for name, each in told["outputs"].items()
    }
    labels = None if told["labels"] is None else tuple(told["labels"])
    return Answer(outputs, labels, tuple(told["adapters"]))


def _array(told: Mapping[str, Any], root: Path) -> Array:
    content = (root / told["file"]).read_bytes()
    stored: Array = np.frombuffer(content, np.dtype(told["dtype"]).newbyteorder("<"))
    array: Array = stored.astype(told["dtype"]).reshape(told["shape"])
    return array


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two outcomes part.

    Attributes:
        what: The part of the outcome.
        got: What came.
        expected: What should have come.
    """

    what: str
    got: object
    expected: object


def differences(got: Outcome, expected: Outcome) -> list[Difference]:
    """Returns where two outcomes part; arrays have to be equal in every bit."""
    if isinstance(got, Refusal) or isinstance(expected, Refusal):
        return [] if got == expected else [Difference("the outcome", got, expected)]
    found = []
    for what in ("labels", "adapters"):
        if getattr(got, what) != getattr(expected, what):
            found.append(Difference(what, getattr(got, what), getattr(expected, what)))
    if got.outputs.keys() != expected.outputs.keys():
        return [*found, Difference("the outputs", sorted(got.outputs), sorted(expected.outputs))]
    for name, output in expected.outputs.items():
        if not _equal(got.outputs[name], output):
            found.append(Difference(name, got.outputs[name], output))
    return found


def _equal(got: Array | list[Array], expected: Array | list[Array]) -> bool:
    if isinstance(got, list) or isinstance(expected, list):
        if not isinstance(got, list) or not isinstance(expected, list) or len(got) != len(expected):
            return False
        return all(_equal(one, other) for one, other in zip(got, expected, strict=True))
    # Bytes, so that a NaN is equal to itself and 0 is not -0.
    return got.dtype == expected.dtype and got.shape == expected.shape and got.tobytes() == expected.tobytes()

"""Bundles and questions that have to be refused, made on disk, each refused by the Python loader for its own reason."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.conformance.cases import Case, Question, Refusal
from tests.conformance.faults import Fault
from tests.conformance.faults_of_adapters import ADAPTERS
from tests.conformance.faults_of_documents import DOCUMENTS
from tests.conformance.faults_of_files import BUNDLES
from tests.conformance.faults_of_runs import RUNS
from tests.conformance.good import ROWS
from tests.conformance.python_loader import PythonLoader
from tests.runtime import tiny_bundle

FAULTS: tuple[Fault, ...] = (*DOCUMENTS, *BUNDLES, *ADAPTERS, *RUNS)
FOLDER = "broken"


def cases(root: Path, loader: PythonLoader) -> Iterator[Case]:
    """Writes the broken bundles into `root` and yields the case of each.

    Raises:
        AssertionError: The Python loader takes one, or refuses it otherwise than it should.
    """
    for number, fault in enumerate(FAULTS, start=1):
        question = _question(root, number, fault)
        expected = Refusal(fault.step, fault.error)
        got = loader.outcome(question)
        assert isinstance(got, Refusal), f"{question.name}: was taken, expected {expected}"
        assert got == expected, f"{question.name}: got {got}, expected {expected}"
        assert re.search(fault.says, got.message), f"{question.name}: {got.message!r} does not say {fault.says!r}"
        yield Case(question, expected)


def _question(root: Path, number: int, fault: Fault) -> Question:
    home = f"bundles/{fault.bundle}"
    if fault.change is not None:
        words = re.sub(r"[^a-z0-9]+", "-", fault.name.lower()).strip("-")
        home = f"{FOLDER}/{number:03}-{words}"
        shutil.copytree(root / "bundles" / fault.bundle, root / home, symlinks=True)
        fault.change(root / home)
    inputs = tiny_bundle.inputs(batch=ROWS) if fault.inputs is None else fault.inputs
    return Question(f"refused: {fault.name}", home, inputs, fault.adapter, fault.add, fault.remove)

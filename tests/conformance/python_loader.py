"""The first loader that has to pass: edgeadapt's own, asked as any other would be."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import cast

from edgeadapt.errors import EdgeAdaptError
from edgeadapt.runtime import Session, load
from tests.conformance.cases import Added, Answer, ErrorName, Outcome, Question, Refusal, Step

THREADS = 1
"""Sums are taken in another order by several threads, so that bits would differ."""


class PythonLoader:
    """Answers questions with `edgeadapt.runtime`."""

    def __init__(self, root: Path, kept: int = 0) -> None:
        """Takes the folder of `cases.json`.

        Args:
            root: The folder.
            kept: How many sessions stay open for the next question; 0 opens each bundle anew.
        """
        self._root = root
        self._opened = lru_cache(maxsize=kept)(self._open)

    def outcome(self, question: Question) -> Outcome:
        """Returns what a run gives, or what is refused and where."""
        try:
            session = self._opened(question.bundle, question.add, question.remove)
        except _StepError as error:
            return _refusal(error.step, error.cause)
        try:
            outputs = session.run(question.inputs, adapter=question.adapter)
        except EdgeAdaptError as error:
            return _refusal("run", error)
        labels = () if isinstance(question.adapter, list) else session.labels(question.adapter)
        return Answer(outputs, labels or None, tuple(sorted(session.adapters)))

    def _open(self, bundle: str, add: tuple[Added, ...], remove: tuple[str, ...]) -> Session:
        step: Step = "open"
        try:
            session = load(self._root / bundle, threads=THREADS)
            step = "add"
            for added in add:
                session.add_adapter(self._root / added.folder, added.name)
        except EdgeAdaptError as error:
            raise _StepError(step, error) from error
        for name in remove:
            session.remove_adapter(name)
        return session


class _StepError(Exception):
    """What was refused, and at which step."""

    def __init__(self, step: Step, cause: EdgeAdaptError) -> None:
        super().__init__(step)
        self.step = step
        self.cause = cause


def _refusal(step: Step, error: EdgeAdaptError) -> Refusal:
    return Refusal(step, cast("ErrorName", type(error).__name__), str(error))

"""Makes everything: bundles, broken ones, cases with what has to come of them, texts with their tokens."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from edgeadapt.bundle import PARITY
from edgeadapt.errors import OutputExistsError
from edgeadapt.runtime import load
from edgeadapt.runtime.verify import verify
from tests.conformance import broken, decoder_steps, documents, good, texts
from tests.conformance.bundles import EXPORTED, EXTRA, package
from tests.conformance.cases import Answer, Case
from tests.conformance.python_loader import THREADS, PythonLoader
from tests.conformance.variants import VARIANTS

DECODER = "steps"
"""The bundle whose runs depend on each other."""
KEPT = 8
"""How many bundles stay open for the next question."""


def generate(root: Path) -> tuple[int, int]:
    """Writes everything into a new folder, and returns how many cases and texts there are.

    Raises:
        OutputExistsError: There is something at `root`.
        AssertionError: A bundle differs from PyTorch, or the Python loader doesn't do what it has to.
    """
    if root.exists() and any(root.iterdir()):
        raise OutputExistsError(f"{root} is already there, and nothing is ever overwritten.\nName a new folder.")
    (root / "bundles").mkdir(parents=True)
    write_bundles(root)
    cases = list(_cases(root))
    tokens = list(texts.cases(root))
    documents.write(root, cases, tokens)
    return len(cases), len(tokens)


def write_bundles(root: Path) -> None:
    """Writes the bundles that load, and proves each by what PyTorch gave for it."""
    for name, export in EXPORTED.items():
        with tempfile.TemporaryDirectory() as scratch:
            export(Path(scratch), root / "bundles" / name)
    for folder in ("bundles", EXTRA):
        package(root / folder)
    for name, write in VARIANTS.items():
        write(root / "bundles" / name)
    for name in (*EXPORTED, *VARIANTS):
        prove(root, name)


def prove(root: Path, name: str) -> None:
    """Repeats the proof that a bundle carries, of the base and of each adapter that has one.

    Raises:
        AssertionError: An output differs from the reference's by more than the bundle allows.
    """
    session = load(root / "bundles" / name, threads=THREADS)
    session.check()
    for folder in good.OUTSIDE.get(name, []):
        session.add_adapter(root / EXTRA / folder, folder)
    for each in (None, *session.adapters):
        adapter = session.adapter(each)
        if PARITY in adapter.record.files:
            report = verify(session, each)
            assert report.passed, f"{name}, {each}: {report.failures()}"


def _cases(root: Path) -> Iterator[Case]:
    loader = PythonLoader(root, kept=KEPT)
    for name in (*EXPORTED, *VARIANTS):
        if name == DECODER:
            yield from decoder_steps.cases(root, name, loader)
            continue
        for question in good.questions(good.opened(root, name)):
            answer = loader.outcome(question)
            assert isinstance(answer, Answer), f"{question.name}: {answer}"
            yield Case(question, answer)
    yield from broken.cases(root, loader)

"""Loaded tiny bundles, one of each kind; those that a test changes are its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeadapt.runtime import Session, load
from tests.runtime.gatekeeper import Gatekeeper
from tests.runtime.tiny_bundle import TinyBundle, build


@pytest.fixture(scope="session")
def headless(tmp_path_factory: pytest.TempPathFactory) -> TinyBundle:
    """A base without a head of its own; every adapter brings one. Read-only."""
    return build(tmp_path_factory.mktemp("headless") / "bundle")


@pytest.fixture(scope="session")
def headed(tmp_path_factory: pytest.TempPathFactory) -> TinyBundle:
    """A base with a stored head of three labels. Read-only."""
    return build(tmp_path_factory.mktemp("headed") / "bundle", "stored")


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> TinyBundle:
    """A model that ends at its hidden states. Read-only."""
    return build(tmp_path_factory.mktemp("encoder") / "bundle", "absent")


@pytest.fixture(scope="session")
def whole_batch(tmp_path_factory: pytest.TempPathFactory) -> TinyBundle:
    """As `headed`, with a bias slot that takes one array for the whole batch. Read-only."""
    return build(tmp_path_factory.mktemp("whole_batch") / "bundle", "stored", bias_rows=1)


@pytest.fixture
def own(tmp_path: Path) -> TinyBundle:
    """As `headed`, to be changed."""
    return build(tmp_path / "own", "stored")


@pytest.fixture
def session(headed: TinyBundle) -> Session:
    """`headed`, loaded."""
    return load(headed.path)


@pytest.fixture
def gatekeeper(session: Session, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gatekeeper]:
    """Holds back the runs of `session`."""
    made = Gatekeeper(session, monkeypatch)
    yield made
    made.open.set()

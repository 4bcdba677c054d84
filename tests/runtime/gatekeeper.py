"""Runs that are held back until a test has seen what waits, and a comparison of answers."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest

from edgeadapt.runtime import Session

LONG = 60.0
"""Seconds in which anything that is to happen has happened."""
TOLERANCE = 1e-5


def expect(got: dict[str, Any], alone: dict[str, Any], tolerance: float = TOLERANCE) -> None:
    """Compares answers: names, shapes and dtypes are the same, numbers nearly so."""
    assert list(got) == list(alone)
    for name, array in alone.items():
        assert isinstance(got[name], np.ndarray)
        assert (got[name].shape, got[name].dtype) == (array.shape, array.dtype)
        np.testing.assert_allclose(got[name], array, atol=tolerance, rtol=0)


class Gatekeeper:
    """Holds runs of a session back until it is opened, and writes down which adapters they had."""

    def __init__(self, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open = threading.Event()
        self.begun = threading.Event()
        self.runs: list[Any] = []
        run = session.run

        def held(inputs: Any, adapter: Any = None) -> Any:
            self.runs.append(adapter)
            self.begun.set()
            assert self.open.wait(LONG)
            return run(inputs, adapter)

        monkeypatch.setattr(session, "run", held)


def until(holds: Any) -> None:
    end = time.monotonic() + LONG
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.001)

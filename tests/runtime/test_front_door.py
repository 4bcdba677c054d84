"""The names of the package itself: few, lazy, and all there."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version

import pytest

import edgeadapt

NAMES = ["Batcher", "EdgeAdaptError", "Session", "__version__", "export", "load", "pipeline"]


def run(code: str, **environment: str) -> str:
    """Runs code in a fresh interpreter, with the environment but for telemetry, and returns what it prints."""
    inherited = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, env=inherited | environment, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_the_names() -> None:
    assert dir(edgeadapt) == edgeadapt.__all__ == NAMES
    for name in NAMES:
        assert getattr(edgeadapt, name) is not None
    assert edgeadapt.__version__ == version("edgeadapt")


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'edgeadapt' has no attribute 'lode'"):
        edgeadapt.lode  # noqa: B018


def test_importing_it_imports_nothing_heavy() -> None:
    code = "import sys, edgeadapt; print(sorted({'numpy', 'onnxruntime', 'torch', 'onnx', 'click'} & set(sys.modules)))"
    assert run(code) == "[]"


def test_telemetry_is_off_unless_allowed() -> None:
    code = "import os, edgeadapt.runtime; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    assert run(code) == "1"
    assert run(code, ORT_DISABLE_TELEMETRY="0") == "0"

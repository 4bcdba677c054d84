"""Runs a part of a measure in an interpreter of its own, where nothing else was imported before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.settings import ROOT

QUIET = {"ORT_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
"""What has to be in the environment before Python starts, as in the Makefile."""


def answer(arguments: Sequence[str]) -> Any:
    """Returns the JSON in the last line that `python <arguments>` prints.

    Raises:
        RuntimeError: It failed; the message has what it wrote.
    """
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **QUIET},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"python {' '.join(arguments)} failed with {done.returncode}:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def memory_kb(name: str) -> int:
    """Returns a figure of this process's memory, such as `VmRSS`, in units of 1024 bytes, as Linux counts it.

    Raises:
        RuntimeError: The system has no such figure.
    """
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise RuntimeError(f"/proc/self/status has no {name}")

"""Modules of one's own, which no library trains: PyTorch alone says what is right."""

from __future__ import annotations

from typing import Any

from benchmarks.methods.cases import Case, last


def _module(family: str) -> Any:
    """Returns a block of two layers at the last linear layer."""
    from tests.exporter.test_own_modules import Bottleneck, seeded
    from tests.tiny import HIDDEN

    return {last(family): seeded(Bottleneck, 1, 384 if family == "minilm" else HIDDEN)}


CASES = (Case("module of one's own", "module", _module, "module of one's own, on"),)

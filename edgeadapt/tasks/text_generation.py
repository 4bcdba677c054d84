"""Text generation: how a text goes on."""

from __future__ import annotations

from typing import Literal

from edgeadapt.tasks._samples import TEXTS

NAME = "text-generation"
OUTPUTS = {"logits": ("batch", "kept", "vocabulary")}
LABELS = False
CACHED = True
INPUT: Literal["text"] = "text"
SAMPLES = TEXTS

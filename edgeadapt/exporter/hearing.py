"""A base that hears: how its sounds become what the encoder takes, proven equal to its feature extractor."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeadapt import tasks
from edgeadapt.bundle import SpeechRecord
from edgeadapt.errors import CheckpointError, UnsupportedError
from edgeadapt.exporter.base import Base
from edgeadapt.runtime.speech import log_mel
from edgeadapt.tasks import Array

TOLERANCE = 1e-4
"""The extractor itself is that far from Whisper's own; half of it comes of its float32."""
FIRST, LAST = "<|", "|>"


def is_one(base: Base) -> bool:
    """Tells whether a base reads sounds."""
    return bool(base.model.main_input_name == "input_features")


def record(base: Base) -> SpeechRecord:
    """Returns how a base hears, and the tokens that its decoder begins with.

    Raises:
        UnsupportedError: It is no Whisper, or its extractor does more than edgeadapt does.
        CheckpointError: It has no feature extractor.
    """
    import transformers

    given: Any = base.model.generation_config
    silent = getattr(given, "no_timestamps_token_id", None)
    if base.model_type != "whisper" or silent is None:
        raise UnsupportedError(
            f"{base.source}, {base.model_type}, is no Whisper whose generation_config.json has a "
            "no_timestamps_token_id, and edgeadapt knows no other base that reads sounds and writes texts."
        )
    opener: Any = transformers.AutoFeatureExtractor
    try:
        extractor = opener.from_pretrained(base.source)
    except (OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise CheckpointError(f"{base.source} has no feature extractor that can be opened:\n  {reason}") from error
    found = SpeechRecord(
        sampling_rate=int(extractor.sampling_rate),
        samples=int(extractor.n_samples),
        fft=int(extractor.n_fft),
        hop=int(extractor.hop_length),
        mels=int(extractor.feature_size),
        languages={name.strip(FIRST + LAST): int(token) for name, token in (_ids(given, "lang_to_id")).items()},
        tasks={name: int(token) for name, token in _ids(given, "task_to_id").items()},
        no_timestamps=int(silent),
    )
    _prove(base, extractor, found)
    return found


def features(base: Base) -> Array:
    """Returns the task's sounds as the encoder takes them, `(batch, mels, frames)`."""
    said = record(base)
    return np.stack([log_mel(sample, said) for sample in tasks.get(base.task).SAMPLES])


def _ids(given: Any, name: str) -> dict[str, int]:
    found: dict[str, int] = getattr(given, name, None) or {}
    return found


def _prove(base: Base, extractor: Any, said: SpeechRecord) -> None:
    for sample in tasks.get(base.task).SAMPLES:
        expected = extractor(sample, sampling_rate=said.sampling_rate, return_tensors="np")["input_features"][0]
        got = log_mel(sample, said)
        error = float(np.abs(got - expected).max()) if got.shape == expected.shape else np.inf
        if error > TOLERANCE:
            raise UnsupportedError(
                f"{type(extractor).__name__} hears otherwise than its settings say: got {got.shape}, expected "
                f"{expected.shape}, largest difference {error:.2g}."
            )

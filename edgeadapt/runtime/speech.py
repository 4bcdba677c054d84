"""Sounds as Whisper hears them: log-mel spectra, with numpy alone, and the tokens that its decoder begins with."""

from __future__ import annotations

import os
import wave
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeadapt.errors import InputError, UnsupportedError, listed, nearest

if TYPE_CHECKING:
    from edgeadapt.bundle import SpeechRecord
    from edgeadapt.runtime.filling import Array

HIGHEST = 8000.0
"""Hz; what is above is not heard."""
_LINEAR, _BREAK, _STEP = 3.0 / 200.0, 1000.0, 27.0 / np.log(6.4)
"""Slaney's scale: mels a Hz up to 1000 Hz, and mels a natural logarithm above."""


def heard(sounds: Sequence[Any], record: SpeechRecord) -> list[Array]:
    """Returns each sound as the encoder takes it, float32 `(mels, frames)`.

    Raises:
        InputError: Some of them can't be heard; all reasons.
    """
    found, problems = [], []
    for index, sound in enumerate(sounds):
        try:
            found.append(open_sound(sound, record))
        except InputError as error:
            problems.append(f"input {index}: {error}")
    if problems:
        raise InputError.collect("These sounds can't be heard:", problems)
    return [log_mel(samples, record) for samples in found]


def open_sound(sound: Any, record: SpeechRecord) -> Array:
    """Returns a sound as float32 `(samples,)`: an array as it is, or a WAV file's channels as their mean.

    Raises:
        InputError: It is neither, is empty or too long, or has another sampling rate.
    """
    if isinstance(sound, (str, os.PathLike)):
        samples = _wav(Path(sound), record.sampling_rate)
    elif isinstance(sound, np.ndarray) and sound.ndim == 1 and sound.dtype.kind == "f":
        samples = np.asarray(sound, np.float32)
    else:
        found = f"{sound.dtype} {sound.shape}" if isinstance(sound, np.ndarray) else type(sound).__name__
        raise InputError(
            f"A sound is the path of a WAV file or an array of floats (samples,) at {record.sampling_rate} Hz: got "
            f"{found}."
        )
    if not samples.size or not np.isfinite(samples).all():
        raise InputError("A sound is empty, or holds NaN or infinity.")
    if samples.size > record.samples:
        seconds, most = samples.size / record.sampling_rate, record.samples / record.sampling_rate
        raise InputError(f"A sound is {seconds:.1f} s long, and {most:.0f} s are heard at most.\nCut it into parts.")
    return samples


def _wav(path: Path, rate: int) -> Array:
    """Returns the samples of a WAV file."""
    try:
        with wave.open(str(path), "rb") as file:
            found, width, channels = file.getframerate(), file.getsampwidth(), file.getnchannels()
            content = file.readframes(file.getnframes())
    except (OSError, EOFError, wave.Error) as error:
        raise InputError(f"{path} can't be read as a WAV file: {error}.") from error
    if found != rate:
        raise InputError(f"{path} has {found} samples a second, expected {rate}.\nConvert it first.")
    kinds = {1: ("u1", 128.0, 128.0), 2: ("<i2", 0.0, 32768.0), 4: ("<i4", 0.0, 2147483648.0)}
    if width not in kinds:
        raise InputError(f"{path} has samples of {8 * width} bits, expected 8, 16 or 32.\nConvert it first.")
    kind, zero, largest = kinds[width]
    samples = (np.frombuffer(content, kind).astype(np.float64) - zero) / largest
    mixed: Array = samples.reshape(-1, channels).mean(axis=1).astype(np.float32)
    return mixed


def log_mel(samples: Array, record: SpeechRecord) -> Array:
    """Returns what the encoder takes of a sound, float32 `(mels, frames)`.

    Source: `transformers.WhisperFeatureExtractor._np_extract_fbank_features`.

    Args:
        samples: `(samples,)`.
        record: How it is heard.
    """
    whole = np.zeros(record.samples, np.float64)
    whole[: samples.size] = samples
    mirrored = np.pad(whole, record.fft // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(mirrored, record.fft)[:: record.hop][:-1]
    window = np.hanning(record.fft + 1)[:-1]
    powers = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2
    levels = np.log10(np.maximum(powers @ _filters(record.mels, record.fft, record.sampling_rate), 1e-10)).T
    heard: Array = ((np.maximum(levels, levels.max() - 8.0) + 4.0) / 4.0).astype(np.float32)
    return heard


@lru_cache(maxsize=4)
def _filters(mels: int, fft: int, rate: int) -> Array:
    """Returns the triangular filters, `(1 + fft / 2, mels)`."""
    top = 15.0 + _STEP * np.log(HIGHEST / _BREAK)
    scale = np.linspace(0.0, top, mels + 2)
    edges = np.where(scale < 15.0, scale / _LINEAR, _BREAK * np.exp((scale - 15.0) / _STEP))
    bins = np.linspace(0, rate // 2, 1 + fft // 2)
    widths = np.diff(edges)
    slopes = edges[None, :] - bins[:, None]
    rising, falling = -slopes[:, :-2] / widths[:-1], slopes[:, 2:] / widths[1:]
    found: Array = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (edges[2:] - edges[:-2]))
    return found


def known(value: str, ids: dict[str, int], what: str) -> int:
    """Returns the token of a language or a task.

    Raises:
        UnsupportedError: The base has no such one.
    """
    if value not in ids:
        has = f"It has: {listed(list(ids))}." if ids else "It knows one language, and only transcribes: leave it out."
        raise UnsupportedError(f"The base has no {what} {value!r}{nearest(value, list(ids))}.\n{has}")
    return ids[value]

"""Real texts and made-up pictures on which PyTorch and ONNX Runtime are compared."""

from __future__ import annotations

import numpy as np

from edgeadapt.tasks._runner import Array

RAILWAY = (
    "When the first railway reached the valley in the spring of 1871, the villages along the river had no more than a "
    "few hundred inhabitants each, most of whom had never travelled further than the market in Thornbury. Within ten "
    "years there were two mills, a brewery and a school with four teachers, and the price of land beside the station "
    "had risen sixfold. Old Mrs. Harrow, who kept the inn and remembered the place as it had been, used to say that "
    "the trains had brought everything except rain, and that one could no longer hear the river at night for them."
)
"""A paragraph of about 100 words."""

TEXTS = (
    "Good morning!",
    "The parcel arrived two days late and the box was open.",
    "Can you tell me how to change the address on my account before the next invoice is sent?",
    "In 1969 Neil Armstrong and Buzz Aldrin, both of NASA, landed on the Moon while Michael Collins stayed in orbit.",
    "I wouldn't call it a bad film, but at three hours and twenty minutes it's far too long, and nobody in it changes.",
    "WIN a FREE phone now!!! Reply YES to 80085 before midnight, terms at http://example.com/prize",
    RAILWAY,
)
"""English of 3 to about 100 words: names, numbers, contractions, capitals, an address of the web."""


def sound(seed: int, seconds: float) -> Array:
    """Returns a sound of 16000 samples a second, float32 `(samples,)`, the same for the same seed on every machine.

    Tones that rise and fall under an envelope, and a little noise.

    Example:
        >>> sound(0, 0.5).shape
        (8000,)
    """
    random = np.random.default_rng(seed)
    time = np.arange(int(16000 * seconds)) / 16000
    waves = sum(
        strength * np.sin(2 * np.pi * (pitch * time + bend * time**2))
        for pitch, bend, strength in zip(
            random.uniform(90, 3000, 5), random.uniform(-80, 80, 5), random.uniform(0.05, 0.2, 5), strict=True
        )
    )
    envelope = 0.5 + 0.5 * np.sin(2 * np.pi * random.uniform(1, 4) * time)
    samples: Array = (waves * envelope + random.normal(0, 0.005, time.shape)).astype(np.float32)
    return samples


SOUNDS = (sound(0, 1.5), sound(1, 4.0), sound(2, 0.3), sound(3, 11.0))
"""Shorter than a word and longer than a sentence."""


def picture(seed: int, height: int, width: int) -> Array:
    """Returns an RGB picture, uint8 `(height, width, 3)`, the same for the same seed on every machine.

    Two gradients, a disc, a rectangle and a little noise: smooth areas, hard edges and texture, so that a wrong filter,
    a shifted crop or swapped channels all show.

    Example:
        >>> picture(0, 20, 30).shape
        (20, 30, 3)
    """
    random = np.random.default_rng(seed)
    down, across = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    canvas = np.stack([down, across, 1 - (down + across) / 2], axis=-1) * random.uniform(120, 255, 3)
    middle, radius = random.uniform(0.3, 0.7, 2), random.uniform(0.1, 0.25)
    canvas[(down - middle[0]) ** 2 + (across - middle[1]) ** 2 < radius**2] = random.uniform(0, 255, 3)
    top, left = random.uniform(0.0, 0.6, 2)
    canvas[(down > top) & (down < top + 0.2) & (across > left) & (across < left + 0.3)] = random.uniform(0, 255, 3)
    canvas += random.normal(0, 12, canvas.shape)
    pixels: Array = canvas.round().clip(0, 255).astype(np.uint8)
    return pixels


PICTURES = (
    picture(0, 224, 224),
    picture(1, 180, 320),
    picture(2, 341, 256),
    picture(3, 97, 131),
    picture(4, 480, 300),
)
"""Square, wide, tall, smaller than a model takes, larger than it."""

"""Compares what an example that classifies answers with what `edgeadapt.pipeline` does, on a real model and adapters.

`python embed/cpp/test/compare.py PROGRAM BUNDLE MODEL`: the example in C++, or the same in another language; a bundle
of the model, which is written where it is missing.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnxruntime

import edgeadapt

ADAPTERS = ("spam", "intents", "reviews", "tones")
EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "adapters"
SHOWN = 3
"""How many labels the example prints."""
TOLERANCE = 2e-6
"""The example prints six digits."""
TEXTS = [
    "You won a FREE phone!!! Call 0800-123 now",
    "see you at six, naïve café — 東京 🙂",
    "Play some jazz by Miles Davis",
    "I loved it, though the second half drags a little.",
    "word " * 600,
]


def write_bundle(folder: Path, model: Path) -> None:
    """Writes a bundle of the model with the example adapters where it is missing."""
    if not (folder / "edgeadapt.json").is_file():
        edgeadapt.export(model, {name: EXAMPLES / name for name in ADAPTERS}, folder)


def answers(program: Path, folder: Path, asked: Sequence[tuple[str, str]]) -> list[dict[str, float]]:
    """Returns the scores by label that the program prints for each text with its adapter."""
    lines = "".join(f":{adapter}\n{text}\n" for adapter, text in asked)
    library = next((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so*"))
    done = subprocess.run(
        [str(program), str(folder)],
        input=lines.encode(),
        capture_output=True,
        check=True,
        env={**os.environ, "EDGEADAPT_ONNXRUNTIME": str(library)},
    )
    if done.stderr:
        sys.exit(done.stderr.decode())
    rows = [line for line in done.stdout.decode().splitlines() if line.endswith(" ms)")]
    return [{label: float(score) for label, score in re.findall(r"(\S+) (\d\.\d{6})  ", row)} for row in rows]


def main() -> None:
    """Compares, and exits with 1 where the answers differ."""
    program, folder, model = (Path(argument) for argument in sys.argv[1:])
    write_bundle(folder, model)
    classify: Any = edgeadapt.pipeline(folder)
    asked = [(adapter, text) for text in TEXTS for adapter in ADAPTERS]
    got = answers(program, folder, asked)
    if len(got) != len(asked):
        sys.exit(f"the example gave {len(got)} answers to {len(asked)} texts")
    worst = 0.0
    for (adapter, text), scores in zip(asked, got, strict=True):
        wanted = {each["label"]: each["score"] for each in classify(text, adapter=adapter, top_k=SHOWN)}
        if set(scores) != set(wanted):
            sys.exit(f"{adapter}, {text[:40]!r}: got {scores}, expected {wanted}")
        worst = max(worst, *(abs(scores[label] - wanted[label]) for label in wanted))
    sys.stdout.write(f"{len(asked)} texts by {program} and Python: the largest difference of a score is {worst:.1e}\n")
    if worst > TOLERANCE:
        sys.exit(f"that is more than {TOLERANCE}")


if __name__ == "__main__":
    main()

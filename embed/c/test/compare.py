"""Asks Python and the C library the same: random adapters, sound and unsound, in random mixed batches.

`EDGEADAPT_ONNXRUNTIME=... python embed/c/test/compare.py build/embed/c/libedgeadapt.so BUNDLES SECONDS [SEED]`, with
the bundles of `write_bundles.py`. Both have to refuse with the same class, or to answer with the same bits.
"""

from __future__ import annotations

import logging
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from c_bundle import CBundle, Outputs, RefusedError

from edgeadapt import Session, load
from edgeadapt.errors import EdgeAdaptError
from tests.runtime.tiny_bundle import BIAS, HEAD_BIAS, HEAD_WEIGHT, IN, OUT, A, Array, Arrays, B, write_adapter

KINDS = ("open", "stored", "absent", "passes")


class Comparison:
    """One bundle in Python and in C, and what came of it so far."""

    def __init__(self, library: Path, folder: Path, seed: int) -> None:
        """Opens it twice."""
        self.python: Session = load(folder, threads=1)
        self.c = CBundle(library, folder)
        self.names = list(self.python.adapters)
        self.adapters = self.taken = self.runs = self.differences = 0
        self._random = random.Random(seed)
        self._numbers = np.random.default_rng(seed)

    def round(self, parent: Path) -> None:
        """Adds a few adapters, runs a few batches, and removes the adapters again."""
        added = [name for name in (f"x{index}" for index in range(4)) if self._add(parent / name, name)]
        for _ in range(6):
            self._run([*added, None, *self.names])
        for name in added:
            self.python.remove_adapter(name)
            self.c.remove(name)

    def _add(self, folder: Path, name: str) -> bool:
        own = self._arrays()
        changed = self._changed(own)
        if A in own and own[A].shape[-1] == 0:
            changed.setdefault("sites", {"encoder.fc": {"lora": {}}})
        write_adapter(folder, name, own, **changed)
        wanted = got = None
        try:
            self.python.add_adapter(folder, name)
        except EdgeAdaptError as error:
            wanted = type(error).__name__
        try:
            self.c.add(folder, name)
        except RefusedError as refusal:
            got = refusal.kind
        self.adapters += 1
        self.taken += wanted is None
        self._count(
            wanted == got, f"adapter { ({key: array.shape for key, array in own.items()}) }: {wanted}, {got} in C"
        )
        return wanted is None and got is None

    def _arrays(self) -> Arrays:
        rank, labels = self._random.randrange(1, 5), self._random.randrange(1, 6)
        shapes: dict[str, tuple[int, ...]] = {A: (1, IN, rank), B: (1, rank, OUT), BIAS: (1, 1, OUT)}
        shapes |= {HEAD_WEIGHT: (1, OUT, labels), HEAD_BIAS: (1, 1, labels), "spare": (1,)}
        likely = {"spare": 0.03} | (
            dict.fromkeys((HEAD_WEIGHT, HEAD_BIAS), 0.1) if HEAD_WEIGHT not in self._slots else {}
        )
        return {
            name: self._array(list(shape))
            for name, shape in shapes.items()
            if self._random.random() < likely.get(name, 0.7)
        }

    @property
    def _slots(self) -> set[str]:
        return {slot.name for slot in self.python.manifest.slots}

    def _array(self, shape: list[int]) -> Array:
        fault = self._random.random()
        if fault < 0.04:
            shape[self._random.randrange(len(shape))] = self._random.choice([0, 1, 2, 3, 7])
        array: Array = self._numbers.normal(size=shape).astype(np.float32)
        if 0.04 < fault < 0.06:
            array = array.astype(self._random.choice([np.float64, np.float16, np.int32]))
        if 0.06 < fault < 0.08 and array.size:
            array.flat[self._random.randrange(array.size)] = self._random.choice([np.nan, np.inf, -np.inf])
        return array[None] if 0.08 < fault < 0.1 else array

    def _changed(self, own: Arrays) -> dict[str, Any]:
        changed: dict[str, Any] = {}
        if self._random.random() < 0.1:
            changed["labels"] = tuple(f"label-{index}" for index in range(self._random.randrange(1, 6)))
        if self._random.random() < 0.05:
            changed["fingerprint"] = f"sha256:{'4' * 64}"
        if own and self._random.random() < 0.05:
            changed["sites"] = {"encoder.fc": {"lora": {"rank": self._random.randrange(1, 5)}}}
        return changed

    def _run(self, names: list[str | None]) -> None:
        rows = self._random.randrange(1, 7)
        x = self._numbers.normal(size=(rows, self._random.randrange(1, 6), IN)).astype(np.float32)
        several = [self._random.choice(names) for _ in range(rows)]
        adapter = several if self._random.random() < 0.8 else several[0]
        wanted: Outputs | str
        got: Outputs | str
        try:
            wanted = self.python.run({"x": x}, adapter)
        except EdgeAdaptError as error:
            wanted = type(error).__name__
        try:
            got = self.c.run(x, adapter)
        except RefusedError as refusal:
            got = refusal.kind
        self.runs += 1
        self._count(_bits(wanted) == _bits(got), f"run of {adapter}: other answers in C")

    def _count(self, same: bool, what: str) -> None:
        self.differences += not same
        if not same:
            sys.stdout.write(f"FAILED {what}\n")


def _bits(outputs: Outputs | str) -> object:
    if isinstance(outputs, str):
        return outputs
    return {
        name: [(part.shape, part.tobytes()) for part in output] if isinstance(output, list) else _one(output)
        for name, output in outputs.items()
    }


def _one(array: Array) -> object:
    return array.shape, str(array.dtype), array.tobytes()


def main() -> None:
    """Compares for so many seconds; exits with 1 where anything differed."""
    if len(sys.argv) not in (4, 5):
        sys.exit(f"usage: {sys.argv[0]} LIBRARY BUNDLES SECONDS [SEED]")
    logging.disable(logging.WARNING)  # an adapter that can't be used is no surprise here
    library, bundles, seconds = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
    seed = int(sys.argv[4]) if len(sys.argv) == 5 else 0
    all_kinds = [Comparison(library, bundles / kind, seed + index) for index, kind in enumerate(KINDS)]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for comparison in all_kinds:
            parent = Path(tempfile.mkdtemp())
            comparison.round(parent)
            shutil.rmtree(parent)
    counts = {
        what: sum(getattr(comparison, what) for comparison in all_kinds)
        for what in ("adapters", "taken", "runs", "differences")
    }
    sys.stdout.write(
        f"{counts['adapters']} adapters, {counts['taken']} taken; {counts['runs']} runs; "
        f"{counts['differences']} differ\n"
    )
    sys.exit(counts["differences"] > 0)


if __name__ == "__main__":
    main()

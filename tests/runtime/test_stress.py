"""A minute of everything at once: sixteen threads run random adapters while others put, replace, remove and break them.

Every version of an adapter answers differently, so that a wrong row, or an old version after a refresh, shows.
"""

from __future__ import annotations

import logging
import random
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeadapt.errors import EdgeAdaptError
from edgeadapt.runtime import Session, load
from tests.runtime.tiny_bundle import STORED, TinyBundle, arrays, inputs, write_adapter

SECONDS = 60.0
WARM_SECONDS = 20.0
RUNNERS, CHANGERS = 13, 3
VISITOR = "visitor"
NAMES = [f"n{index}" for index in range(24)]
BUDGET = 10 * sum(array.nbytes for array in arrays(2, 0).values())
GROWTH_KB = 24_000
X = inputs(1)["x"]


@dataclass(slots=True)
class Folder:
    """What is known of one adapter's folder.

    Attributes:
        answers: The logits that each version gives; None for one that is broken.
        broken: By version, the logits that a broken one would give if nobody checked it.
        oldest: The first version that a run may still have.
        changes: Counts up at the start and at the end of each change; odd in the middle of one.
        state: What is there now.
    """

    answers: list[Any] = field(default_factory=list)
    broken: dict[int, Any] = field(default_factory=dict)
    oldest: int = 0
    changes: int = 0
    state: str = "absent"
    lock: threading.Lock = field(default_factory=threading.Lock)


class Stress:
    """The session under stress and what its answers may be."""

    def __init__(self, own: TinyBundle, spare: Path) -> None:
        self.own = own
        self.spare = spare
        self.session: Session = load(own.path, threads=1, adapter_memory=BUDGET)
        self.folders = {name: Folder() for name in NAMES}
        self.seeds = iter(range(1000, 10**9))
        self.end = time.monotonic() + SECONDS
        self.wrong: list[str] = []
        self.rows = 0

    def alive(self) -> bool:
        return time.monotonic() < self.end and not self.wrong

    def change(self, random: random.Random) -> None:
        """Puts, replaces, breaks or removes one adapter on disk, in one step."""
        name = random.choice(NAMES)
        folder, there = self.folders[name], self.own.path / "adapters" / name
        with folder.lock:
            what = random.choice(["good", "good", "bad", "absent"])
            seed = next(self.seeds)
            made = self.spare / f"{name}.{seed}"
            own = arrays(random.choice([1, 2, 3]), seed)
            if what != "absent":
                write_adapter(made, name, own)
            if what == "bad":
                weights = made / "weights.onnx_adapter"
                content = bytearray(weights.read_bytes())
                content[-1] ^= 1
                weights.write_bytes(content)
            tiny = TinyBundle(self.own.path, self.own.base, {name: own})
            answer = tiny.expected(X[0], name)["logits"]
            folder.changes += 1  # first, so that whoever sees the new answer sees that it is not there yet
            if what == "bad":
                folder.broken[len(folder.answers)] = answer
            folder.answers.append(answer if what == "good" else None)
            if there.exists():
                there.rename(gone := self.spare / f"gone.{name}.{seed}")
                shutil.rmtree(gone)
            if what != "absent":
                made.rename(there)
            folder.state = what
            folder.changes += 1

    def refresh(self) -> None:
        """Takes in what was changed: where a new version is in use, older ones are not seen any more."""
        latest = {name: (len(folder.answers) - 1, folder.changes) for name, folder in self.folders.items()}
        found = self.session.refresh()
        for name in (*found.replaced, *found.added):
            folder = self.folders.get(name)
            if folder is not None and folder.changes == latest[name][1] and folder.changes % 2 == 0:
                folder.oldest = max(folder.oldest, latest[name][0])

    def run(self, random: random.Random) -> None:
        """Runs a batch of random adapters and looks at every row."""
        known = [name for name in self.session.adapters if not name.startswith(VISITOR)]
        names = [random.choice([*known, None]) for _ in range(random.choice([1, 2, 5]))]
        before = {name: (self.folders[name].oldest, self.folders[name].changes) for name in names if name in NAMES}
        states = {self.folders[name].state for name in before}
        try:
            logits = self.session.run({"x": np.repeat(X, len(names), axis=0)}, names)["logits"]
        except EdgeAdaptError as error:
            states |= {self.folders[name].state for name in before}
            moved = any(changes % 2 or self.folders[name].changes != changes for name, (_, changes) in before.items())
            forgotten = "There is no adapter" in str(error)  # by a refresh, after it was chosen
            if states <= {"good"} and not moved and not forgotten:
                self.wrong.append(f"{names}: {error}")
            return
        self.rows += len(names)
        for name, got in zip(names, logits, strict=True):
            if name in before:
                answers = self.folders[name].answers[before[name][0] :]
            else:
                answers = [self.own.expected(X[0], name)["logits"]]
            if not any(answer is not None and np.allclose(got, answer, atol=1e-4) for answer in answers):
                self.wrong.append(f"{name}: got {got}, {self.told(got)}, expected one of {answers}")

    def told(self, got: Any) -> str:
        """Returns whose answer it is."""
        for name, folder in self.folders.items():
            for version, answer in [*enumerate(folder.answers), *folder.broken.items()]:
                if answer is not None and np.allclose(got, answer, atol=1e-4):
                    how = "broken" if version in folder.broken else f"oldest allowed: {folder.oldest}"
                    return f"as version {version} of {name} ({how})"
        return "nobody's answer"

    def visit(self, random: random.Random) -> None:
        """Adds an adapter by hand, runs it and removes it."""
        name = f"{VISITOR}-{threading.get_ident()}"
        seed = next(self.seeds)
        folder = write_adapter(self.spare / f"{name}.{seed}", name, own := arrays(2, seed))
        self.session.add_adapter(folder)
        got = self.session.run({"x": X}, name)["logits"][0]
        self.session.remove_adapter(name)
        shutil.rmtree(folder)
        answer = TinyBundle(self.own.path, self.own.base, {name: own}).expected(X[0], name)["logits"]
        if not np.allclose(got, answer, atol=1e-4):
            self.wrong.append(f"{name}: got {got}, expected {answer}")

    def runner(self, seed: int) -> None:
        chance = random.Random(seed)
        while self.alive():
            self.visit(chance) if chance.random() < 0.02 else self.run(chance)

    def changer(self, seed: int) -> None:
        chance = random.Random(seed)
        while self.alive():
            for _ in range(chance.randint(1, 5)):
                self.change(chance)
            self.refresh()


def resident_kb() -> int:
    """Returns what this process has in memory, as Linux counts it; 0 elsewhere."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))


def test_a_minute_of_everything(own: TinyBundle, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spare = tmp_path / "spare"
    spare.mkdir()
    stress = Stress(own, spare)
    caplog.set_level(logging.WARNING, "edgeadapt")
    with ThreadPoolExecutor(RUNNERS + CHANGERS) as pool:
        work = [pool.submit(stress.runner, seed) for seed in range(RUNNERS)]
        work += [pool.submit(stress.changer, 100 + seed) for seed in range(CHANGERS)]
        time.sleep(WARM_SECONDS)
        warm = resident_kb()
        for each in work:
            each.result()
    grown = resident_kb() - warm

    assert stress.wrong == []
    assert stress.rows > 500
    stats = stress.session.stats()
    assert stats.evicted > 50
    assert stats.bytes <= BUDGET
    reports = [record.getMessage() for record in caplog.records if "has the sha256" in record.getMessage()]
    assert reports
    assert len(reports) == len(set(reports))  # a hash of its own in each
    assert grown < GROWTH_KB

    stress.refresh()
    for name in list(stress.session.adapters):
        stress.session.remove_adapter(name)
    assert stress.session.stats().bytes == 0
    assert set(STORED) <= set(own.adapters)

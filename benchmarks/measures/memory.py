"""What a hundred loaded adapters take: resident memory beyond one session on the plain base.

Run by itself, this file is the process that is measured: `python -m benchmarks.measures.memory base|bundle FOLDER`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import median

from benchmarks.processes import answer, memory_kb
from benchmarks.results import Figure
from benchmarks.settings import Counts, Settings

TITLE = "A hundred adapters in memory"
HOW = (
    "`VmRSS` of two processes after three runs of 1 x 128: one with onnxruntime's session on `base.onnx`, and one with "
    "`edgeadapt.load` on the bundle, then with all adapters added. The first figure is all that is beyond the former, "
    "so edgeadapt's imports and records count too; the second is what each further adapter takes."
)
USUAL = Counts(rounds=3, warm=0, runs=1)


def measure(settings: Settings) -> tuple[Figure, ...]:
    """Returns what all adapters take over what they hold, and what one more takes."""
    from benchmarks.models import bert
    from benchmarks.timing import quartiles

    rounds = []
    for index in range(settings.counts(USUAL).rounds):
        found = [answer(["-m", __spec__.name, kind, str(bert.FOLDERS["fp32"])]) for kind in ("base", "bundle")]
        rounds.append({**found[0], **found[1]})
        print(f"  memory, round {index + 1}: {rounds[-1]}", flush=True)
    size = rounds[0]["adapter_bytes"]
    mega = {name: median(each[f"{name}_kb"] for each in rounds) * 1024 / 1e6 for name in ("base", "one", "all")}
    count = len(bert.ADAPTERS)
    figures = []
    for name, before, share, target in (
        (f"({count} adapters loaded - base session) / their bytes", "base", 1.0, 1.1),
        (f"({count} adapters loaded - 1 loaded) / bytes of {count - 1}", "one", (count - 1) / count, None),
    ):
        ratios = tuple((each["all_kb"] - each[f"{before}_kb"]) * 1024 / (size * share) for each in rounds)
        raw = {
            "all_mb": mega["all"],
            "before_mb": mega[before],
            "adapter_mb": size * share / 1e6,
            "rounds_ratio": ratios,
            "counts": f"{len(rounds)} rounds, two new processes in each",
        }
        figures.append(Figure(name, median(ratios), "ratio", target, quartiles(ratios), raw))
    return tuple(figures)


def _base(folder: Path) -> dict[str, int]:
    """Opens the base alone, with nothing of edgeadapt imported, and returns the memory that is resident then."""
    import numpy as np
    import onnxruntime

    from benchmarks.settings import THREADS

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.log_severity_level = 3
    path = folder / "bundle" / "base.onnx"
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    inputs = {each.name: np.ones((1, 128), np.int64) for each in session.get_inputs()}
    for _ in range(3):
        session.run(None, inputs)
    return {"base_kb": memory_kb("VmRSS")}


def _bundle(folder: Path) -> dict[str, int]:
    """Opens the bundle and adds the other adapters; returns the memory before and after, and the adapters' bytes."""
    import numpy as np

    import edgeadapt
    from benchmarks.settings import THREADS

    session = edgeadapt.load(folder / "bundle", threads=THREADS)
    inputs = {each.name: np.ones((1, 128), np.int64) for each in session.manifest.inputs}
    for name in (*session.adapters, None, None):
        session.run(inputs, adapter=name)
    one = memory_kb("VmRSS")
    for other in sorted((folder / "adapters").iterdir()):
        session.add_adapter(other)
    names = list(session.adapters)
    for name in (names[0], names[-1], None):
        session.run(inputs, adapter=name)
    found = {"one_kb": one, "all_kb": memory_kb("VmRSS")}
    loaded = [session.adapter(name) for name in names]
    size = sum(each.filling.arrays[slot].nbytes for each in loaded for slot in each.brings)
    return {**found, "adapter_bytes": size}


if __name__ == "__main__":
    print(json.dumps({"base": _base, "bundle": _bundle}[sys.argv[1]](Path(sys.argv[2]))))

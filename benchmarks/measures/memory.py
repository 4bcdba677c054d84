"""What a hundred loaded adapters take: resident memory beyond one session on the plain base.

Run by itself, this file is the process that is measured: `python -m benchmarks.measures.memory base|bundle FOLDER`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.results import Figure
from benchmarks.settings import Counts, Settings

TITLE = "A hundred adapters in memory"
HOW = (
    "`VmRSS` of two processes after three runs of 1 x 128: one with onnxruntime's session on `base.onnx`, and one with "
    "`edgeadapt.load` on the bundle with all of them. The figure is the difference over the bytes of the adapters' "
    "arrays, so the interpreter's imports and edgeadapt's own records count too."
)
USUAL = Counts(rounds=3, warm=0, runs=1)


def measure(settings: Settings) -> tuple[Figure, ...]:
    """Returns what the adapters take over what they hold."""
    from benchmarks.models import bert
    from benchmarks.processes import answer

    folder = str(bert.paths().bundle)
    rounds = []
    for index in range(settings.counts(USUAL).rounds):
        base, full = (answer(["-m", __spec__.name, kind, folder]) for kind in ("base", "bundle"))
        rounds.append({"base_kb": base["rss_kb"], **full})
        print(f"  memory, round {index + 1}: {rounds[-1]}", flush=True)
    ratios = [(each["rss_kb"] - each["base_kb"]) * 1024 / each["adapter_bytes"] for each in rounds]
    raw = {
        "adapters": len(bert.ADAPTERS),
        "adapter_mb": rounds[0]["adapter_bytes"] / 1e6,
        "base_mb": median(each["base_kb"] * 1024 / 1e6 for each in rounds),
        "all_mb": median(each["rss_kb"] * 1024 / 1e6 for each in rounds),
        "rounds_ratio": ratios,
        "counts": f"{len(rounds)} rounds, two new processes in each",
    }
    from benchmarks.timing import quartiles

    name = "(100 adapters loaded - base session) / bytes of the adapters"
    return (Figure(name, median(ratios), "ratio", 1.1, quartiles(tuple(ratios)), raw),)


def _base(bundle: Path) -> dict[str, Any]:
    """Opens the base alone, with nothing of edgeadapt imported, and returns the memory that is resident then."""
    import numpy as np
    import onnxruntime

    from benchmarks.settings import THREADS

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.log_severity_level = 3
    path = bundle / "base.onnx"
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    inputs = {each.name: np.ones((1, 128), np.int64) for each in session.get_inputs()}
    for _ in range(3):
        session.run(None, inputs)
    return {"rss_kb": _resident_kb()}


def _bundle(bundle: Path) -> dict[str, Any]:
    """Opens the bundle, and returns the memory that is resident then and the bytes of what the adapters bring."""
    import numpy as np

    import edgeadapt
    from benchmarks.settings import THREADS

    session = edgeadapt.load(bundle, threads=THREADS)
    inputs = {each.name: np.ones((1, 128), np.int64) for each in session.manifest.inputs}
    names = list(session.adapters)
    for name in (names[0], names[-1], None):
        session.run(inputs, adapter=name)
    resident = _resident_kb()
    loaded = [session.adapter(name) for name in names]
    size = sum(each.filling.arrays[slot].nbytes for each in loaded for slot in each.brings)
    return {"rss_kb": resident, "adapter_bytes": size}


def _resident_kb() -> int:
    """Returns this process's resident memory in units of 1024 bytes, as Linux counts it."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise RuntimeError("/proc/self/status has no VmRSS")


if __name__ == "__main__":
    print(json.dumps({"base": _base, "bundle": _bundle}[sys.argv[1]](Path(sys.argv[2]))))

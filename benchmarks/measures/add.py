"""How long `edgeadapt add` works, and that it does so without PyTorch.

Run by itself, this file is the process that is measured: `python -m benchmarks.measures.add BUNDLE ADAPTER NAME`.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.results import Figure
from benchmarks.settings import ADAPTERS, Counts, Settings

TITLE = "Adding an adapter to a bundle"
HOW = (
    "`edgeadapt.exporter.adding.add`, which is what `edgeadapt add` calls, of an adapter in `examples/adapters/` to a "
    "MiniLM bundle with `spam` in it: the time of the call, in a new process that has imported the module and nothing "
    "else, on a new copy of the bundle. That torch was not imported is asserted after the call."
)
USUAL = Counts(rounds=7, warm=0, runs=1)
CASES = {"intents": "the model has all its slots", "reviews": "the model gets new slots"}


def measure(settings: Settings) -> tuple[Figure, ...]:
    """Returns the seconds for an adapter that fits the model as it is, and for one that needs more slots."""
    from benchmarks.models import minilm
    from benchmarks.timing import quartiles

    bundle = minilm.paths().small
    figures = []
    for name, case in CASES.items():
        done = [_once(bundle, name) for _ in range(settings.counts(USUAL).rounds)]
        seconds = tuple(each["seconds"] for each in done)
        raw = {
            "rounds_s": seconds,
            "import_s": median(each["import_seconds"] for each in done),
            "torch_imported": False,
            "counts": f"{len(done)} rounds, a new process in each",
        }
        figures.append(Figure(f"add {name} ({case})", median(seconds), "s", 1.0, quartiles(seconds), raw))
        print(f"  add {name}: {', '.join(f'{each:.2f}' for each in seconds)} s", flush=True)
    return tuple(figures)


def _once(bundle: Path, name: str) -> dict[str, float]:
    from benchmarks.processes import answer

    with tempfile.TemporaryDirectory(dir=bundle.parent) as scratch:
        copy = shutil.copytree(bundle, Path(scratch) / "bundle")
        found: dict[str, float] = answer(["-m", __spec__.name, str(copy), str(ADAPTERS / name), name])
        return found


def _add(bundle: Path, folder: Path, name: str) -> dict[str, float]:
    start = time.perf_counter()
    from edgeadapt.exporter.adding import add

    imported = time.perf_counter()
    add(bundle, folder, name)
    done = time.perf_counter()
    assert "torch" not in sys.modules, "adding an adapter imported torch"
    return {"seconds": done - imported, "import_seconds": imported - start}


if __name__ == "__main__":
    print(json.dumps(_add(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])))

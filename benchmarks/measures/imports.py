"""What edgeadapt's runtime adds to the time that importing onnxruntime takes."""

from __future__ import annotations

from statistics import median

from benchmarks.processes import answer
from benchmarks.results import Figure
from benchmarks.settings import Counts, Settings
from benchmarks.timing import quartiles

TITLE = "Importing"
HOW = (
    "The time of the import statements in new processes, in turn: `import onnxruntime` alone, followed by `import "
    "edgeadapt.runtime`, and followed by that and `edgeadapt.bundle`, which `load` imports when it is called. All are "
    "there as bytecode, as pip installs them."
)
USUAL = Counts(rounds=21, warm=1, runs=1)
VARIANTS = {
    "onnxruntime": "import onnxruntime",
    "runtime": "import onnxruntime, edgeadapt.runtime",
    "loading": "import onnxruntime, edgeadapt.runtime, edgeadapt.bundle",
}
CODE = "import json, time\nstart = time.perf_counter()\n{}\nprint(json.dumps(time.perf_counter() - start))"


def measure(settings: Settings) -> tuple[Figure, ...]:
    """Returns the ratio for edgeadapt.runtime, and for it with what the first `load` imports."""
    counts = settings.counts(USUAL)
    for _ in range(counts.warm):
        for statement in VARIANTS.values():
            answer(["-c", CODE.format(statement)])
    rounds = []
    for index in range(counts.rounds):
        # Each is first, second and third equally often.
        order = [*VARIANTS][index % 3 :] + [*VARIANTS][: index % 3]
        seconds = {name: float(answer(["-c", CODE.format(VARIANTS[name])])) for name in order}
        rounds.append(seconds)
    figures = []
    for name, target, what in (
        ("runtime", 1.15, "onnxruntime + edgeadapt.runtime / onnxruntime"),
        ("loading", None, "the same with edgeadapt.bundle / onnxruntime"),
    ):
        ratio = median(each[name] for each in rounds) / median(each["onnxruntime"] for each in rounds)
        raw = {
            "variant_ms": median(each[name] * 1e3 for each in rounds),
            "against_ms": median(each["onnxruntime"] * 1e3 for each in rounds),
            "rounds_variant_ms": [each[name] * 1e3 for each in rounds],
            "rounds_against_ms": [each["onnxruntime"] * 1e3 for each in rounds],
            "counts": f"{len(rounds)} rounds, a new process for every variant in each",
        }
        ratios = tuple(each[name] / each["onnxruntime"] for each in rounds)
        figures.append(Figure(what, ratio, "ratio", target, quartiles(ratios), raw))
        print(f"  {what}: {raw['variant_ms']:.0f} ms / {raw['against_ms']:.0f} ms = {ratio:.3f}", flush=True)
    return tuple(figures)

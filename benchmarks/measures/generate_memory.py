"""What a decoder takes at its peak, over its weights and its cache.

Run by itself, this file is the process that is measured: `python -m benchmarks.measures.generate_memory WAY PRECISION`.
"""

from __future__ import annotations

import json
import sys
from statistics import median

from benchmarks.processes import answer, memory_kb
from benchmarks.results import Figure
from benchmarks.settings import Counts, Settings

TITLE = "A decoder's memory"
HOW = (
    "SmolLM2-135M-Instruct, as in the measure before. `VmHWM` of a process that opens the model, runs a prompt of 512 "
    "tokens and 32 more, without what was resident after the imports, over the bytes of the graph, its weights and a "
    "cache of 544 tokens."
)
PROMPT, NEW = 512, 32
USUAL = Counts(rounds=3, warm=0, runs=1)
WAYS = ("plain", "LoRA", "genai", "LoRA in genai")
TARGETS = {"plain": 1.2, "LoRA": 1.2}


def measure(settings: Settings) -> tuple[Figure, ...]:
    """Returns the ratio of every way to run the decoder, in the precisions that there are."""
    from benchmarks.models import smollm
    from benchmarks.timing import quartiles

    count = settings.counts(USUAL).rounds
    figures = []
    for precision in smollm.found():
        for way in WAYS:
            rounds = [answer(["-m", __spec__.name, way, precision]) for _ in range(count)]
            ratios = tuple(each["taken_bytes"] / each["held_bytes"] for each in rounds)
            print(f"  {precision}, {way}: {ratios}", flush=True)
            raw = {
                "taken_mb": median(each["taken_bytes"] for each in rounds) / 1e6,
                "held_mb": rounds[0]["held_bytes"] / 1e6,
                "rounds_ratio": ratios,
                "counts": f"{count} rounds, a new process in each",
            }
            name = f"{precision}, peak memory / weights and cache: {way}"
            figures.append(Figure(name, median(ratios), "ratio", TARGETS.get(way), quartiles(ratios), raw))
    return tuple(figures)


def _run(way: str, precision: str) -> dict[str, int]:
    """Runs a decoder one way and returns what it took at most, and what it has to hold."""
    import onnxruntime_genai  # noqa: F401  # whatever the way, so that its size is no part of what is compared

    from benchmarks.decoders import ours, theirs
    from benchmarks.models import smollm
    from benchmarks.sessions import switchable

    models = next(each for name, each in smollm.found().items() if name == precision)
    adapter = models.tuned / "adapters" / smollm.ADAPTERS[0] / "weights.onnx_adapter"
    folder = {"plain": models.plain, "genai": models.genai}.get(way, models.tuned)
    graphs = {"LoRA in genai": "genai.onnx"}
    before = memory_kb("VmRSS")
    if way in ("plain", "LoRA"):
        begin = ours(switchable(folder), smollm.ADAPTERS[0] if way == "LoRA" else None)
    else:
        begin = theirs(folder, adapter if way == "LoRA in genai" else None)
    text = begin(1, PROMPT + NEW)
    text.prompt(smollm.tokens(1, PROMPT))
    for _ in range(NEW - 1):
        text.next()
    taken = (memory_kb("VmHWM") - before) * 1024
    return {
        "taken_bytes": taken,
        "held_bytes": smollm.model_bytes(folder, graphs.get(way, "model.onnx")) + _cache(models),
    }


def _cache(models: object) -> int:
    """Returns the bytes of a cache, fp32, as long as the text."""
    from benchmarks.models.smollm import Models

    assert isinstance(models, Models)
    config = json.loads((models.genai / "genai_config.json").read_text(encoding="utf-8"))["model"]["decoder"]
    layers, heads = int(config["num_hidden_layers"]), int(config["num_key_value_heads"])
    return 2 * layers * heads * (PROMPT + NEW) * int(config["head_size"]) * 4


if __name__ == "__main__":
    print(json.dumps(_run(*sys.argv[1:3])))

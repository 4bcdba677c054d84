"""What a decoder's tokens cost, beside onnxruntime-genai's own build of the same decoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from benchmarks.decoders import Begin, Text, graph, ours, theirs
from benchmarks.models import smollm
from benchmarks.models.smollm import ADAPTERS, Models
from benchmarks.results import Figure
from benchmarks.sessions import switchable
from benchmarks.settings import SHORT_RUNS, Counts, Settings
from benchmarks.timing import Started, Timing, paired

TITLE = "A decoder beside onnxruntime-genai"
HOW = (
    "SmolLM2-135M-Instruct. `genai` is the model of onnxruntime-genai's builder (`-e cpu`, its defaults) in its "
    "`Generator`; `genai's graph` is that model's graph in edgeadapt's loop, the cache bound in place. `plain` is a "
    "bundle without adapters, `none` and `LoRA` one with four adapters of rank 8 on all seven linear layers, without "
    "one and with one; `LoRA in genai` is that same bundle in onnxruntime-genai's `Generator`. A token: one run after "
    "the tokens that are named, which grow by one in every run of a block, with the choice of the likeliest token. "
    "First token: a new generation, the prompt, and that choice; it is what prefilling takes."
)
PASTS = (128, 512)
PROMPTS = (64, 512)
ROWS = 4
FIRST_TOKENS = Counts(rounds=7, warm=1, runs=5)
"""For prompts, which take as long as some dozens of tokens."""

PAIRS: Mapping[tuple[str, str], Mapping[str, float]] = {
    ("plain", "genai"): {"fp32": 1.0, "int4": 1.0},
    ("genai's graph", "genai"): {},
    ("none", "plain"): {"fp32": 1 / 0.95, "int4": 1 / 0.85},
    ("LoRA", "plain"): {"fp32": 1 / 0.95, "int4": 1 / 0.85},
    ("LoRA", "genai"): {},
    ("LoRA in genai", "genai"): {},
}
"""What is timed against what, and the target of a token in each precision, as a ratio of times."""

PROMPT_PAIRS: Mapping[tuple[str, str], float | None] = {
    ("plain", "genai"): 1.0,
    ("LoRA", "plain"): None,
    ("LoRA", "LoRA in genai"): None,
}
"""What is timed against what for a whole prompt, and the target."""

ROWS_TARGET = 1 / 0.9


@dataclass(frozen=True, slots=True)
class _Blocks:
    """Makes what is timed of one way to run a decoder: blocks of single tokens, or first tokens.

    Attributes:
        begin: Begins a text.
        rows: Its rows.
        length: Tokens before the first that is timed, or of the prompt.
        runs: How many tokens a block runs.
    """

    begin: Begin
    rows: int
    length: int
    runs: int

    def token(self) -> Started:
        """Returns runs of one token after `length` others, which a new text begins with in each block."""
        text: list[Text] = []

        def start() -> None:
            text[:] = [self.begin(self.rows, self.length + self.runs + 2)]
            text[0].prompt(smollm.tokens(self.rows, self.length))

        return Started(start, lambda: text[0].next())

    def first(self) -> Started:
        """Returns runs of a whole prompt in a text of its own."""
        ids = smollm.tokens(self.rows, self.length)
        return Started(lambda: None, lambda: self.begin(self.rows, self.length + self.runs).prompt(ids))


def measure(settings: Settings) -> tuple[Figure, ...]:
    """Returns all figures for the precisions that there are."""
    return tuple(figure for precision, models in smollm.found().items() for figure in _of(precision, models, settings))


def _of(precision: str, models: Models, settings: Settings) -> list[Figure]:
    plain, tuned = switchable(models.plain), switchable(models.tuned)
    first = models.tuned / "adapters" / ADAPTERS[0] / "weights.onnx_adapter"
    ways: Mapping[str, Begin] = {
        "plain": ours(plain, None),
        "none": ours(tuned, None),
        "LoRA": ours(tuned, ADAPTERS[0]),
        "genai": theirs(models.genai),
        "genai's graph": graph(models.genai),
        "LoRA in genai": theirs(models.tuned, first),
    }
    figures = []
    counts, firsts = settings.counts(SHORT_RUNS), settings.counts(FIRST_TOKENS)
    runs = counts.warm + counts.runs
    for past in PASTS:
        for (one, other), targets in PAIRS.items():
            name = f"{precision}, a token after {past}: {one} / {other}"
            variant, against = (_Blocks(ways[way], 1, past, runs).token() for way in (one, other))
            figures.append(_figure(name, paired(name, variant, against, counts), 1, targets.get(precision)))
        name = f"{precision}, a token of {ROWS} rows after {past}: {ROWS} adapters / 1 adapter"
        mixed, uniform = ours(tuned, *ADAPTERS), ours(tuned, ADAPTERS[0])
        variant, against = (_Blocks(way, ROWS, past, runs).token() for way in (mixed, uniform))
        figures.append(_figure(name, paired(name, variant, against, counts), ROWS, ROWS_TARGET))
    for length in PROMPTS:
        for (one, other), target in PROMPT_PAIRS.items():
            name = f"{precision}, first token of a prompt of {length}: {one} / {other}"
            variant, against = (_Blocks(ways[way], 1, length, 1).first() for way in (one, other))
            figures.append(_figure(name, paired(name, variant, against, firsts), length, target))
    return figures


def _figure(name: str, timing: Timing, tokens: int, target: float | None) -> Figure:
    """Returns the ratio, and how many tokens a second the variant runs."""
    figure = timing.figure(name, target)
    return replace(figure, raw={**figure.raw, "tokens_per_s": tokens * 1000 / figure.raw["variant_ms"]})

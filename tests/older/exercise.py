"""Does with bundles what a user does, on the ONNX Runtime that is there, and writes down what came of it.

`python tests/older/exercise.py ROOT OUT`, with `PYTHONPATH` at the repository's root, in an environment that has numpy,
onnxruntime and tokenizers alone. `ROOT` is what `tests.older.bundles` wrote. `OUT/facts.json` has for each bundle what
refused it, or what its proof came to; `OUT/answers.npz` its outputs, as `<bundle>/<what was asked>/<output>`.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from edgeadapt import Session, load, pipeline
from edgeadapt.errors import AdapterError, BundleError, UnsupportedError
from edgeadapt.runtime.verify import read_parity, verify

LATE = "late"
"""The adapter that no bundle has, and that comes to each."""

TEXTS = ["Hello, our phone is late!", "never", "the film was rather long"]
BLEND = {"wide": 0.5, "narrow": -0.25}
TOKENS = 8

Answers = dict[str, "np.ndarray[Any, Any]"]


def exercised(folder: Path, late: Path) -> tuple[dict[str, Any], Answers]:
    """Returns what is known of a bundle, and its answers."""
    try:
        session = load(folder)
    except BundleError as error:
        return {"refused": str(error)}, {}
    session.check()
    answers = dict(_answers(session, late))
    reports = {name: verify(session, None if name == "none" else name) for name in ("none", *session.adapters)}
    return {
        "errors": {name: report.max_abs_error for name, report in reports.items()},
        "failures": {name: report.failures() for name, report in reports.items() if report.failures()},
        "scores": _scores(session),
    }, answers


def _answers(session: Session, late: Path) -> Iterator[tuple[str, Any]]:
    """Yields what a session answers: the base, adapters, rows that mix, blends, and after an adapter came and went."""
    inputs = read_parity(session.path / "adapters/none", session.adapter(None).record)["input"]
    rows = len(next(iter(inputs.values())))
    choices: dict[str, Any] = {
        "base": None,
        "wide": "wide",
        "narrow": "narrow",
        "mixed": [("wide", "narrow")[row % 2] for row in range(rows)],
        "blend": BLEND,
    }
    for what, choice in choices.items():
        yield from _asked(session, inputs, what, choice)
    session.add_adapter(late, LATE)
    yield from _asked(session, inputs, "added", LATE)
    session.remove_adapter(LATE)
    yield from _asked(session, inputs, "removed", "wide")
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(shutil.copytree(session.path, Path(scratch) / "bundle"))
        changed = load(home)
        shutil.copytree(late, home / "adapters" / LATE)
        assert changed.refresh().added == (LATE,)
        yield from _asked(changed, inputs, "refreshed", LATE)
        shutil.rmtree(home / "adapters" / LATE)
        assert changed.refresh().removed == (LATE,)
        yield from _asked(changed, inputs, "refreshed again", "narrow")
    if session.manifest.model.precision != "int4":
        yield from _asked(load(session.path, memory="low", threads=1), inputs, "in little memory", "wide")


def _asked(session: Session, inputs: Mapping[str, Any], what: str, choice: Any) -> Iterator[tuple[str, Any]]:
    """Yields the outputs of a run, and of a decoder the tokens that it writes; or what class of error refuses it."""
    try:
        for name, output in session.replay(inputs, choice).items():
            for row, part in enumerate(output) if isinstance(output, list) else [("all", output)]:
                yield f"{what}/{name}/{row}", part
        if session.manifest.generation is not None:
            rows = choice if isinstance(choice, list) else [choice] * len(TEXTS)
            prompts = [list(range(5, 6 + 3 * row)) for row in range(len(rows))]
            for row, tokens in enumerate(session.generate(prompts, adapter=rows, max_new_tokens=TOKENS, eos=[])):
                yield f"{what}/tokens/{row}", tokens
    except (AdapterError, UnsupportedError) as error:
        yield f"{what}/refused", np.array(type(error).__name__)


def _scores(session: Session) -> Any:
    """Returns what a pipeline says of texts; nothing of a bundle without a tokenizer."""
    if session.manifest.tokenizer is None:
        return None
    options = {} if session.manifest.generation is None else {"max_new_tokens": TOKENS}
    return pipeline(session)(TEXTS, adapter=["wide", "narrow", "wide"], **options)


def main() -> None:
    """Works on its arguments."""
    root, out = map(Path, sys.argv[1:])
    facts: dict[str, Any] = {}
    answers: Answers = {}
    for folder in sorted((root / "bundles").iterdir()):
        facts[folder.name], own = exercised(folder, root / "extra" / folder.name)
        answers |= {f"{folder.name}/{key}": array for key, array in own.items()}
    out.mkdir()
    told = {"onnxruntime": onnxruntime.__version__, "modules": sorted(sys.modules), "bundles": facts}
    (out / "facts.json").write_text(json.dumps(told, default=float))
    np.savez(out / "answers.npz", **answers)  # type: ignore[arg-type]  # its stub takes a name for its one option


if __name__ == "__main__":
    main()

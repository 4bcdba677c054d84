"""Answers texts as `edgeadapt.pipeline` does, for the page's answers to be compared with.

`python examples/web/test/scores.py BUNDLE` reads `[[adapter, text], ...]` from stdin, where an adapter of null is the
base, and prints `[{label: score, ...}, ...]` with the scores of all labels.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import edgeadapt


def main() -> None:
    """Reads, answers, prints."""
    classify: Any = edgeadapt.pipeline(sys.argv[1])
    answers = [classify(text, adapter=adapter, top_k=None) for adapter, text in json.load(sys.stdin)]
    json.dump([{each["label"]: float(each["score"]) for each in answer} for answer in answers], sys.stdout)


if __name__ == "__main__":
    main()

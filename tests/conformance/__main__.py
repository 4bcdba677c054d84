"""Writes the cases of conformance: `python -m tests.conformance OUT`."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
import warnings
from pathlib import Path

# Before anything imports ONNX Runtime or transformers.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"


def main() -> int:
    """Writes everything and says how much it is."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description="Writes the cases of conformance.")
    parser.add_argument("out", type=Path, help="a folder that isn't there, or is empty")
    root: Path = parser.parse_args().out
    from edgeadapt.errors import OutputExistsError
    from tests.conformance.generate import generate

    # Broken adapters are told of in the log, too, and all of these are meant to be broken.
    logging.getLogger("edgeadapt").setLevel(logging.CRITICAL)
    # transformers reads its own deprecated attribute when PEFT wraps a model.
    warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
    start = time.perf_counter()
    try:
        cases, texts = generate(root)
    except OutputExistsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(f"{cases} cases and {texts} texts in {root}, in {time.perf_counter() - start:.0f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

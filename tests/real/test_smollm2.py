"""A real decoder with a LoRA on each of its linear layers: `make demo-generate`, and its bundle against live PEFT."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgeadapt
from edgeadapt.runtime.verify import verify
from tests import tiny
from tests.real.conftest import ROOT

pytestmark = [pytest.mark.real, pytest.mark.transformers5]

ADAPTER = ROOT / "examples" / "adapters" / "shakespeare"
NEW = 24
TEXTS = (
    "JULIET:\nO",
    "The three primary colours are",
    "KING RICHARD:\nBring me my horse, and tell the",
    "Water boils at",
)
NAMES = ["shakespeare", None, "shakespeare", None]
OF_LARGEST = 1e-5
"""Of the largest logit: what some dozens of layers of fp32 come to."""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """Where the bundle goes; half a gigabyte isn't kept after the test."""
    yield tmp_path / "bundle"
    shutil.rmtree(tmp_path / "bundle", ignore_errors=True)


def live(base: Path) -> Any:
    """Returns PEFT's model, loaded as any user of PEFT would."""
    import peft
    import transformers

    with tiny.quiet():
        model = transformers.AutoModelForCausalLM.from_pretrained(base)
        return peft.PeftModel.from_pretrained(model, str(ADAPTER)).eval()


def run_live(model: Any, name: str | None, prompt: list[int]) -> tuple[np.ndarray[Any, Any], list[int]]:
    """Returns the logits of a prompt, `(tokens, vocabulary)`, and the tokens that `transformers.generate` adds."""
    import torch

    ids = torch.tensor([prompt])
    options = {"max_new_tokens": NEW, "do_sample": False, "pad_token_id": model.config.pad_token_id}
    with torch.no_grad(), tiny.quiet(), contextlib.nullcontext() if name else model.disable_adapter():
        logits = model(input_ids=ids, use_cache=False).logits[0].numpy()
        tokens = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **options)
    return logits, tokens[0, len(prompt) :].tolist()


def test_a_real_decoder_says_what_peft_says(smollm2: Path, home: Path) -> None:
    """One test, as the export takes minutes: parity, tokens of mixed rows padded on the left, and verifying."""
    import transformers

    script = ROOT / "examples" / "demo_generate.py"
    shown = subprocess.run(
        [sys.executable, "-W", "ignore", script, "--base", smollm2, "-o", home],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "tokens are those of transformers.generate" in shown

    session = edgeadapt.load(home)
    for name in (None, "shakespeare"):
        report = verify(session, name)
        assert report.passed
    assert report.effect > 1
    assert report.max_abs_error < 1e-4 * report.effect

    tokenizer = transformers.AutoTokenizer.from_pretrained(smollm2)
    prompts = [tokenizer(text)["input_ids"] for text in TEXTS]
    most = max(map(len, prompts))
    mask = np.array([[0] * (most - len(each)) + [1] * len(each) for each in prompts], np.int64)
    ids = np.array([[0] * (most - len(each)) + each for each in prompts], np.int64)

    mixed = session.generate(ids, mask, adapter=NAMES, max_new_tokens=NEW)
    first = session.begin(len(TEXTS), NAMES).feed(ids, mask)

    model = live(smollm2)
    for row, (name, prompt) in enumerate(zip(NAMES, prompts, strict=True)):
        logits, tokens = run_live(model, name, prompt)
        assert np.abs(first[row] - logits[-1]).max() <= OF_LARGEST * np.abs(logits).max()
        assert mixed[row].tolist() == tokens
        assert session.generate([prompt], adapter=name, max_new_tokens=NEW)[0].tolist() == tokens

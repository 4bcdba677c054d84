"""The base's tokenizer for onnxruntime-genai: written down where that tokenizes as the base does, else left out."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edgeadapt import bundle, tasks
from edgeadapt.bundle import TokenizerRecord
from edgeadapt.exporter import genai
from edgeadapt.exporter.chats import CHATS

FILE = bundle.GENAI_TOKENIZER
PACKAGE = "onnxruntime_genai"
KIND = "PreTrainedTokenizerFast"
"""The class that says nothing: what is to be done is in the tokenizer's own file."""

TIMEOUT_S = 300

SCRIPT = """\
import json, sys
from onnxruntime_genai import Tokenizer
tokenizer = Tokenizer(sys.argv[1])
print(json.dumps([[int(token) for token in tokenizer.encode(text)] for text in json.load(sys.stdin)]))
"""
"""In a process of its own: 0.18 reads memory that isn't its own, and may crash, where it doesn't know a tokenizer."""


def write(tokenizer: Any | None, said: TokenizerRecord | None, folder: Path) -> tuple[str, ...]:
    """Writes `tokenizer_config.json`, without which onnxruntime-genai opens no tokenizer, if it gives the same tokens.

    Args:
        tokenizer: The base's, or None.
        said: What the manifest says of it; its file is in `folder`.
        folder: The bundle's folder, with the configuration for onnxruntime-genai.

    Returns:
        A note that says why it was left out, if it was.
    """
    if tokenizer is None or said is None:
        return ()
    left_out = f"{FILE} is left out, so that its Tokenizer refuses the folder: give it token ids"
    if find_spec(PACKAGE) is None:
        return (f"onnxruntime-genai is not installed to compare its tokenizer with the base's: {left_out}",)
    tokens = {name: str(text) for name, text in tokenizer.special_tokens_map.items() if not isinstance(text, list)}
    document = json.dumps({"tokenizer_class": KIND, **tokens}, indent=2) + "\n"
    texts = _texts(tokenizer)
    expected = [list(map(int, tokenizer(text)["input_ids"])) for text in texts]
    got = _tokens(folder, said.file, document, texts)
    if got is None:
        return (f"onnxruntime-genai can't open the base's tokenizer: {left_out}",)
    if wrong := sum(one != other for one, other in zip(got, expected, strict=True)):
        return (f"onnxruntime-genai tokenizes {wrong} of {len(texts)} texts unlike the base's tokenizer: {left_out}",)
    (folder / FILE).write_text(document, encoding="utf-8")
    return ()


def _texts(tokenizer: Any) -> list[str]:
    """Returns the samples of the task, and conversations where the tokenizer has a template that takes them."""
    texts = [*map(str, tasks.get("text-generation").SAMPLES), "naïve Köln, 你好! 🚂", "  two  spaces\n\nand\tlines\n"]
    for chat in CHATS:
        texts += [message["content"] for message in chat]
        if tokenizer.chat_template:
            try:
                texts.append(tokenizer.apply_chat_template(chat, tokenize=False))
            except Exception:  # a template is a program, and may refuse a conversation
                continue
    return list(dict.fromkeys(texts))


def _tokens(folder: Path, file: str, document: str, texts: Sequence[str]) -> list[list[int]] | None:
    """Returns what onnxruntime-genai makes of texts, by a tokenizer's file and its configuration; None if it fails."""
    with tempfile.TemporaryDirectory() as made:
        shutil.copyfile(folder / file, Path(made) / file)
        shutil.copyfile(folder / genai.CONFIG, Path(made) / genai.CONFIG)
        (Path(made) / FILE).write_text(document, encoding="utf-8")
        command = [sys.executable, "-I", "-c", SCRIPT, made]
        try:
            done = subprocess.run(
                command, input=json.dumps(texts), capture_output=True, text=True, timeout=TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired:
            return None
    if done.returncode != 0:
        return None
    found: list[list[int]] = json.loads(done.stdout)
    return found

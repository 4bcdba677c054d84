"""The base's chat template, written down so that a device needs no transformers, and proven equal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from edgeadapt.bundle import ChatRecord, TokenizerRecord
from edgeadapt.errors import InputError, UnsupportedError
from edgeadapt.runtime.chat import ChatTemplate
from edgeadapt.runtime.tokenizer import TextTokenizer

TEMPLATE = "chat_template.jinja"

Chat: TypeAlias = Sequence[dict[str, str]]

_SYSTEM = {"role": "system", "content": "You answer in one line."}
_QUESTION = {"role": "user", "content": "When was the first railway\nopened in <Wales>?"}
_ANSWER = {"role": "assistant", "content": 'In 1804, "by" Trevithick\'s engine.'}
CHATS: tuple[Chat, ...] = (
    [_QUESTION],
    [_SYSTEM, _QUESTION],
    [_QUESTION, _ANSWER, {"role": "user", "content": "  And in Köln? 🚂 "}],
    [_SYSTEM, _QUESTION, _ANSWER, {"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because "}],
)
"""Conversations with and without a system's message; the last one is to go on from the assistant's words."""


def record(tokenizer: Any | None, said: TokenizerRecord | None, folder: Path) -> ChatRecord | None:
    """Writes a tokenizer's chat template to `folder` and returns its record, proven on conversations.

    Args:
        tokenizer: The base's, or None.
        said: What the manifest says of it; its file is in `folder`.
        folder: The bundle's folder.

    Returns:
        The record, or None where there is no template, or several and none of them is the default.

    Raises:
        UnsupportedError: The template, rendered here, says something else than in transformers.
    """
    template = getattr(tokenizer, "chat_template", None)
    if isinstance(template, dict):
        template = template.get("default")
    if tokenizer is None or said is None or not template:
        return None
    file = folder / TEMPLATE
    file.write_bytes(template.encode())
    tokens = {name: str(text) for name, text in tokenizer.special_tokens_map.items() if not isinstance(text, list)}
    found = ChatRecord(TEMPLATE, tokens)
    _prove(tokenizer, TextTokenizer(folder / said.file, said), ChatTemplate(file, found))
    return found


def _prove(tokenizer: Any, written: TextTokenizer, template: ChatTemplate) -> None:
    """Compares prompts and their tokens with the tokenizer's own; what one refuses the other has to refuse, too."""
    for chat in CHATS:
        unfinished = chat[-1]["role"] == "assistant"
        options = {"add_generation_prompt": not unfinished, "continue_final_message": unfinished}
        expected: tuple[str, list[int]] | None = None
        got: tuple[str, list[int]] | None = None
        try:
            text = tokenizer.apply_chat_template(chat, tokenize=False, **options)
            tokens = tokenizer.apply_chat_template(chat, tokenize=True, return_dict=True, **options)["input_ids"]
            expected = text, [int(token) for token in tokens]
        except Exception as error:  # a template is a program, and can fail in any way
            refusal = f"refused: {error}"
        else:
            refusal = ""
        try:
            prompt = template.render(chat)
            got = prompt, written.prompt(prompt, special=False)
        except InputError as error:
            refusal = refusal or f"refused: {error}"
        if got != expected:
            raise UnsupportedError(
                f"{type(tokenizer).__name__} has a chat template that a device would render otherwise:\n"
                f"  got:      {got[0] if got else refusal!r:.200}\n"
                f"  expected: {expected[0] if expected else refusal!r:.200}\n"
                "Save the base without its chat template if it isn't for conversations."
            )

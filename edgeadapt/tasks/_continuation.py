"""How a text goes on, while its tokens come: in pieces of whole characters, until a stop string."""

from __future__ import annotations

import re
from collections.abc import Sequence

from edgeadapt.tasks._runner import Vocabulary

_HALF = "\N{REPLACEMENT CHARACTER}"
"""What a decoder writes for bytes that are no character, or not yet one."""

_BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")
"""A token of sentencepiece that is one byte. A run of them is decoded as a whole: all characters, or none."""


class Continuation:
    """The text after a prompt.

    It is what prompt and new tokens spell together without what the prompt spells alone: so the space stays that the
    first new word brings along, which is lost where new tokens are decoded by themselves.

    Attributes:
        over: Whether the text has come to a stop string.
    """

    def __init__(self, vocabulary: Vocabulary, prompt: Sequence[int], stop_strings: Sequence[str] = ()) -> None:
        self.over = False
        self._vocabulary = vocabulary
        self._new: list[int] = []
        self._stops = tuple(stop_strings)
        self._begun = False
        self._follow(list(prompt))

    def _follow(self, prompt: list[int]) -> None:
        self._prompt = prompt
        self._whole = len(self._vocabulary.decode(prompt, skip_special=False)) if self._stops else 0
        # Pieces are told apart in a window: tokens whose text is out already, and those whose text is not.
        self._window = list(prompt)
        self._told = len(self._spelled(prompt))

    def add(self, token: int) -> None:
        """Takes the next token."""
        self._new.append(token)
        if not self._is_left_out(token):
            if not self._begun and self._is_byte(token):
                self._cut()
            self._begun = True
            self._window.append(token)
        if self._stops:
            raw = self._vocabulary.decode(self._prompt + self._new, skip_special=False)
            # As in transformers, a stop string may begin anywhere, in the prompt too, and ends in the last token.
            self.over = any(stop in raw[max(self._whole - len(stop) + 1, 0) :] for stop in self._stops)
            self._whole = len(raw.rstrip(_HALF))

    def piece(self) -> str:
        """Returns the text since the last piece; nothing while a character is not whole."""
        text = self._spelled(self._window)
        if text.endswith(_HALF) or (self._window and self._is_byte(self._window[-1])):
            return ""
        piece = text[self._told :]
        if piece:
            self._slide(len(text))
        return piece

    def rest(self) -> str:
        """Returns what is left at the end, half characters too."""
        return self._spelled(self._window)[self._told :]

    def text(self) -> str:
        """Returns all text: what the pieces and the rest give together."""
        return self._spelled(self._prompt + self._new)[len(self._spelled(self._prompt)) :]

    def _cut(self) -> None:
        """Keeps the prompt's last bytes out of the run that new ones begin: the prompt's characters are whole."""
        kept = len(self._prompt)
        while kept and (self._is_byte(self._prompt[kept - 1]) or self._is_left_out(self._prompt[kept - 1])):
            kept -= 1
        self._follow(self._prompt[:kept])

    def _slide(self, told: int) -> None:
        """Lets go of tokens that no later piece needs: those before the last ones that spell something alone."""
        for start in range(len(self._window) - 1, 0, -1):
            first, alone = self._window[start], self._spelled(self._window[start:])
            if alone and not (alone.startswith(_HALF) or self._is_byte(first) or self._is_left_out(first)):
                self._window, self._told = self._window[start:], len(alone)
                return
        self._told = told

    def _is_byte(self, token: int) -> bool:
        return _BYTE.fullmatch(self._vocabulary.token(token)) is not None

    def _is_left_out(self, token: int) -> bool:
        """Tells special tokens, whose neighbours are spelled as if nothing stood between them."""
        return self._spelled([token]) != self._vocabulary.decode([token], skip_special=False)

    def _spelled(self, ids: Sequence[int]) -> str:
        return self._vocabulary.decode(ids, skip_special=True)

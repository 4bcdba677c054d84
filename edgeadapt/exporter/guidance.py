"""What a base's generation configuration says of an encoder-decoder's tokens: what is kept, noted, refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeadapt.bundle import RulesRecord
from edgeadapt.errors import UnsupportedError
from edgeadapt.exporter.base import Base

REFUSED: Mapping[str, tuple[Any, ...]] = {
    "encoder_no_repeat_ngram_size": (None, 0),
    "encoder_repetition_penalty": (None, 1.0),
    "exponential_decay_length_penalty": (None,),
    "forced_decoder_ids": (None, []),
    "guidance_scale": (None, 1.0),
    "penalty_alpha": (None, 0.0),
    "sequence_bias": (None,),
    "dola_layers": (None,),
    "watermarking_config": (None,),
}
"""What changes the likeliest token in a way that a device doesn't know, with the values that change nothing."""


HEARD: Mapping[str, tuple[Any, ...]] = {
    "no_speech_threshold": (None,),
    "logprob_threshold": (None,),
    "compression_ratio_threshold": (None,),
    "return_timestamps": (None, False),
}
"""The same of a base that hears."""


def rules(base: Base, *, speech: bool = False) -> RulesRecord:
    """Returns what every next token is held to.

    Args:
        base: The base.
        speech: Whether it hears: then the language and the task say what `forced_decoder_ids` would.

    Raises:
        UnsupportedError: The configuration asks for something that a device doesn't do, all of it.
    """
    given: Any = base.model.generation_config
    problems = [
        f"{name}: {value!r}"
        for name, idle in {**REFUSED, **(HEARD if speech else {})}.items()
        if (value := getattr(given, name, None)) not in idle and not (speech and name == "forced_decoder_ids")
    ]
    words = [list(word) for word in getattr(given, "bad_words_ids", None) or []]
    problems += [f"bad_words_ids: {word} is no single token" for word in words if len(word) != 1]
    if problems:
        raise UnsupportedError.collect(
            f"The generation configuration of {base.source} asks for what a device doesn't do:",
            problems,
            "Take these out of its generation_config.json, if texts may be written without them.",
        )
    ends = _ids(getattr(given, "eos_token_id", None))
    single = [word[0] for word in words if word[0] not in ends]
    return RulesRecord(
        repetition_penalty=float(getattr(given, "repetition_penalty", None) or 1.0),
        no_repeat_ngram_size=int(getattr(given, "no_repeat_ngram_size", None) or 0),
        min_length=int(getattr(given, "min_length", None) or 0),
        min_new_tokens=int(getattr(given, "min_new_tokens", None) or 0),
        forced_bos_token_id=getattr(given, "forced_bos_token_id", None),
        forced_eos_token_ids=_ids(getattr(given, "forced_eos_token_id", None)),
        suppress_tokens=tuple(dict.fromkeys([*_ids(getattr(given, "suppress_tokens", None)), *single])),
        begin_suppress_tokens=_ids(getattr(given, "begin_suppress_tokens", None)),
    )


def notes(base: Base) -> tuple[str, ...]:
    """Returns what a user should know: texts are written token by token, whatever the configuration says of beams."""
    beams = getattr(base.model.generation_config, "num_beams", None) or 1
    if beams == 1:
        return ()
    return (f"the base's generation configuration has {beams} beams; a bundle takes the likeliest token each time",)


def ends(base: Base) -> tuple[int, ...]:
    """Returns the tokens that end a text."""
    for given in (base.model.generation_config, base.model.config):
        if found := _ids(getattr(given, "eos_token_id", None)):
            return found
    return ()


def _ids(given: Any) -> tuple[int, ...]:
    return () if given is None else (given,) if isinstance(given, int) else tuple(int(each) for each in given)

"""`edgeadapt run`: inputs through a bundle, one JSON line out for each; a single text is written on as it comes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, TextIO

import click

from edgeadapt.cli import options, rows, terminal

_CHUNK = 64
"""Rows after which answers are printed, so that a long file shows some before its end."""


@click.command(
    epilog="""\b
Examples:
  edgeadapt run bundle --adapter spam --text "You won a prize, call now"
  edgeadapt run bundle --text "Play some jazz" --adapter intents --text "I loved it" --adapter reviews
  edgeadapt run bundle --adapter spam --input texts.jsonl > answers.jsonl
  edgeadapt run writer --adapter polite --text "Where is my parcel?" --chat --max-new-tokens 100 --temperature 0.7

\b
A line of a file is one of these, each with or without "adapter": a name, null for the base, or a blend:
  {"text": "I loved it", "adapter": "reviews"}
  {"text": "It rains.", "text_pair": "The street is wet.", "adapter": {"formal": 0.7, "short": 0.3}}
  {"question": "Who came?", "context": "Ada came late."}
  {"question": "Ada came late, so", "choices": ["she ran.", "it rained."]}
  {"image": "cat.jpg"}
  {"audio": "call.wav"}
"""
)
@click.argument("bundle", type=options.FOLDER)
@click.option("--text", "texts", multiple=True, help="A text to run. Repeat it for more.")
@click.option("--image", "images", multiple=True, metavar="FILE", help="An image to run. Repeat it for more.")
@click.option("--audio", "sounds", multiple=True, metavar="FILE", help="A WAV file to run. Repeat it for more.")
@click.option(
    "--adapter",
    "adapters",
    multiple=True,
    metavar="NAME",
    help="The adapter: one for all, or one for each text in their order; none is the base.",
)
@click.option(
    "--input", "file", type=click.File("r", encoding="utf-8"), metavar="FILE", help="JSON Lines to run; - is stdin."
)
@click.option(
    "--top-k",
    type=click.IntRange(min=1),
    metavar="NUMBER",
    help="How many answers for each input; for text-generation, how many of the likeliest tokens to draw from.",
)
@click.option("--chat", is_flag=True, help="Texts are what a user says, and are answered. For text-generation.")
@click.option(
    "--max-new-tokens", type=click.IntRange(min=1), metavar="NUMBER", help="Ends a text that is gone on with."
)
@click.option(
    "--temperature",
    type=click.FloatRange(min=0),
    metavar="NUMBER",
    help="Over 0 draws tokens, the more freely the higher; 0 takes the likeliest.",
)
@click.option(
    "--top-p",
    type=click.FloatRange(min=0, max=1, min_open=True),
    metavar="NUMBER",
    help="Draw from the likeliest tokens that have this probability together.",
)
@click.option("--seed", type=click.IntRange(min=0), metavar="NUMBER", help="Draw the same every time.")
@options.provider_option
@options.debug_option
def run(
    bundle: Path,
    texts: tuple[str, ...],
    images: tuple[str, ...],
    sounds: tuple[str, ...],
    adapters: tuple[str, ...],
    file: TextIO | None,
    top_k: int | None,
    chat: bool,
    max_new_tokens: int | None,
    temperature: float | None,
    top_p: float | None,
    seed: int | None,
    provider: Literal["cpu", "cuda", "auto"],
) -> None:
    """Run texts, images or sounds through BUNDLE, each with an adapter of its own if need be.

    Prints one line of JSON for each input, in their order: what transformers.pipeline returns for the bundle's task.
    Where the task is text-generation or text2text-generation and there is one --text, prints what is written, as it
    comes.
    """
    drawing = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed}
    if [bool(texts), bool(images), bool(sounds), file is not None].count(True) != 1:
        raise click.UsageError("Give --text, --image or --audio, once or more, or --input FILE.")
    with terminal.stages() as progress:
        progress("loading the bundle")
        from edgeadapt.runtime import load
        from edgeadapt.runtime.pipeline import pipeline

        if file is not None:
            wanted = rows.read(file, file.name, adapters)
        else:
            kind = "text" if texts else "image" if images else "audio"
            wanted = rows.given(kind, texts or images or sounds, adapters)
        session = load(bundle, provider)
        rows.check(wanted, session)
        run_rows = pipeline(session)
        settings = rows.settings(run_rows, session.manifest.task, {"max_new_tokens": max_new_tokens, **drawing})
        if chat:
            wanted = rows.chats(wanted, session.manifest.task)
        progress("running")
        write = getattr(run_rows, "stream", None)
        if write is None or len(texts) != 1:
            _print(run_rows, wanted, settings)
            return
        pieces = write(wanted[0].value, adapter=wanted[0].adapter, **settings)
        # The first one here, where a line says that something is going on.
        begun = next(pieces, "")
    terminal.show_pieces(chain([begun], pieces))


def _print(run_rows: Callable[..., Any], wanted: Sequence[rows.Row], settings: Mapping[str, Any]) -> None:
    remaining = iter(wanted)
    while chunk := list(islice(remaining, _CHUNK)):
        # Some tasks answer a list of one as they answer its item, as transformers does; none does so with two.
        asked = chunk if len(chunk) > 1 else chunk * 2
        answers = run_rows([row.value for row in asked], adapter=[row.adapter for row in asked], **settings)
        for answer in answers[: len(chunk)]:
            terminal.show_json(answer, indent=None)

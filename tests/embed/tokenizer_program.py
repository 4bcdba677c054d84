"""The C tokenizer as a program, beside the tokenizers library."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

C = Path(__file__).parents[2] / "embed" / "c"
SOURCES = [
    *(
        "added_tokens",
        "arena",
        "bpe",
        "canonical",
        "error",
        "growing",
        "json",
        "json_scan",
        "normalise",
        "post_process",
    ),
    *("pre_tokenise", "reading", "tokenizer", "unicode", "vocabulary", "word_pattern", "wordpiece"),
]
WARNINGS = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-Wpedantic", "-Wconversion"]


@dataclass(frozen=True, slots=True)
class Case:
    """One text or pair, and how many tokens it is cut to; 0 cuts nothing."""

    text: str
    pair: str | None = None
    max_length: int = 0


def compile_program(target: Path, source: str, flags: Sequence[str] = ("-O2",)) -> Path:
    """Compiles one of embed/c/test with all that a tokenizer needs, warnings being errors."""
    gcc = shutil.which("gcc")
    assert gcc is not None
    files = [str(C / "test" / f"{source}.c"), *(str(C / "src" / f"{name}.c") for name in SOURCES)]
    subprocess.run(
        [gcc, *WARNINGS, *flags, f"-I{C}", f"-I{C / 'src'}", *files, "-o", str(target), "-lpthread", "-lm"], check=True
    )
    return target


def run_program(program: Path, file: Path, lines: Iterable[Any], *options: str) -> list[Any]:
    """Returns what the program answers to each line, or the one answer where it can't open the file."""
    sent = "".join(json.dumps(line) + "\n" for line in lines)
    done = subprocess.run([str(program), *options, str(file)], input=sent.encode(), capture_output=True, check=False)
    assert done.returncode in (0, 1), done.stderr.decode(errors="replace")
    return [json.loads(line) for line in done.stdout.decode(errors="replace").splitlines()]


def encode(program: Path, file: Path, cases: Sequence[Case], *options: str) -> list[tuple[list[int], list[int]]]:
    """Returns the ids and type ids of each case."""
    lines = ({"text": case.text, "pair": case.pair, "max_length": case.max_length} for case in cases)
    answers = run_program(program, file, lines, *options)
    assert len(answers) == len(cases), answers[:1]
    return [(answer["ids"], answer["type_ids"]) if "ids" in answer else ([-1], [answer["error"]]) for answer in answers]


def reference(tokenizer: Tokenizer, cases: Sequence[Case]) -> list[tuple[list[int], list[int]]]:
    """Returns what the library makes of each case."""
    tokenizer.no_padding()
    answers = []
    for case in cases:
        if case.max_length:
            tokenizer.enable_truncation(case.max_length, stride=0, strategy="longest_first")
        else:
            tokenizer.no_truncation()
        encoding = tokenizer.encode(case.text) if case.pair is None else tokenizer.encode(case.text, case.pair)
        answers.append((encoding.ids, encoding.type_ids))
    return answers


def compare(program: Path, file: Path, cases: Sequence[Case]) -> None:
    """Fails where the program and the library differ in any case, and shows the first ones."""
    ours = encode(program, file, cases)
    theirs = reference(Tokenizer.from_file(str(file)), cases)
    wrong = [
        f"{case}\n  got      {mine}\n  expected {their}"
        for case, mine, their in zip(cases, ours, theirs, strict=True)
        if mine != their
    ]
    assert not wrong, f"{len(wrong)} of {len(cases)} differ:\n" + "\n".join(wrong[:5])

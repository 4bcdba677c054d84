"""The C tokenizer beside the tokenizers library: the same ids and type ids, or a refusal by name."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers

from tests.embed.tokenizer_program import C, Case, compare, compile_program, encode, reference, run_program
from tests.embed.tokenizer_styles import QWEN2, STEPS, STYLES, bert, gpt2, qwen2, roberta
from tests.embed.tokenizer_texts import HARD, every_point, pairs_and_cuts, random_texts

ROOT = Path(__file__).parents[2]
UNSUPPORTED, BUNDLE, INPUT = 2, 3, 5  # ea_status

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not there")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program that encodes lines."""
    return compile_program(tmp_path_factory.mktemp("tokenizer") / "test_tokenizer", "test_tokenizer")


def save(tokenizer: tokenizers.Tokenizer, folder: Path) -> Path:
    file = folder / "tokenizer.json"
    tokenizer.save(str(file))
    return file


@pytest.mark.parametrize("style", STYLES)
def test_a_style_gives_the_ids_of_the_library(style: str, program: Path, tmp_path: Path) -> None:
    file = save(STYLES[style](), tmp_path)
    texts = HARD + random_texts(1500, seed=1)
    compare(program, file, [Case(text) for text in texts])
    compare(program, file, pairs_and_cuts(HARD + random_texts(200, seed=2), seed=3))


@pytest.mark.parametrize("step", STEPS)
def test_a_step_does_what_the_librarys_does(step: str, program: Path, tmp_path: Path) -> None:
    file = save(STEPS[step](), tmp_path)
    compare(program, file, [Case(text) for text in HARD + random_texts(2000, seed=4, longest=40)])
    compare(program, file, [Case(text) for text in every_point()])


def test_the_tables_are_the_librarys() -> None:
    """Of the version that is installed: where a newer one knows more of Unicode, the tables are to be made again."""
    subprocess.run([sys.executable, str(C / "make_unicode.py"), "--check"], check=True)


@pytest.mark.real
@pytest.mark.parametrize("model", ["all-MiniLM-L6-v2", "SmolLM2-135M-Instruct"])
def test_a_real_tokenizer_gives_the_ids_of_the_library(model: str, program: Path) -> None:
    file = ROOT / ".models" / model / "tokenizer.json"
    if not file.is_file():
        pytest.skip(f"{file.relative_to(ROOT)} is not there: `make test` fetches it")
    texts = HARD + random_texts(3000, seed=5)
    compare(program, file, [Case(text) for text in [*texts, *every_point(apart=True), *every_point()]])
    compare(program, file, pairs_and_cuts(texts[:500], seed=6))


def test_threads_share_a_tokenizer(program: Path, tmp_path: Path) -> None:
    file = save(roberta(), tmp_path)
    cases = [Case(text) for text in HARD + random_texts(300, seed=7)]
    assert encode(program, file, cases, "-t", "4") == reference(tokenizers.Tokenizer.from_file(str(file)), cases)


def test_older_files_are_read(program: Path, tmp_path: Path) -> None:
    """Models without a type, merges as strings, and what files said of padding and truncation."""
    for make in (gpt2, lambda: bert(lowercase=True, template=True)):
        document = json.loads(make().to_str())
        del document["model"]["type"]
        document["truncation"] = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
        if "merges" in document["model"]:
            document["model"]["merges"] = ["#version: 0.2", *(" ".join(pair) for pair in document["model"]["merges"])]
        file = tmp_path / "tokenizer.json"
        file.write_text(json.dumps(document), "utf-8")
        compare(program, file, [Case(text) for text in HARD])


def test_added_tokens_are_numbered_as_the_library_does(program: Path, tmp_path: Path) -> None:
    document = json.loads(gpt2().to_str())
    token = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    document["added_tokens"] += [{"id": 9000, "content": "<one>", **token}, {"id": 1, "content": "<two>", **token}]
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps(document), "utf-8")
    compare(program, file, [Case("a <one> b<two>")])


def test_merges_go_by_rank(program: Path, tmp_path: Path) -> None:
    """One of them is there twice: the last one counts."""
    vocab = {token: number for number, token in enumerate(["a", "b", "c", "d", "ab", "bc", "abc", "cd", "bcd", "abcd"])}
    merges = [("a", "bc"), ("b", "c"), ("ab", "c"), ("a", "b"), ("abc", "d"), ("ab", "cd"), ("c", "d"), ("b", "c")]
    file = save(tokenizers.Tokenizer(tokenizers.models.BPE(vocab, merges)), tmp_path)
    compare(program, file, [Case(text) for text in ("abc", "abcd", "aabbccdd", "abcabc", "bcd", "cdab", "abababcdcd")])


@pytest.mark.parametrize("whole", [True, False])
def test_a_word_without_merges_is_whole_where_they_are_ignored(whole: bool, program: Path, tmp_path: Path) -> None:
    document = json.loads(gpt2().to_str())
    document["model"]["ignore_merges"] = whole
    document["model"]["vocab"]["Ġzzyzxy"] = len(document["model"]["vocab"])
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps(document), "utf-8")
    cases = [Case(" zzyzxy zzyzxya zzyzxy")]
    compare(program, file, cases)
    assert (len(encode(program, file, cases)[0][0]) < 12) == whole


def test_spaces_that_an_added_token_takes_may_hold_another(program: Path, tmp_path: Path) -> None:
    tokenizer = gpt2()
    tokenizer.add_tokens(
        [
            tokenizers.AddedToken("<x>", rstrip=True, normalized=False),
            tokenizers.AddedToken("  ", lstrip=True, normalized=False),
            tokenizers.AddedToken(" y", normalized=False),
        ]
    )
    file = save(tokenizer, tmp_path)
    compare(program, file, [Case(text) for text in ("a<x>  b", "a<x> yb", "<x> y y", "  <x>", "<x><x>  <x>")])
    (answer,) = run_program(program, file, [{"text": "a<x>   b"}])  # the library panics
    assert answer["status"] == UNSUPPORTED


def test_a_length_without_room_for_special_tokens_is_refused(program: Path, tmp_path: Path) -> None:
    file = save(bert(lowercase=True, template=True), tmp_path)
    (answer,) = run_program(program, file, [{"text": "a", "max_length": 1}])
    assert answer == {"status": INPUT, "error": "A `max_length` of 1 leaves no room for 2 special tokens."}


@pytest.mark.parametrize("text", ["ff", "61c3", "c080", "eda080", "f4908080", "e28", "f09f98", "80", "c2a061ff"])
def test_what_is_no_utf8_is_refused(text: str, program: Path, tmp_path: Path) -> None:
    (answer,) = run_program(program, save(gpt2(), tmp_path), [{"hex": text}])
    assert answer["status"] == INPUT
    assert "not UTF-8" in answer["error"]


def test_a_word_without_an_unknown_token_is_refused(program: Path, tmp_path: Path) -> None:
    document = json.loads(bert(lowercase=True, template=False).to_str())
    document["model"]["unk_token"] = "[NONE]"
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps(document), "utf-8")
    (answer,) = run_program(program, file, [{"text": "\u1234"}])
    assert answer["status"] == BUNDLE


def _bert(change: Callable[[Any], object]) -> Callable[[], Any]:
    return lambda: _changed(bert(lowercase=True, template=True), change)


def _gpt2(change: Callable[[Any], object]) -> Callable[[], Any]:
    return lambda: _changed(gpt2(), change)


def _qwen2(change: Callable[[Any], object]) -> Callable[[], Any]:
    return lambda: _changed(qwen2(), change)


def _changed(tokenizer: tokenizers.Tokenizer, change: Callable[[Any], object]) -> Any:
    document = json.loads(tokenizer.to_str())
    change(document)
    return document


TOKEN = {
    "id": 1,
    "content": "x",
    "single_word": False,
    "lstrip": False,
    "rstrip": False,
    "normalized": True,
    "special": False,
}
TEMPLATE = {"type": "TemplateProcessing", "single": [], "pair": [], "special_tokens": {}}

REFUSED: dict[str, tuple[Callable[[], Any], int, str]] = {
    "version": (_bert(lambda d: d.update(version="2.0")), UNSUPPORTED, "2.0"),
    "key": (_bert(lambda d: d.update(more=1)), UNSUPPORTED, "more"),
    "Unigram": (_bert(lambda d: d.update(model={"type": "Unigram", "vocab": []})), UNSUPPORTED, "Unigram"),
    "WordLevel": (_bert(lambda d: d.update(model={"vocab": {}, "unk_token": "a"})), UNSUPPORTED, "model"),
    "model key": (_bert(lambda d: d["model"].update(alpha=1)), UNSUPPORTED, "alpha"),
    "id": (_bert(lambda d: d["model"]["vocab"].update(a=-1)), BUNDLE, "whole number"),
    "no unknown": (_bert(lambda d: d["model"].pop("unk_token")), BUNDLE, "unk_token"),
    "NFKC": (_bert(lambda d: d.update(normalizer={"type": "NFKC"})), UNSUPPORTED, "NFKC"),
    "Strip": (
        _bert(lambda d: d.update(normalizer={"type": "Sequence", "normalizers": [{"type": "Strip"}]})),
        UNSUPPORTED,
        "Strip",
    ),
    "Replace": (
        _bert(lambda d: d.update(normalizer={"type": "Replace", "pattern": {"Regex": " "}, "content": ""})),
        UNSUPPORTED,
        "Regex",
    ),
    "empty pattern": (
        _bert(lambda d: d.update(normalizer={"type": "Replace", "pattern": {"String": ""}, "content": ""})),
        UNSUPPORTED,
        "empty",
    ),
    "normalizer key": (_bert(lambda d: d["normalizer"].update(nfkc=True)), UNSUPPORTED, "nfkc"),
    "normalizer flag": (_bert(lambda d: d["normalizer"].update(lowercase=1)), BUNDLE, "lowercase"),
    "Metaspace": (_bert(lambda d: d.update(pre_tokenizer={"type": "Metaspace"})), UNSUPPORTED, "Metaspace"),
    "regex": (
        _qwen2(lambda d: d["pre_tokenizer"]["pretokenizers"][0].update(pattern={"Regex": QWEN2 + "|x"})),
        UNSUPPORTED,
        "|x",
    ),
    "string": (
        _qwen2(lambda d: d["pre_tokenizer"]["pretokenizers"][0].update(pattern={"String": " "})),
        UNSUPPORTED,
        "String",
    ),
    "behavior": (
        _qwen2(lambda d: d["pre_tokenizer"]["pretokenizers"][0].update(behavior="MergedWithNext")),
        UNSUPPORTED,
        "MergedWithNext",
    ),
    "invert": (_qwen2(lambda d: d["pre_tokenizer"]["pretokenizers"][0].update(invert=True)), UNSUPPORTED, "Isolated"),
    "steps": (
        _gpt2(lambda d: d.update(pre_tokenizer={"type": "Sequence", "pretokenizers": [d["pre_tokenizer"]] * 5})),
        UNSUPPORTED,
        "ByteLevel",
    ),
    "many steps": (
        _gpt2(
            lambda d: d.update(pre_tokenizer={"type": "Sequence", "pretokenizers": [{"type": "BertPreTokenizer"}] * 99})
        ),
        UNSUPPORTED,
        "32",
    ),
    "dropout": (_gpt2(lambda d: d["model"].update(dropout=0.1)), UNSUPPORTED, "dropout"),
    "prefix": (
        _gpt2(lambda d: d["model"].update(continuing_subword_prefix="##")),
        UNSUPPORTED,
        "continuing_subword_prefix",
    ),
    "suffix": (_gpt2(lambda d: d["model"].update(end_of_word_suffix="</w>")), UNSUPPORTED, "end_of_word_suffix"),
    "byte_fallback": (_gpt2(lambda d: d["model"].update(byte_fallback=True)), UNSUPPORTED, "byte_fallback"),
    "merge": (_gpt2(lambda d: d["model"]["merges"].append(["a", "\u2603"])), BUNDLE, "vocabulary"),
    "merges": (_gpt2(lambda d: d["model"]["merges"].append("a b")), BUNDLE, "merges"),
    "merge of three": (_gpt2(lambda d: d["model"].update(merges=["a b c"])), BUNDLE, "merges[0]"),
    "post type": (_gpt2(lambda d: d.update(post_processor={"type": "Other"})), UNSUPPORTED, "Other"),
    "post twice": (
        _gpt2(lambda d: d.update(post_processor={"type": "Sequence", "processors": [TEMPLATE, TEMPLATE]})),
        UNSUPPORTED,
        "second",
    ),
    "post token": (
        _bert(lambda d: d["post_processor"]["special_tokens"].pop("[CLS]")),
        BUNDLE,
        "[CLS]",
    ),
    "post ids": (_bert(lambda d: d["post_processor"]["special_tokens"]["[CLS]"]["ids"].append(1)), BUNDLE, "ids"),
    "post sequence": (
        _bert(lambda d: d["post_processor"]["single"].append({"Sequence": {"id": "B", "type_id": 0}})),
        BUNDLE,
        "B",
    ),
    "post piece": (_bert(lambda d: d["post_processor"]["single"].append({})), BUNDLE, "SpecialToken"),
    "token twice": (_bert(lambda d: d["added_tokens"].extend([TOKEN, TOKEN])), UNSUPPORTED, "x"),
    "token twice when normalized": (
        _bert(lambda d: d["added_tokens"].extend([dict(TOKEN, content="Xyz"), dict(TOKEN, content="xyZ")])),
        UNSUPPORTED,
        "xyz",
    ),
    "token normalized away": (
        _bert(lambda d: d["added_tokens"].append(dict(TOKEN, content="\u0301"))),
        UNSUPPORTED,
        "empty",
    ),
    "token key": (_bert(lambda d: d["added_tokens"].append(dict(TOKEN, strip=True))), UNSUPPORTED, "strip"),
    "token flag": (_bert(lambda d: d["added_tokens"].append({"id": 1, "content": "x"})), BUNDLE, "single_word"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_done_is_refused_by_name(name: str, program: Path, tmp_path: Path) -> None:
    make, status, shown = REFUSED[name]
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps(copy.deepcopy(make())), "utf-8")
    (answer,) = run_program(program, file, [])
    assert answer["status"] == status, answer
    assert answer["error"].startswith(f"{file}: ")
    assert shown in answer["error"]


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"model": 1}', '{"model": {}}', "\xff", "[" * 100000])
def test_what_is_no_tokenizer_is_refused(content: str, program: Path, tmp_path: Path) -> None:
    file = tmp_path / "tokenizer.json"
    file.write_text(content, "latin-1")
    (answer,) = run_program(program, file, [])
    assert answer["status"] in (BUNDLE, UNSUPPORTED)
    (answer,) = run_program(program, tmp_path / "none.json", [])
    assert answer["status"] == BUNDLE


@pytest.fixture(scope="module")
def sanitizers(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The flags of gcc's address and undefined-behaviour sanitizers."""
    flags = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    folder = tmp_path_factory.mktemp("sanitizers")
    (folder / "empty.c").write_text("int main(void) { return 0; }\n", "utf-8")
    built = subprocess.run(["gcc", *flags, "empty.c", "-o", "empty"], cwd=folder, capture_output=True, check=False)
    if built.returncode:
        pytest.skip("gcc has no sanitizers")
    return flags


def test_memory_may_run_out_anywhere(sanitizers: list[str], tmp_path: Path) -> None:
    """Every failure is told as one of memory, and leaves nothing behind."""
    wrapped = "-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc"
    program = compile_program(tmp_path / "memory", "test_tokenizer_memory", [*sanitizers, wrapped])
    for file in _small(tmp_path):
        done = subprocess.run([str(program), str(file)], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode(errors="replace")


def test_damaged_files_and_odd_texts_break_nothing(sanitizers: list[str], tmp_path: Path) -> None:
    """Some seconds of fuzz_tokenizer."""
    fuzz = compile_program(tmp_path / "fuzz", "fuzz_tokenizer", sanitizers)
    kept = ROOT / "embed" / "c" / "test" / "corpus" / "fuzz_tokenizer"
    done = subprocess.run([fuzz, "5", "1", kept, *_small(tmp_path)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-3000:]


def _small(folder: Path) -> list[Path]:
    """Returns tokenizers with few tokens, which are read more often in the same time."""
    files = []
    for name in ("added", "roberta", "llama3", "qwen2", "plain"):
        document = json.loads(STYLES[name]().to_str())
        model = document["model"]
        kept = sorted(model["vocab"], key=model["vocab"].get)[: 90 if name == "added" else 300]
        model["vocab"] = {token: number for number, token in enumerate(kept)}
        if "merges" in model:
            model["merges"] = [pair for pair in model["merges"] if {*pair, "".join(pair)} <= set(kept)]
        files.append(folder / f"{name}.json")
        files[-1].write_text(json.dumps(document, ensure_ascii=False), "utf-8")
    return files

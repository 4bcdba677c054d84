"""Texts go on and conversations are answered as `transformers.pipeline` has it, with PEFT's adapters merged in."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import edgeadapt
from edgeadapt.errors import AdapterError, ConfigError, EdgeAdaptError, InputError
from edgeadapt.exporter.pipeline import export
from edgeadapt.tasks import Vocabulary
from edgeadapt.tasks._continuation import Continuation
from tests import tiny
from tests.tasks.decoders import PROMPTS, base
from tests.tasks.reference import pipeline, transformers

TASK = "text-generation"
NEW = 20
CHATS = [
    [{"role": "user", "content": "Where is my parcel?"}],
    [
        {"role": "user", "content": "  hello  "},
        {"role": "assistant", "content": "good morning"},
        {"role": "user", "content": "is it late?"},
    ],
]
PREFILL = [{"role": "user", "content": "Where is it?"}, {"role": "assistant", "content": "It is in New"}]


@dataclass(frozen=True)
class Setup:
    """A bundle with the adapter `tales`, and transformers' pipelines for the base (None) and for that adapter."""

    ours: Any
    theirs: dict[str | None, Any]
    tokenizer: Any

    def expected(self, adapter: str | None, prompt: Any, **options: Any) -> Any:
        """Returns what transformers' own pipeline gives for one prompt, spaces as the tokens have them."""
        settings = {"max_new_tokens": NEW, "do_sample": False, "clean_up_tokenization_spaces": False, **options}
        with tiny.quiet():
            return self.theirs[adapter](prompt, **settings)

    def tokens(self, adapter: str | None, prompt: str, **options: Any) -> tuple[list[int], list[int]]:
        """Returns the tokens of a prompt and those that transformers gives after it."""
        ids = self.tokenizer(prompt)["input_ids"]
        ((found),) = self.expected(adapter, prompt, return_tensors=True, **options)
        return ids, found["generated_token_ids"][len(ids) :]

    def text(self, ids: list[int], new: list[int]) -> str:
        """Returns what new tokens add to a text."""
        before = self.tokenizer.decode(ids, skip_special_tokens=True)
        return str(self.tokenizer.decode(ids + new, skip_special_tokens=True)[len(before) :])


@pytest.fixture(scope="module", params=["byte level", "sentence pieces"])
def setup(request: Any, tmp_path_factory: Any) -> Setup:
    import peft

    folder = tmp_path_factory.mktemp("bundle")
    tokenizer = base(folder / "base", request.param)
    transposed = request.param == "byte level"  # as GPT-2's weights are
    adapter = tiny.lora_adapter(
        folder / "base", folder / "tales", TASK, 3, "all-linear", seed=3, fan_in_fan_out=transposed
    )
    bundle = export(folder / "base", {"tales": adapter}, folder / "bundle").path
    auto = transformers.AutoModelForCausalLM
    with tiny.quiet():
        plain = auto.from_pretrained(folder / "base").eval()
        wrapped: Any = peft.PeftModel.from_pretrained(auto.from_pretrained(folder / "base"), str(adapter))
        theirs = {
            None: pipeline(TASK, plain, tokenizer),
            "tales": pipeline(TASK, wrapped.merge_and_unload(), tokenizer),
        }
    return Setup(edgeadapt.pipeline(bundle), theirs, tokenizer)


def assert_alike(got: str, expected: str, prompt: str) -> None:
    """Asserts that two full texts are the same, but for the space after a prompt that transformers 5 loses."""
    if got[len(prompt) :].startswith(" ") and transformers.__version__.startswith("5."):
        assert expected in (got, prompt + got[len(prompt) + 1 :])
    else:
        assert got == expected


@pytest.mark.parametrize("adapter", [None, "tales"])
def test_texts_go_on_as_those_of_transformers(setup: Setup, adapter: str | None) -> None:
    for prompt in PROMPTS:
        ((found),) = setup.ours(prompt, adapter=adapter, max_new_tokens=NEW)
        assert list(found) == ["generated_text"]
        assert found["generated_text"] == prompt + setup.text(*setup.tokens(adapter, prompt))
        ((live),) = setup.expected(adapter, prompt)
        assert_alike(found["generated_text"], live["generated_text"], prompt)
        new = setup.ours(prompt, adapter=adapter, max_new_tokens=NEW, return_full_text=False)
        assert new == [{"generated_text": found["generated_text"][len(prompt) :]}]


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_a_list_gives_a_list_of_lists_each_with_its_adapter(setup: Setup, batch_size: int) -> None:
    adapters = ["tales", None, "tales", None]
    found = setup.ours(PROMPTS, adapter=adapters, max_new_tokens=NEW, batch_size=batch_size)
    alone = [
        setup.ours(prompt, adapter=each, max_new_tokens=NEW) for prompt, each in zip(PROMPTS, adapters, strict=True)
    ]
    assert found == alone
    assert found != setup.ours(PROMPTS, max_new_tokens=NEW)
    assert setup.ours(PROMPTS[:1], max_new_tokens=NEW) == [setup.ours(PROMPTS[0], max_new_tokens=NEW)]
    assert setup.ours([]) == []


def test_conversations_are_answered_with_messages(setup: Setup) -> None:
    for adapter in (None, "tales"):
        for chat in [*CHATS, PREFILL]:
            ((found),) = setup.ours(chat, adapter=adapter, max_new_tokens=NEW)
            ((live),) = setup.expected(adapter, chat)
            *before, last = found["generated_text"]
            *expected, answer = live["generated_text"]
            assert before == expected
            assert list(last) == list(answer) and last["role"] == "assistant"
            prefix = chat[-1]["content"] if chat is PREFILL else ""
            assert_alike(last["content"], answer["content"], prefix)
            assert len(last["content"]) > len(prefix)
            new = setup.ours(chat, adapter=adapter, max_new_tokens=NEW, return_full_text=False)
            assert new == [{"generated_text": last["content"][len(prefix) :]}]
    assert setup.ours(CHATS, max_new_tokens=NEW) == [setup.ours(chat, max_new_tokens=NEW) for chat in CHATS]
    mixed = [PROMPTS[0], CHATS[0]]
    assert setup.ours(mixed, max_new_tokens=NEW) == [setup.ours(each, max_new_tokens=NEW) for each in mixed]


def test_stop_strings_end_a_text_where_transformers_ends_it(setup: Setup) -> None:
    ends = set()
    for prompt in PROMPTS[:3]:
        ids, new = setup.tokens("tales", prompt)
        # transformers 4 does not see characters that are spread over several tokens.
        words = re.findall(r"[!-~]+", setup.text(ids, new))
        for stop in [word[-2:] for word in words[:2]]:
            _, expected = setup.tokens("tales", prompt, stop_strings=[stop, "quixotry"], tokenizer=setup.tokenizer)
            ((found),) = setup.ours(
                prompt, adapter="tales", max_new_tokens=NEW, stop_strings=[stop, "quixotry"], return_full_text=False
            )
            assert found["generated_text"] == setup.text(ids, expected)
            ends.add(len(expected))
    assert len(ends) > 1 and min(ends) < NEW


def test_rows_of_a_batch_stop_apart(setup: Setup) -> None:
    whole = setup.ours(PROMPTS, max_new_tokens=NEW, return_full_text=False)
    # Of characters that are one token or part of one, and not at the end: something is cut off.
    texts = [row[0]["generated_text"] for row in whole]
    row, stop = next(
        (row, word[:2]) for row, text in enumerate(texts) for word in re.findall(r"[!-~]{2,}(?=.)", text, re.S)
    )
    found = setup.ours(PROMPTS, max_new_tokens=NEW, return_full_text=False, stop_strings=stop)
    assert len(found[row][0]["generated_text"]) < len(texts[row])
    assert found == [
        setup.ours(prompt, max_new_tokens=NEW, return_full_text=False, stop_strings=stop) for prompt in PROMPTS
    ]


@pytest.mark.parametrize("options", [{"temperature": 0.7, "top_k": 20, "top_p": 0.9}, {"repetition_penalty": 1.5}])
def test_options_reach_the_sampler(setup: Setup, options: dict[str, Any]) -> None:
    plain = setup.ours(PROMPTS, max_new_tokens=NEW)
    first, again = (setup.ours(PROMPTS, max_new_tokens=NEW, seed=5, **options) for _ in range(2))
    assert first == again != plain
    assert first[1] == setup.ours(PROMPTS[1], max_new_tokens=NEW, seed=5, **options)
    if "temperature" in options:
        assert setup.ours(PROMPTS, max_new_tokens=NEW, seed=6, **options) != first
    else:
        for prompt, ((found),) in zip(PROMPTS, first, strict=True):
            ids, new = setup.tokens(None, prompt, repetition_penalty=1.5)
            assert found["generated_text"] == prompt + setup.text(ids, new)


def test_pieces_are_whole_characters_and_join_to_the_text(setup: Setup) -> None:
    for seed in range(6):
        for prompt in [*PROMPTS, CHATS[1], PREFILL]:
            options = {"adapter": "tales", "max_new_tokens": NEW, "temperature": 1.0, "seed": seed}
            pieces = list(setup.ours.stream(prompt, **options))
            ((found),) = setup.ours(prompt, return_full_text=False, **options)
            assert "".join(pieces) == found["generated_text"]
            assert all(pieces)
    stopped = list(setup.ours.stream(PROMPTS[0], max_new_tokens=NEW, stop_strings=found["generated_text"][:1]))
    ((found),) = setup.ours(
        PROMPTS[0], max_new_tokens=NEW, stop_strings=found["generated_text"][:1], return_full_text=False
    )
    assert "".join(stopped) == found["generated_text"]


def test_pieces_come_while_tokens_do(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    prompt, text = "The film", " was rather long, naïve ж"
    written = setup.tokenizer(prompt + text)["input_ids"][len(setup.tokenizer(prompt)["input_ids"]) :]
    steps = []

    def scripted(*_: Any) -> Iterator[Any]:
        for token in written:
            steps.append(token)
            yield np.array([token])

    monkeypatch.setattr(setup.ours._runner, "stream", scripted)
    pieces = setup.ours.stream(prompt, max_new_tokens=NEW)
    assert not steps
    found = ""
    for piece in pieces:
        found += piece
        assert text.startswith(found)
        # Each piece brings along all that is spelled so far.
        spelled = setup.text(setup.tokenizer(prompt)["input_ids"], steps)
        assert len(steps) == len(written) or found == spelled
    assert found == text


WRONG: list[tuple[Any, dict[str, Any], type[EdgeAdaptError], str]] = [
    (3, {}, InputError, "input 0: got int"),
    (["a", None], {}, InputError, "input 1: got NoneType"),
    ([[]], {}, InputError, "input 0: the conversation is empty"),
    ([{"role": "user"}], {}, InputError, "input 0: message 0 has no content"),
    ([CHATS[0], [CHATS[0][0], "hi"]], {}, InputError, "input 1: message 1 is str, expected a dict"),
    ([{"role": "user", "content": b"x"}], {}, InputError, "made of what JSON can hold"),
    ("a", {"adapter": "tails"}, AdapterError, r"There is no adapter 'tails' \(did you mean 'tales'\?\)"),
    (["a", "b"], {"adapter": ["tales"]}, InputError, "Got 1 adapters for 2 inputs"),
    (["a", "b"], {"adapter": ["tales", "x"]}, AdapterError, "There is no adapter 'x'"),
    ("a " * 200, {"max_new_tokens": 1}, InputError, r"the prompt has \d+ tokens, and the model has 128 positions"),
    ("a", {"max_new_tokens": 128}, InputError, r"max_new_tokens can be 12\d"),
    ("a", {}, InputError, "and 256 new ones are more than the model's 128 positions"),
    ("a", {"max_new_tokens": 0}, ConfigError, "max_new_tokens: got 0"),
    ("a", {"temperature": -1.0}, ConfigError, "temperature: got -1.0"),
    ("a", {"top_p": 2.0, "temperature": 1.0}, ConfigError, "top_p: got 2.0"),
    ("a", {"top_k": 5}, ConfigError, "top_k: has no effect at temperature 0"),
    ("a", {"repetition_penalty": 0.0}, ConfigError, "repetition_penalty: got 0.0"),
    ("a", {"seed": -1}, ConfigError, "seed: got -1"),
    ("a", {"stop_strings": ["x", ""]}, ConfigError, r"stop_strings: got \['x', ''\], expected texts that are not"),
]


@pytest.mark.parametrize(("inputs", "options", "error", "message"), WRONG, ids=[each[3] for each in WRONG])
def test_what_is_wrong_is_said_before_anything_is_run(
    setup: Setup, monkeypatch: pytest.MonkeyPatch, inputs: Any, options: Any, error: Any, message: str
) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("something was run")

    monkeypatch.setattr(setup.ours._runner, "stream", never)
    with pytest.raises(error, match=message):
        setup.ours(inputs, **{"max_new_tokens": NEW, **options} if options else {})
    one = not isinstance(inputs, list) or isinstance(inputs[0], dict)
    if one:
        with pytest.raises(error, match=message):
            setup.ours.stream(inputs, **{"max_new_tokens": NEW, **options} if options else {})


def test_batches_and_lists_that_make_no_sense_are_refused(setup: Setup) -> None:
    with pytest.raises(ConfigError, match="batch_size: got 0"):
        setup.ours("a", batch_size=0)
    with pytest.raises(InputError, match="One text or conversation can be streamed at a time"):
        setup.ours.stream(["a", "b"])


def test_an_empty_prompt_is_one_where_no_token_begins_a_text(setup: Setup) -> None:
    if setup.tokenizer("")["input_ids"]:
        ((found),) = setup.ours("", max_new_tokens=NEW)
        assert found["generated_text"] == setup.text(*setup.tokens(None, ""))
    else:
        with pytest.raises(InputError, match="row 1: the prompt is empty"):
            setup.ours(["a", ""], max_new_tokens=NEW)


def test_pieces_of_any_tokens_join_to_the_text(setup: Setup) -> None:
    """Bytes that are no character, special tokens between halves of one, spaces alone: what models seldom write."""
    vocabulary: Vocabulary = setup.ours._runner.vocabulary
    known = [setup.tokenizer(text)["input_ids"] for text in [*PROMPTS, "🚂 你好 ï"]]
    draw = random.Random(7)
    for _ in range(400):
        row = Continuation(vocabulary, draw.choice([[], *known]))
        pieces = []
        for token in _drawn(draw, known, len(setup.tokenizer)):
            row.add(token)
            pieces.append(row.piece())
        pieces.append(row.rest())
        assert "".join(pieces) == row.text()


def test_a_prompts_last_bytes_are_in_no_run_with_the_first_new_ones(setup: Setup) -> None:
    vocabulary: Vocabulary = setup.ours._runner.vocabulary
    prompt = setup.tokenizer("hello ж")["input_ids"]
    for new in (setup.tokenizer("ю")["input_ids"][-2:], setup.tokenizer("ж")["input_ids"][-1:]):
        row = Continuation(vocabulary, prompt, ["ю"])
        for token in new:
            row.add(token)
        assert row.text() == row.rest() == setup.tokenizer.decode(new)
        assert row.over == (row.text() == "ю")
    if (byte := vocabulary.id("<0x41>")) is not None:
        row = Continuation(vocabulary, prompt, ["A"])
        row.add(byte)
        assert row.over


def _drawn(draw: random.Random, known: Sequence[list[int]], size: int) -> list[int]:
    if draw.random() < 0.5:
        return draw.choice(known)
    return [draw.randrange(size) for _ in range(draw.randrange(1, 25))]

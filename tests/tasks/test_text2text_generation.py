"""Texts are rewritten as transformers does it with PEFT's adapters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import edgeadapt
from edgeadapt.cli.commands import commands
from edgeadapt.errors import AdapterError, ConfigError, EdgeAdaptError, InputError, UnsupportedError
from edgeadapt.exporter.pipeline import export
from tests import tiny
from tests.tasks.reference import TEXTS, transformers

TASK = "text2text-generation"
NEW = 10


@dataclass(frozen=True)
class Setup:
    """A bundle with the adapter `short`, its pipeline, and what transformers writes of a text."""

    bundle: Path
    ours: Any
    expected: Callable[..., str]


@pytest.fixture(scope="module")
def setup(tmp_path_factory: Any) -> Setup:
    import peft

    folder = tmp_path_factory.mktemp("rewriting")
    tiny.base(folder / "base", "t5", TASK)
    adapter = tiny.lora_adapter(folder / "base", folder / "short", TASK, 3, "all-linear", seed=3)
    bundle = export(folder / "base", {"short": adapter}, folder / "bundle").path
    auto, tokenizer = transformers.AutoModelForSeq2SeqLM, transformers.AutoTokenizer.from_pretrained(folder / "base")
    with tiny.quiet():
        plain = auto.from_pretrained(folder / "base").eval()
        wrapped: Any = peft.PeftModel.from_pretrained(auto.from_pretrained(folder / "base"), str(adapter))
    models = {None: plain, "short": wrapped.merge_and_unload().eval()}

    def expected(text: str, adapter: str | None = None, **options: Any) -> str:
        given = {"max_new_tokens": NEW, "do_sample": False, "num_beams": 1, **options}
        with tiny.quiet():
            if transformers.__version__.startswith("4."):
                model = transformers.pipeline(TASK, model=models[adapter], tokenizer=tokenizer, device="cpu")
                return str(model(text, **given)[0]["generated_text"])
            ids = models[adapter].generate(**tokenizer(text, return_tensors="pt"), **given)[0]
        return str(tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    return Setup(bundle, edgeadapt.pipeline(bundle), expected)


@pytest.mark.parametrize("adapter", [None, "short"])
def test_texts_are_rewritten_as_transformers_does(setup: Setup, adapter: str | None) -> None:
    for text in TEXTS:
        assert setup.ours(text, adapter=adapter, max_new_tokens=NEW) == [
            {"generated_text": setup.expected(text, adapter)}
        ]


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_a_list_has_an_adapter_for_each(setup: Setup, batch_size: int) -> None:
    adapters = ["short", None, "short", None]
    found = setup.ours(TEXTS, adapter=adapters, max_new_tokens=NEW, batch_size=batch_size)
    wanted = [setup.expected(text, adapter) for text, adapter in zip(TEXTS, adapters, strict=True)]
    assert found == [{"generated_text": text} for text in wanted]
    assert len(set(wanted)) > 1
    assert setup.ours([]) == []


def test_options_reach_the_sampler(setup: Setup) -> None:
    options = {"max_new_tokens": NEW, "temperature": 0.8, "top_k": 20, "seed": 5}
    first = setup.ours(TEXTS, **options)
    assert first == setup.ours(TEXTS, **options) != setup.ours(TEXTS, max_new_tokens=NEW)
    assert first[1:2] == setup.ours(TEXTS[1], **options)
    for text in TEXTS:
        (found,) = setup.ours(text, max_new_tokens=NEW, repetition_penalty=1.5)
        assert found["generated_text"] == setup.expected(text, repetition_penalty=1.5)


def test_pieces_join_to_the_text(setup: Setup) -> None:
    for text in TEXTS:
        (found,) = setup.ours(text, adapter="short", max_new_tokens=NEW)
        assert "".join(setup.ours.stream(text, adapter="short", max_new_tokens=NEW)) == found["generated_text"]


WRONG: list[tuple[Any, dict[str, Any], type[EdgeAdaptError], str]] = [
    (3, {}, InputError, "input 0: got int"),
    (["a", None], {}, InputError, "input 1: got NoneType"),
    ("a", {"adapter": "shirt"}, AdapterError, r"There is no adapter 'shirt' \(did you mean 'short'\?\)"),
    (["a", "b"], {"adapter": ["short"]}, InputError, "Got 1 adapters for 2 inputs"),
    ("a " * 200, {}, InputError, "The model takes at most 128 tokens"),
    ("a", {"max_new_tokens": 0}, ConfigError, "max_new_tokens: got 0"),
    ("a", {"temperature": -1.0}, ConfigError, "temperature: got -1.0"),
    ("a", {"batch_size": 0}, ConfigError, "batch_size: got 0"),
]


@pytest.mark.parametrize(("inputs", "options", "error", "message"), WRONG, ids=[each[3] for each in WRONG])
def test_what_is_wrong_is_said(setup: Setup, inputs: Any, options: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        setup.ours(inputs, **{"max_new_tokens": NEW, **options})


def test_long_texts_are_cut_where_that_is_asked_for(setup: Setup) -> None:
    assert setup.ours("a " * 200, max_new_tokens=NEW, truncation=True)[0].keys() == {"generated_text"}


def test_a_session_refuses_what_an_encoder_has_no_part_in(setup: Setup) -> None:
    session: Any = edgeadapt.load(setup.bundle)
    with pytest.raises(UnsupportedError, match=r"An encoder runs once, .* call generate\(...\) or read\(...\)"):
        session.run({})
    with pytest.raises(UnsupportedError, match="Nothing begins without what the encoder reads"):
        session.begin()
    for given, mask, message in (
        ([], None, "expected an array or a list of one row or more"),
        ([[3], []], None, "row 1: is empty"),
        ([[3, -1]], None, "row 0: -1 is no token"),
        ([["a"]], None, "row 0: got list of <U1, expected whole numbers"),
        ([[3]], [[1]], "attention_mask: is for an array"),
    ):
        with pytest.raises(InputError, match=message):
            session.generate(given, mask)
    with pytest.raises(InputError, match="decoder_input_ids: got 2 rows for 1 inputs"):
        session.generate([[5, 3]], decoder_input_ids=[[0], [0]])
    with pytest.raises(InputError, match="decoder_input_ids: expected tokens"):
        session.generate([[5, 3]], decoder_input_ids=[0.5])


def test_the_command_line_writes_a_text_as_it_comes(setup: Setup) -> None:
    asked = ["run", str(setup.bundle), "--text", TEXTS[0], "--adapter", "short", "--max-new-tokens", str(NEW)]
    result = CliRunner().invoke(commands, asked)
    assert result.exit_code == 0
    assert result.stdout == setup.expected(TEXTS[0], "short") + "\n"
    refused = CliRunner().invoke(commands, [*asked, "--chat"])
    assert refused.exit_code == 2 and "--chat has no meaning for text2text-generation" in refused.stderr
    shown = CliRunner().invoke(commands, ["inspect", str(setup.bundle)])
    assert shown.exit_code == 0 and TASK in shown.stdout

"""The base's chat template in a bundle: as the tokenizer has it, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgeadapt.bundle import ChatRecord
from edgeadapt.errors import InputError, UnsupportedError
from edgeadapt.exporter import chats, preprocess
from edgeadapt.runtime.chat import ChatTemplate
from tests.tasks.decoders import CHATML, LLAMA, base
from tests.tasks.reference import transformers, word_pieces


def written(live: Any, folder: Path) -> ChatRecord | None:
    config = transformers.AutoConfig.for_model("gpt2", pad_token_id=0)
    return chats.record(live, preprocess.tokenizer_record(live, config, folder), folder)


@pytest.mark.parametrize(("kind", "template"), [("byte level", CHATML), ("sentence pieces", LLAMA)])
def test_a_template_is_written_with_the_tokens_it_may_write(kind: str, template: str, tmp_path: Path) -> None:
    live = base(tmp_path / "base", kind)
    record = written(live, tmp_path)
    assert record is not None and record.file == "chat_template.jinja"
    assert (tmp_path / record.file).read_bytes() == template.encode()
    assert record.tokens["eos_token"] == live.eos_token
    assert record.tokens.get("bos_token") == live.bos_token
    ours = ChatTemplate(tmp_path / record.file, record)
    assert ours.render(chats.CHATS[0]) == live.apply_chat_template(
        chats.CHATS[0], tokenize=False, add_generation_prompt=True
    )


def test_line_ends_stay_as_they_are(tmp_path: Path) -> None:
    live = word_pieces(tmp_path / "base")
    live.chat_template = "{{ messages[0].content }}\r\n{% if true %}\r\nx{% endif %}"
    record = written(live, tmp_path)
    assert record is not None
    assert (tmp_path / record.file).read_bytes() == live.chat_template.encode()


def test_of_several_templates_the_default_one_is_taken(tmp_path: Path) -> None:
    live = word_pieces(tmp_path / "base")
    live.chat_template = {"tool_use": "no", "default": "{{ messages[-1]['content'] }}"}
    record = written(live, tmp_path)
    assert record is not None
    assert (tmp_path / record.file).read_text() == "{{ messages[-1]['content'] }}"
    live.chat_template = {"tool_use": "no", "rag": "no"}
    assert written(live, tmp_path) is None


def test_without_a_template_there_is_none(tmp_path: Path) -> None:
    assert written(word_pieces(tmp_path / "base"), tmp_path) is None
    assert chats.record(None, None, tmp_path) is None
    assert not (tmp_path / "chat_template.jinja").exists()


def test_a_template_that_is_rendered_otherwise_is_refused(tmp_path: Path) -> None:
    live = word_pieces(tmp_path / "base")
    live.chat_template = "{{ messages[-1]['content'] }}"
    said = preprocess.tokenizer_record(live, transformers.AutoConfig.for_model("gpt2", pad_token_id=0), tmp_path)

    class Shouting:
        def __getattr__(self, name: str) -> Any:
            return getattr(live, name)

        def apply_chat_template(self, chat: Any, **options: Any) -> Any:
            return live.apply_chat_template([{**each, "content": each["content"].upper()} for each in chat], **options)

    class Refusing(Shouting):
        def apply_chat_template(self, chat: Any, **options: Any) -> Any:
            raise ValueError("never")

    with pytest.raises(
        UnsupportedError, match=r"would render otherwise:\n  got: .*opened in .*\n  expected: .*OPENED IN"
    ):
        chats.record(Shouting(), said, tmp_path)
    with pytest.raises(UnsupportedError, match=r"expected: .*refused: never"):
        chats.record(Refusing(), said, tmp_path)


def test_the_conversations_show_what_a_template_does(tmp_path: Path) -> None:
    """A template that refuses all of them would prove nothing; those here take most."""
    for text, least in ((CHATML, 4), (LLAMA, 2)):
        (tmp_path / "t.jinja").write_text(text)
        template = ChatTemplate(tmp_path / "t.jinja", ChatRecord("t.jinja", {"bos_token": "<s>", "eos_token": "</s>"}))
        done = 0
        for chat in chats.CHATS:
            try:
                done += bool(template.render(chat))
            except InputError:
                continue
        assert done >= least

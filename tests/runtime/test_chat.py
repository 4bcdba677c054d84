"""Conversations become the prompts that transformers makes of them, by templates that can do no harm."""

from __future__ import annotations

import builtins
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from edgeadapt.bundle import ChatRecord
from edgeadapt.errors import BundleError, InputError, UnsupportedError
from edgeadapt.runtime import chat as chats
from edgeadapt.runtime.chat import ChatTemplate
from tests.tasks.decoders import CHATML, LLAMA
from tests.tasks.reference import word_pieces

TOKENS = {"bos_token": "[CLS]", "eos_token": "[SEP]"}
USER = {"role": "user", "content": "  Was it <late> in \"Köln\"? It's 5 o'clock\n"}
ANSWER = {"role": "assistant", "content": "It was. "}
CHATS: list[list[dict[str, Any]]] = [
    [USER],
    [{"role": "system", "content": "Be short."}, USER],
    [USER, ANSWER, {"role": "user", "content": "Why?"}],
    [USER, ANSWER],
    [{**USER, "extra": [1, 2.5, None, {"a": "ü<"}]}],
]

TEMPLATES = {
    "chatml": CHATML,
    "llama": LLAMA,
    "json": "{# content #}{{ messages | tojson }}{{ messages[0] | tojson(indent=2) }}{{ tools }}{{ documents }}",
    "loops": """
{% for message in messages %}
    {% if loop.index > 2 %}{% break %}{% endif %}
    {% if message.role == 'system' %}
        {% continue %}
    {% endif %}
    {{ message.role }}: {{ message.content | trim }}
{% endfor %}
""",
    "state": """
{%- set state = namespace(users=0, last=none) -%}
{%- for message in messages if message['role'] == 'user' -%}
    {%- set state.users = state.users + 1 %}{% set state.last = message -%}
{%- endfor -%}
{{ dict(users=state.users, last=state.last.content) | tojson }} {{ messages[-1]['content'] }}{{ add_generation_prompt }}
""",
    "year": "{{ strftime_now('%Y-%m') }} {{ messages[-1].content.strip() }}\n\n",
    "undefined": "{{ bos_token }}{{ none_such }}{{ messages[-1].content }}{% if thinks is not defined %}?{% endif %}",
    "lines": "a\r\n{% if true %}\r\n  b{{ messages[-1].content }}\r\n{% endif %}\nc\n",
}


def template(folder: Path, text: str, tokens: Mapping[str, str] = TOKENS) -> ChatTemplate:
    (folder / "chat_template.jinja").write_bytes(text.encode())
    return ChatTemplate(folder / "chat_template.jinja", ChatRecord("chat_template.jinja", dict(tokens)))


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Any:
    tokenizer = word_pieces(tmp_path_factory.mktemp("tokenizer"))
    tokenizer.bos_token, tokenizer.eos_token = TOKENS.values()
    return tokenizer


def expected(live: Any, text: str, chat: Sequence[Mapping[str, Any]]) -> str:
    unfinished = chat[-1]["role"] == "assistant"
    rendered: str = live.apply_chat_template(
        chat,
        chat_template=text,
        tokenize=False,
        add_generation_prompt=not unfinished,
        continue_final_message=unfinished,
    )
    return rendered


@pytest.mark.parametrize("chat", CHATS, ids=range(len(CHATS)))
@pytest.mark.parametrize("name", TEMPLATES)
def test_prompts_are_those_of_transformers(name: str, chat: list[dict[str, Any]], live: Any, tmp_path: Path) -> None:
    ours = template(tmp_path, TEMPLATES[name])
    before = json.dumps(chat)
    try:
        wanted = expected(live, TEMPLATES[name], chat)
    except Exception:
        with pytest.raises(InputError):
            ours.render(chat)
    else:
        assert ours.render(chat) == wanted
    assert json.dumps(chat) == before


def test_most_of_these_are_rendered(live: Any) -> None:
    """Else the test above would compare refusals alone."""
    done = 0
    for text in TEMPLATES.values():
        for chat in CHATS:
            try:
                done += bool(expected(live, text, chat))
            except Exception:
                continue
    assert done >= 30


@pytest.mark.transformers5
def test_keys_without_value_and_other_names_of_reasoning_are_those_of_transformers(live: Any, tmp_path: Path) -> None:
    text = "{% for m in messages %}{{ m | tojson }}{{ m.thinking }}{{ m.reasoning_content }}{% endfor %}"
    for key in ("reasoning", "thinking", "reasoning_content"):
        chat: list[dict[str, Any]] = [
            USER,
            {"role": "assistant", "content": "x", key: "since", "tool_calls": None},
            USER,
        ]
        assert template(tmp_path, text).render(chat) == expected(live, text, chat)


def test_what_a_template_refuses_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"does not take this conversation:\n  Roles must alternate user/assistant"):
        template(tmp_path, LLAMA).render([USER, USER])
    with pytest.raises(InputError, match="does not take this conversation"):
        template(tmp_path, "{{ messages[7].content + 1 }}").render([USER])


def test_words_to_go_on_from_have_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="drops the assistant's last words"):
        template(tmp_path, "{{ messages[0].content }}").render([USER, ANSWER])
    with pytest.raises(InputError, match="its content has to be text"):
        template(tmp_path, CHATML).render([USER, {"role": "assistant", "content": None}])


class Tricky:
    def __repr__(self) -> str:
        return "tricky"


def test_only_json_gets_into_a_template(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="made of what JSON can hold: Object of type Tricky"):
        template(tmp_path, CHATML).render([{"role": "user", "content": Tricky()}])
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(InputError, match="made of what JSON can hold"):
        template(tmp_path, CHATML).render([{"role": "user", "content": endless}])


@pytest.mark.parametrize(
    "text",
    [
        "{{ messages.__class__.__mro__ }}",
        "{{ ''.__class__.__base__.__subclasses__() }}",
        "{{ raise_exception.__globals__.json }}",
        "{{ dict.__class__.__mro__ }}",
        "{{ dict.__call__.__globals__ }}",
        "{{ namespace.__init__.__globals__ }}",
        "{% set n = namespace(__init__=1) %}{{ n }}",
        "{% set n = namespace() %}{% set n._x = 1 %}{{ n }}",
        "{{ cycler.__init__.__globals__.os }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update(role='system') }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
    ],
)
def test_a_template_can_do_no_harm(text: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not take this conversation"):
        template(tmp_path, text).render([USER])


def test_a_file_that_is_no_template_is_refused(tmp_path: Path) -> None:
    for text in ("{% for %}", "{{ x", "{% generation %}"):
        with pytest.raises(BundleError, match=r"chat_template\.jinja can't be read as a chat template"):
            template(tmp_path, text)
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff\xfe")
    with pytest.raises(BundleError, match="can't be read as a chat template"):
        ChatTemplate(tmp_path / "chat_template.jinja", ChatRecord("chat_template.jinja", {}))


def test_tokens_take_no_ones_place(tmp_path: Path) -> None:
    tokens = {"messages": "no", "add_generation_prompt": "no", "eos_token": "!"}
    text = "{{ messages[0].role }}{{ add_generation_prompt }}{{ eos_token }}"
    assert template(tmp_path, text, tokens).render([USER]) == "userTrue!"


def test_threads_share_a_template(tmp_path: Path) -> None:
    ours = template(tmp_path, TEMPLATES["state"])
    many = [[*([USER, ANSWER] * count), USER] for count in range(40)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ours.render, many)) == [ours.render(chat) for chat in many]


def test_without_jinja2_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(chats, "_version", lambda: (3, 1, 5))
    with pytest.raises(UnsupportedError, match=r"jinja2, 3\.1\.6 or newer, which is too old"):
        template(tmp_path, CHATML)
    original = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] == "jinja2":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UnsupportedError, match=r'is not installed.\nInstall it: pip install "edgeadapt\[pipeline\]"'):
        template(tmp_path, CHATML)

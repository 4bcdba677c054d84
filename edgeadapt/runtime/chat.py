"""Conversations to prompts, with the base's chat template and jinja2: a program from elsewhere, run in a sandbox.

Source: `render_jinja_template` and `_compile_jinja_template` of `transformers.utils.chat_template_utils`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeadapt.errors import BundleError, InputError, UnsupportedError

if TYPE_CHECKING:
    from jinja2 import Environment

    from edgeadapt.bundle import ChatRecord

_OLDEST = (3, 1, 6)  # templates can leave the sandbox of older ones
_TAG = "CONTINUE_FINAL_MESSAGE_TAG "
_REASONING = ("reasoning_content", "thinking", "reasoning")


class ChatTemplate:
    """A bundle's chat template; any number of threads can share one.

    Args:
        file: The Jinja template.
        record: What the manifest says of it.

    Raises:
        UnsupportedError: jinja2 is not installed, or too old.
        BundleError: The file can't be read as a template.
    """

    def __init__(self, file: Path, record: ChatRecord) -> None:
        environment = _environment()
        try:
            # As bytes: line ends stay as they are.
            self._template = environment.from_string(file.read_bytes().decode())
        except Exception as error:  # jinja2's own errors, and whatever a broken file makes of it
            raise BundleError(f"{file} can't be read as a chat template: {error}\nExport the bundle again.") from error
        self._tokens = record.tokens

    def render(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """Returns the prompt of a conversation; one that ends with the assistant's words is to go on from them.

        Raises:
            InputError: The messages are no JSON, or the template refuses them or drops the words to go on from.

        Example:
            >>> template.render([{"role": "user", "content": "Hello"}])  # doctest: +SKIP
            '<|user|>Hello<|assistant|>'
        """
        chat = _plain(messages)
        last = chat[-1]
        unfinished = last.get("role") == "assistant"
        words = last.get("content")
        if unfinished:
            if not isinstance(words, str):
                raise InputError("The assistant's message to go on from: its content has to be text.")
            last["content"] = words + _TAG
        given = {"messages": chat, "tools": None, "documents": None, "add_generation_prompt": not unfinished}
        try:
            rendered: str = self._template.render({**self._tokens, **given})
        except Exception as error:  # a template is a program, and can fail in any way
            raise InputError(f"The bundle's chat template does not take this conversation:\n  {error}") from error
        return _cut(rendered, str(words)) if unfinished else rendered


def _plain(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns a copy of the messages in plain JSON types, so that a template meets no object with methods of its own.

    Keys without a value are left out, and a message's reasoning has all the names that templates read it under, as in
    transformers 5.
    """
    try:
        copies = json.loads(json.dumps(list(messages)))
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"A conversation has to be made of what JSON can hold: {error}.") from error
    chat = []
    for message in copies:
        fields = {key: value for key, value in message.items() if value is not None}
        reasoning = next((fields[key] for key in _REASONING if key in fields), None)
        chat.append(fields if reasoning is None else {"thinking": reasoning, **fields, "reasoning_content": reasoning})
    return chat


def _cut(rendered: str, words: str) -> str:
    """Returns a prompt up to the words that it is to go on from, as far as the template kept them."""
    tag = _TAG.strip()
    if words.strip() not in rendered or tag not in rendered:
        raise InputError(
            "The bundle's chat template drops the assistant's last words, so they can't be gone on from.\n"
            "End the conversation with a message of the user."
        )
    place = rendered.rindex(tag)
    kept = rendered[:place]
    # Without the space after it, the template trims messages.
    return kept if rendered[place : place + len(_TAG)] == _TAG else kept.rstrip()


def _environment() -> Environment:
    try:
        import jinja2
        from jinja2.ext import Extension, loopcontrols
        from jinja2.nodes import CallBlock
        from jinja2.sandbox import ImmutableSandboxedEnvironment
        from jinja2.utils import Namespace
    except ImportError as error:
        raise UnsupportedError(_missing("is not installed")) from error
    if _version() < _OLDEST:
        raise UnsupportedError(_missing("is too old, and templates can leave its sandbox"))

    class Answers(Extension):
        """`{% generation %}`: what trainers mark as the assistant's words, rendered like all the rest."""

        tags = {"generation"}  # noqa: RUF012  # as jinja2 declares it

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return CallBlock(self.call_method("_words"), [], [], body).set_lineno(line)

        def _words(self, caller: Any) -> Any:
            return caller()

    class Names(Namespace):
        """`namespace(...)` without names that lead to Python's insides."""

        def __init__(*args: Any, **names: Any) -> None:  # `self` can be one of the names
            members = dict(*args[1:], **names)
            for name in members:
                _check(name)
            Namespace.__init__(args[0], members)

        def __setitem__(self, name: str, value: Any) -> None:
            _check(name)
            Namespace.__setitem__(self, name, value)

    def _check(name: object) -> None:
        if isinstance(name, str) and name.startswith("_"):
            raise jinja2.exceptions.SecurityError(f"a namespace can't have the name {name!r}")

    def refuse(message: str) -> None:
        raise jinja2.exceptions.TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Answers, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals.update(
        raise_exception=refuse, strftime_now=lambda form: datetime.now().strftime(form), dict=_Dict(), namespace=Names
    )
    return environment


class _Dict:
    """`dict` as templates may use it: without the type's other attributes."""

    def __call__(self, *args: Any, **members: Any) -> dict[Any, Any]:
        return dict(*args, **members)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


def _to_json(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    """Returns JSON in which `<` and `'` are left as they are, unlike with jinja2's own filter."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _version() -> tuple[int, ...]:
    from importlib.metadata import version

    return tuple(int(part) for part in version("jinja2").split(".")[:3] if part.isdigit())


def _missing(problem: str) -> str:
    oldest = ".".join(map(str, _OLDEST))
    return (
        f"A conversation needs the package jinja2, {oldest} or newer, which {problem}.\n"
        'Install it: pip install "edgeadapt[pipeline]"'
    )

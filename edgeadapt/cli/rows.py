"""The inputs of `edgeadapt run`, from its options or from JSON Lines; whatever is wrong with any is said at once."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from edgeadapt.errors import ConfigError, EdgeAdaptError, InputError, listed, nearest

if TYPE_CHECKING:
    from edgeadapt.runtime import Session

Choice: TypeAlias = str | Mapping[str, float] | None

SHAPES_OF_INPUT: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "text": (("text",), ("text", "text_pair")),
    "text_pair": (("question", "context"),),
    "choices": (("question", "choices"),),
    "image": (("image",),),
    "audio": (("audio",),),
}
"""The keys that a row of each kind of input may have, beside `adapter`."""

_EXPECTED: Mapping[str, str] = {"choices": "a list of texts"}
"""What a key holds, where it isn't one text."""

SHAPES = tuple(shape for shapes in SHAPES_OF_INPUT.values() for shape in shapes)


@dataclass(frozen=True, slots=True)
class Row:
    """One input.

    Attributes:
        place: Where it was given, for messages: `line 3`, `--text 2`.
        keys: Which of `SHAPES` it is.
        value: What a pipeline takes: a text, a path, a dict of texts or of a text and a list, or a conversation.
        adapter: What it is run with.
    """

    place: str
    keys: tuple[str, ...]
    value: Any
    adapter: Choice


def given(kind: str, values: Sequence[str], adapters: Sequence[str]) -> list[Row]:
    """Returns the rows of `--text` or `--image` (`kind`), with one adapter for all or one for each.

    Raises:
        ConfigError: There are other numbers of them.
    """
    if len(adapters) not in (0, 1, len(values)):
        raise ConfigError(
            f"Got {len(adapters)} adapters for {len(values)} inputs.\n"
            f"Give --adapter once for all of them, or once for each --{kind}."
        )
    chosen: Sequence[Choice] = adapters if len(adapters) == len(values) else [*adapters, None][:1] * len(values)
    return [
        Row(f"--{kind} {number}", (kind,), value, adapter)
        for number, (value, adapter) in enumerate(zip(values, chosen, strict=True), start=1)
    ]


def read(lines: Iterable[str], source: str, adapters: Sequence[str]) -> list[Row]:
    """Returns the rows of JSON Lines; `adapters` has at most one, for lines that name none. Empty lines are left out.

    Raises:
        ConfigError: There is more than one adapter.
        InputError: A line is no JSON, or no row; all of them.
    """
    if len(adapters) > 1:
        raise ConfigError('With --input, give --adapter once at most; a line can name its own as "adapter".')
    default = adapters[0] if adapters else None
    rows, problems = [], []
    try:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    rows.append(_row(f"line {number}", json.loads(line), default))
                except (ValueError, RecursionError) as error:
                    problems.append(f"line {number}: {error}")
    except UnicodeDecodeError as error:
        raise InputError(f"{source} is not UTF-8 text: {error}.") from error
    if problems:
        raise InputError.collect(
            f"{source} has lines that can't be run:",
            _cut(problems),
            f"A line has the keys {'; or '.join(' and '.join(keys) for keys in SHAPES)}; and adapter, if need be.",
        )
    return rows


def check(rows: Sequence[Row], session: Session) -> None:
    """Refuses rows that don't fit the bundle, before anything is run.

    Raises:
        InputError: A row is of another kind than the bundle's task takes.
        EdgeAdaptError: An adapter is unknown or a blend has no meaning.
    """
    from edgeadapt import tasks

    task = tasks.get(session.manifest.task)
    takes_images = any(tensor.name == "pixel_values" for tensor in session.manifest.inputs)
    fits = SHAPES_OF_INPUT["image" if takes_images else task.INPUT]
    if task.CACHED:
        fits = tuple(keys for keys in fits if len(keys) == 1)  # one text goes on, and a pair doesn't
    taken = " or ".join(" and ".join(keys) for keys in fits)
    problems = [
        f"{row.place}: got {' and '.join(row.keys)}, and {task.NAME} takes {taken}"
        for row in rows
        if row.keys not in fits
    ]
    if problems:
        raise InputError.collect("The bundle can't run these inputs:", _cut(problems))
    _check_adapters(rows, session)


def _check_adapters(rows: Sequence[Row], session: Session) -> None:
    errors: dict[str, EdgeAdaptError] = {}
    places: dict[str, list[str]] = {}
    for row in rows:
        try:
            session.labels(row.adapter)
        except EdgeAdaptError as error:
            errors.setdefault(str(error), error)
            places.setdefault(str(error), []).append(row.place)
    if len(errors) == 1:
        raise next(iter(errors.values()))
    if errors:
        told = [f"{listed(places[text], 3)}: {text.partition(chr(10))[0]}" for text in errors]
        remedy = f"The bundle has the adapters {listed(list(session.adapters))}."
        raise InputError.collect("The bundle hasn't got what these ask for:", _cut(told), remedy)


def settings(pipeline: Callable[..., Any], task: str, said: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options of a pipeline's call: those of `said` that are not None.

    Raises:
        ConfigError: The task has no use for some of them.
    """
    given = {name: value for name, value in said.items() if value is not None}
    idle = [f"--{name.replace('_', '-')}" for name in given if name not in inspect.signature(pipeline).parameters]
    if idle:
        raise ConfigError(_idle(idle, task))
    return given


def chats(rows: Sequence[Row], task: str) -> list[Row]:
    """Returns rows of text as conversations, each of one message of the user's.

    Raises:
        ConfigError: The task answers nobody.
    """
    from edgeadapt import tasks

    if tasks.get(task).NAME != "text-generation":
        raise ConfigError(_idle(["--chat"], task))
    return [replace(row, value=[{"role": "user", "content": row.value}]) for row in rows]


def _idle(options: Sequence[str], task: str) -> str:
    have, them = ("has", "it") if len(options) == 1 else ("have", "them")
    return f"{listed(options)} {have} no meaning for {task}.\nLeave {them} out."


def _row(place: str, document: Any, default: Choice) -> Row:
    """Returns one line as a row; a ValueError says what is wrong with it."""
    if not isinstance(document, dict):
        raise ValueError(f"expected an object, got {json.dumps(document):.40}")
    fields = dict(document)
    adapter = fields.pop("adapter", default)
    if not (adapter is None or isinstance(adapter, (str, dict))):
        raise ValueError(f"adapter: expected a name, null or a blend, got {json.dumps(adapter):.40}")
    keys = next((keys for keys in SHAPES if set(keys) == set(fields)), None)
    if keys is None:
        known = [key for shape in SHAPES for key in shape] + ["adapter"]
        hints = [key if key in known else f"{key}{nearest(key, known)}" for key in fields]
        raise ValueError(f"got the keys {listed(hints)}")
    wrong = [f"{key}: expected {_EXPECTED.get(key, 'text')}" for key in keys if not _is_text(key, fields[key])]
    if wrong:
        raise ValueError("; ".join(wrong))
    return Row(place, keys, fields[keys[0]] if len(keys) == 1 else fields, adapter)


def _is_text(key: str, value: Any) -> bool:
    if key in _EXPECTED:
        return isinstance(value, list) and all(isinstance(each, str) for each in value)
    return isinstance(value, str)


def _cut(problems: Sequence[str], most: int = 20) -> list[str]:
    return [*problems[:most], *([f"and {len(problems) - most} more"] if len(problems) > most else [])]

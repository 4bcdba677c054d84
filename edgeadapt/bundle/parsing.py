"""JSON text to records and back, strictly: the records' annotations are the schema.

Unknown keys, missing keys, wrong types and broken rules are all collected, each with its JSON path.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import types
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

RecordT = TypeVar("RecordT")

_LINE = 120
_KINDS: dict[object, str] = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def loads(text: str) -> Any:
    """Parses JSON strictly: no NaN or Infinity, no number beyond a double, no key twice, no half of a surrogate pair.

    Raises:
        ValueError: The text is anything else.
    """
    try:
        document = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("it holds half of a surrogate pair") from None
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Returns one object; its keys are there once in memory, as thousands of records name the same sites."""
    members: dict[str, Any] = {}
    for key, value in pairs:
        if key in members:
            raise ValueError(f"the key {key!r} stands twice in one object")
        members[sys.intern(key)] = value
    return members


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"the number {digits[:40]} is too large")
    return number


def dumps(record: Any) -> str:
    """Renders a record as indented JSON with a newline last; what fits on one line stands on one.

    Raises:
        TypeError: A value has no JSON form.
        ValueError: A number is NaN or infinite.
    """
    return f"{_render(dataclasses.asdict(record), 0)}\n"


def _render(value: Any, depth: int) -> str:
    line = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if not isinstance(value, dict | list | tuple) or 2 * depth + len(line) < _LINE:
        return line
    if isinstance(value, dict):
        members = [f"{json.dumps(key, ensure_ascii=False)}: {_render(value[key], depth + 1)}" for key in value]
    else:
        members = [_render(member, depth + 1) for member in value]
    inner = ",\n".join(f"{'  ' * (depth + 1)}{member}" for member in members)
    left, right = "{}" if isinstance(value, dict) else "[]"
    return f"{left}\n{inner}\n{'  ' * depth}{right}"


def parse(record: type[RecordT], document: object) -> tuple[RecordT | None, list[str]]:
    """Returns the record that `document` holds, or None and every problem with its JSON path.

    Example:
        >>> from edgeadapt.bundle.records import FileRecord
        >>> parse(FileRecord, {"bytes": -1, "md5": ""})[1]
        ['$.md5: unknown key', '$.sha256: missing', '$.bytes: expected a number of 0 or more, got -1']
    """
    problems: list[str] = []
    value = _parse(record, document, "$", problems)
    return (None if problems else value), problems


def _parse(kind: Any, value: Any, path: str, problems: list[str]) -> Any:
    """Returns `value` as `kind` has it; after a problem, whatever it is, as the caller won't use it."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        count = len(problems)
        parsed = _parse(arguments[0], value, path, problems)
        rules = arguments[1:] if len(problems) == count else ()
        problems += [
            f"{path}: expected {rule.expected}, got {_shown(value)}" for rule in rules if not rule.holds(parsed)
        ]
        return parsed
    if origin in (Union, types.UnionType):
        return _parse_union(arguments, value, path, problems)
    if origin is tuple and isinstance(value, list | tuple):
        return _parse_tuple(arguments, value, path, problems)
    if origin is dict and isinstance(value, dict):
        return {
            _parse(arguments[0], key, f"{_at(path, key)} (the key)", problems): _parse(
                arguments[1], member, _at(path, key), problems
            )
            for key, member in value.items()
        }
    if dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
        return _parse_record(kind, value, path, problems)
    if kind is float and type(value) is int and value.bit_length() < 1024:
        return float(value)
    # `type is`, not isinstance: True is no whole number here.
    if kind is Any or (origin is Literal and value in arguments) or type(value) is kind:
        return value
    problems.append(f"{path}: expected {_expected(kind)}, got {_shown(value)}")
    return value


def _parse_record(kind: Any, value: Mapping[str, Any], path: str, problems: list[str]) -> Any:
    hints = _hints(kind)
    problems += [f"{_at(path, key)}: unknown key" for key in value if key not in hints]
    problems += [f"{_at(path, key)}: missing" for key in hints if key not in value]
    fields = {key: _parse(hint, value[key], _at(path, key), problems) for key, hint in hints.items() if key in value}
    return kind(**fields) if len(fields) == len(hints) else None


def _parse_tuple(kinds: tuple[Any, ...], value: Any, path: str, problems: list[str]) -> tuple[Any, ...]:
    if kinds[-1] is Ellipsis:
        kinds = kinds[:1] * len(value)
    elif len(kinds) != len(value):
        problems.append(f"{path}: expected {len(kinds)} members, got {len(value)}")
    return tuple(
        _parse(kind, member, f"{path}[{index}]", problems)
        for index, (kind, member) in enumerate(zip(kinds, value, strict=False))
    )


def _parse_union(kinds: tuple[Any, ...], value: Any, path: str, problems: list[str]) -> Any:
    closest: list[str] = []
    for kind in kinds:
        found: list[str] = []
        parsed = _parse(kind, value, path, found)
        if not found:
            return parsed
        # The kind that failed inside, or by a rule, is the one that was meant; the others have another type.
        if not found[0].startswith(f"{path}: expected {_expected(kind)}, got"):
            closest = found if not closest or len(found) < len(closest) else closest
    expected = " or ".join(dict.fromkeys(_expected(kind) for kind in kinds))
    problems += closest or [f"{path}: expected {expected}, got {_shown(value)}"]
    return value


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _at(path: str, key: str) -> str:
    return f"{path}.{key}" if key.isidentifier() else f"{path}[{json.dumps(key, ensure_ascii=False)}]"


def _expected(kind: Any) -> str:
    if get_origin(kind) is Annotated:
        return _expected(get_args(kind)[0])
    if get_origin(kind) is Literal:
        return " or ".join(repr(choice) for choice in get_args(kind))
    if kind is type(None):
        return "null"
    if get_origin(kind) is tuple:
        return "a list"
    return _KINDS.get(kind, "an object")


def _shown(value: object) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

"""Reads YAML strictly: only known keys, only the kinds that are asked for, and every problem with its line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import yaml

from edgeadapt.errors import ConfigError, nearest

_KINDS = {"str": "text", "int": "a whole number", "float": "a number", "bool": "true or false", "null": "nothing"}

T = TypeVar("T")
Node: TypeAlias = yaml.Node
Mapped: TypeAlias = yaml.MappingNode


def compose(path: Path) -> Node:
    """Returns the YAML of a file as nodes, which know their lines.

    Raises:
        ConfigError: It can't be read, is no YAML, or is empty.
    """
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: {error}.") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
        raise ConfigError(f"{path} is not YAML:\n  {where}{error.problem or error.context}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    if node is None:
        raise ConfigError(f"{path} is empty.")
    return node


class Reader:
    """Takes values out of nodes; what is wrong becomes a problem and the value None, so that reading goes on."""

    def __init__(self) -> None:
        self._problems: list[tuple[int, str]] = []
        self._loader = yaml.SafeLoader("")

    @property
    def problems(self) -> list[str]:
        """What is wrong so far, in the order of the lines."""
        return [f"line {line}: {problem}" for line, problem in sorted(self._problems)]

    def wrong(self, node: Node, problem: str) -> None:
        """Keeps a problem with the node's line."""
        self._problems.append((node.start_mark.line + 1, problem))

    def entries(self, node: Node | None, name: str) -> Iterator[tuple[str, Node, Node]]:
        """Yields the key of each entry of a mapping, where it stands, and its value."""
        if node is None:
            return
        if not isinstance(node, yaml.MappingNode):
            self.wrong(node, f"{name}: expected keys with values, got {_shown(node)}")
            return
        seen: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.wrong(key, f"{name}: a key has to be text")
            elif key.value in seen:
                self.wrong(key, f"{key.value!r} stands in line {seen[key.value]} already")
            else:
                seen[key.value] = key.start_mark.line + 1
                yield key.value, key, value

    def fields(self, node: Node | None, name: str, known: tuple[str, ...]) -> dict[str, Node]:
        """Returns the values of a mapping that may have only `known` keys."""
        found = {}
        for key, where, value in self.entries(node, name):
            if key in known:
                found[key] = value
            else:
                self.wrong(where, f"{name} has no key {key!r}{nearest(key, known)}")
        return found

    def text(self, node: Node | None, name: str) -> str | None:
        """Returns text that is not empty."""
        value = self._scalar(node, name, "str")
        if value == "" and node is not None:
            self.wrong(node, f"{name}: is empty")
            return None
        return None if value is None else str(value)

    def integer(self, node: Node | None, name: str) -> int | None:
        """Returns a whole number."""
        value = self._scalar(node, name, "int")
        return None if value is None else int(value)

    def boolean(self, node: Node | None, name: str) -> bool | None:
        """Returns true or false."""
        value = self._scalar(node, name, "bool")
        return None if value is None else bool(value)

    def number(self, node: Node | None, name: str) -> float | None:
        """Returns a number; `1e-4` is one here, though to YAML it is text, for want of a dot."""
        if isinstance(node, yaml.ScalarNode) and node.style is None:
            try:
                return float(node.value)
            except ValueError:
                pass
        value = self._scalar(node, name, "float")
        return None if value is None else float(value)

    def texts(self, node: Node | None, name: str) -> tuple[str, ...] | None:
        """Returns a list of texts, one at least."""
        if node is None:
            return None
        if not isinstance(node, yaml.SequenceNode) or not node.value:
            self.wrong(node, f"{name}: expected a list of texts, got {_shown(node)}")
            return None
        found = [self.text(each, f"{name}[{index}]") for index, each in enumerate(node.value)]
        return tuple(each for each in found if each is not None)

    def checked(
        self,
        node: Node | None,
        name: str,
        read: Callable[[Node | None, str], T | None],
        problem_of: Callable[[T], str],
    ) -> T | None:
        """Returns what `read` makes of a node, unless `problem_of` has something against it."""
        value = read(node, name)
        if value is None or node is None:
            return None
        if problem := problem_of(value):
            self.wrong(node, f"{name}: {value!r} {problem}")
            return None
        return value

    def _scalar(self, node: Node | None, name: str, kind: str) -> Any:
        """Returns a value of one of YAML's kinds; None for a node that isn't there, or that is of another kind."""
        if node is None:
            return None
        if not isinstance(node, yaml.ScalarNode) or _kind(node) != kind:
            hint = "; put it in quotes" if kind == "str" and isinstance(node, yaml.ScalarNode) and node.value else ""
            self.wrong(node, f"{name}: expected {_KINDS[kind]}, got {_shown(node)}{hint}")
            return None
        return self._loader.construct_object(node)


def _kind(node: Node) -> str:
    return str(node.tag).rpartition(":")[2]


def _shown(node: Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "keys with values"
    if isinstance(node, yaml.SequenceNode):
        return "a list" if node.value else "an empty list"
    kind = _kind(node)
    return f"{_KINDS.get(kind, kind)} ({node.value})" if node.value else "nothing"

"""How blocks of one sublayer are put together: a tree with bottlenecks as leaves, and how it is written in a name.

    relu-original_ln_before                   a leaf: the options of its bottleneck
    stack(relu,relu)                          one after another
    average(relu,relu)                        the weighted mean of what each gives
    fuse-query_before_ln(relu,stack(relu,relu))   an attention over what each gives; the words are its options

Source: `adapters.composition`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from edgeadapt.errors import UnsupportedError

LEAF = "leaf"
KINDS = ("stack", "average", "fuse")

Path: TypeAlias = tuple[int, ...]
"""Where a node is: the number of the child to take, from the root on."""


@dataclass(frozen=True, slots=True)
class Tree:
    """One node, with what is below it.

    Attributes:
        kind: `leaf`, `stack`, `average` or `fuse`.
        words: Its options: of a leaf those of the bottleneck.
        children: What it puts together, in order; none of a leaf.
    """

    kind: str
    words: tuple[str, ...]
    children: tuple[Tree, ...] = ()

    def __str__(self) -> str:
        """Returns the tree as a name has it; `parse` reads it."""
        if self.kind == LEAF:
            return "-".join(self.words)
        return f"{'-'.join((self.kind, *self.words))}({','.join(map(str, self.children))})"

    def last(self) -> Tree:
        """Returns the leaf that comes last."""
        return self.children[-1].last() if self.children else self

    def first(self) -> Tree:
        """Returns the leaf that comes first."""
        return self.children[0].first() if self.children else self

    def walk(self, path: Path = (), fused: bool = False) -> Iterator[tuple[Path, Tree, bool]]:
        """Yields every node with its path, and whether it is a leaf that an attention takes its values from."""
        yield path, self, fused and self.kind == LEAF
        for number, child in enumerate(self.children):
            here = self.kind == "fuse" or (fused and number == len(self.children) - 1)
            yield from child.walk((*path, number), here)


def parse(text: str) -> Tree:
    """Returns the tree that a name tells of.

    Raises:
        UnsupportedError: The text is none.

    Example:
        >>> str(parse("stack(relu,fuse(relu-gated,relu))").children[1].last())
        'relu'
    """
    tree, rest = _parsed(text)
    if rest:
        raise UnsupportedError(f"{text!r} is no composition: {rest!r} is left over")
    return tree


def _parsed(text: str) -> tuple[Tree, str]:
    end = next((index for index, letter in enumerate(text) if letter in "(,)"), len(text))
    words, rest = tuple(text[:end].split("-")), text[end:]
    if not rest.startswith("("):
        return Tree(LEAF, words), rest
    if words[0] not in KINDS:
        raise UnsupportedError(f"{words[0]!r} is no composition. There are: {', '.join(KINDS)}.")
    children = []
    while rest[:1] in ("(", ","):
        child, rest = _parsed(rest[1:])
        children.append(child)
    if not rest.startswith(")"):
        raise UnsupportedError(f"{text!r} is no composition: a bracket is open")
    return Tree(words[0], words[1:], tuple(children)), rest[1:]

"""What an adapter is, once it has left its framework: sites, params and where it came from. numpy only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Params: TypeAlias = Mapping[str, Array]
Kind: TypeAlias = Literal["linear", "embedding", "layer_norm", "rms_norm", "attention"]
NORMS = ("layer_norm", "rms_norm")  # kinds whose weight is `(out,)`
UNBIASED = ("embedding", "rms_norm")  # kinds that never have a bias
ProblemType: TypeAlias = Literal["regression", "single_label_classification", "multi_label_classification"]


@dataclass(frozen=True, slots=True)
class Site:
    """A module of the base at which adapters attach.

    Attributes:
        name: Dotted module path, `bert.encoder.layer.0.attention.self.query`.
        kind: What the module computes; decides which params a method has there.
        in_features: Length of the last axis of `x`; for an embedding the number of rows of its table; for an attention
            the number of its heads.
        out_features: Length of the last axis of `y`; for an attention of one head's keys.
        labelled: The last axis of `y` is the label axis of a task head, so every adapter may bring its own length.
        rowwise: Every call of the module has a batch axis, so each row of a batch may have params of its own.
        epsilon: The constant inside a normalisation's square root; 0 for the other kinds.
        sublayer: Every call of the module ends a sublayer: what leaves it is added to a residual.
        filler: At the embedding of the graph's tokens, the id to put where there is none; None at all other modules.
        rotation: At an attention that rotates queries and keys by their positions, the angles of a position in radians,
            one for each pair of a head's two halves.
    """

    name: str
    kind: Kind
    in_features: int
    out_features: int
    labelled: bool = False
    rowwise: bool = True
    epsilon: float = 0.0
    sublayer: bool = False
    filler: int | None = None
    rotation: tuple[float, ...] = ()

    @property
    def rows(self) -> int | str:
        """The leading dimension of this site's slots: free, or 1 where rows can't differ."""
        return "rows" if self.rowwise else 1

    @property
    def out(self) -> int | str:
        """The last dimension of `y`: free on a label axis."""
        return "labels" if self.labelled else self.out_features


@dataclass(frozen=True, slots=True)
class Attachment:
    """The params of one method at one site, each with its leading axis of length 1.

    Attributes:
        site: The site.
        method: The method's name.
        params: Its params.
        body: What the method computes, as a function of the graph library, where its name doesn't say it.
    """

    site: str
    method: str
    params: Params
    body: Any = None

    def named(self) -> dict[str, Array]:
        """Returns the params under their slots' names, `<site>.<param>`."""
        return {f"{self.site}.{param}": array for param, array in self.params.items()}


@dataclass(frozen=True, slots=True)
class Adapter:
    """One trained checkpoint, framework-free.

    Attributes:
        method: The method the checkpoint was trained with; attachments may add heads and biases to it.
        attachments: What it holds, at most one for each pair of site and method.
        labels: The labels of its head, or None where it has none of its own.
        problem_type: What its head was trained to answer, or None where it has none of its own or doesn't say.
        source: Where it came from, for the record: kind of checkpoint, library version, base model, alpha.
        cache: What a decoder's cache holds before the first token, keys and values `(1, heads, n, head_dim)` by the
            names that they enter the model under; empty where it holds nothing.
    """

    method: str
    attachments: tuple[Attachment, ...]
    labels: tuple[str, ...] | None
    problem_type: ProblemType | None
    source: Mapping[str, Any]
    cache: Params = field(default_factory=dict)

    def arrays(self) -> dict[str, Array]:
        """Returns all params under their slots' names, and what the cache begins with under its own."""
        named = {name: array for attachment in self.attachments for name, array in attachment.named().items()}
        return {**named, **self.cache}

    def size(self) -> int:
        """Returns the size of all params in bytes."""
        return int(sum(np.asarray(array).nbytes for array in self.arrays().values()))

"""The wiring of a base: for every site the graph values around each of its calls, and the initializers behind it.

Kept in the bundle as `sites.json` for `add` and `merge`; a device doesn't need it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from edgeadapt import bundle
from edgeadapt.adapter import Site
from edgeadapt.errors import GraphError

FILE = bundle.SITES

Layout: TypeAlias = Literal["out_in", "in_out"]
Batch: TypeAlias = Literal["leading", "merged", "one", "none"]


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a module, as the graph has it.

    Attributes:
        x: Value that enters.
        y: Value that leaves.
        rank: Number of axes of `x`.
        batch: `leading`, the first axis of `x` is the batch; `merged`, the batch is the outer part of the first axis
            (windows of an image); `one`, the first axis is 1, and what comes of it is added to a batch (positions);
            `none`, the call is the same for all rows (relative positions).
        product: Output of the node that reads the weight.
        biased: A bias is added to the product.
        total: The sum of `y` and a residual, where that is all that becomes of `y`.
        norm: The normalised sum, where the base normalises it in the same layer, and has no other use for it.
        epsilon: The constant inside that norm's square root.
        columns: Which columns of the product are the module's, where it shares it with others (`graph.packed`).
    """

    x: str
    y: str
    rank: int
    batch: Batch
    product: str
    biased: bool
    total: str | None = None
    norm: str | None = None
    epsilon: float = 0.0
    columns: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Wiring:
    """A site and its calls.

    Attributes:
        site: The module.
        open: The base has no weights here: its checkpoint lacks them, so adapters must bring them.
        layout: Axes of the module's weight in PyTorch: `nn.Linear` has `(out, in)`, GPT-2's `Conv1D` `(in, out)`.
        calls: Its calls, in the order of the graph; none where the outputs don't depend on it.
        members: The modules that are one product here, in the order of its columns; none for a module by itself.
    """

    site: Site
    open: bool
    layout: Layout
    calls: tuple[Call, ...]
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wirings:
    """All sites of a base, and how the names of its checkpoint lead to them.

    Attributes:
        model_type: The architecture, as transformers names it.
        prefix: The architecture's `base_model_prefix`; adapters of headless models lack it in their names.
        sites: Wiring by site name, in the order of the graph.
        parameters: Every parameter of the base by its full name (tied ones under all their names), and the site and
            role (`weight`, `bias`) it has, or None where no site owns it.
        renames: Pairs of regular expression and replacement that turn an older checkpoint's names into today's.
        packs: Modules that are one product in the graph, by the name of the site that they are together
            (`graph.packed`). No checkpoint knows these.
    """

    model_type: str
    prefix: str
    sites: Mapping[str, Wiring]
    parameters: Mapping[str, tuple[str, str] | None]
    renames: tuple[tuple[str, str], ...] = ()
    packs: Mapping[str, Wiring] = field(default_factory=dict)

    def at(self, name: str) -> Wiring:
        """Returns the wiring of a site, a pack too.

        Raises:
            KeyError: There is none.
        """
        return self.packs[name] if name in self.packs else self.sites[name]

    def candidates(self, name: str) -> list[str]:
        """Returns the names under which the base may know `name`: as it is, with and without the prefix, renamed."""
        found = []
        renamed = name
        for old, new in self.renames:
            renamed = re.sub(old, new, renamed)
        for each in dict.fromkeys((name, renamed)):
            found.append(each)
            if self.prefix:
                bare = each.removeprefix(f"{self.prefix}.")
                found.append(bare if bare != each else f"{self.prefix}.{each}")
        return found

    def write(self, folder: Path) -> None:
        """Writes `sites.json` into `folder`."""
        record = {
            "model_type": self.model_type,
            "prefix": self.prefix,
            "renames": self.renames,
            "sites": {name: asdict(wiring) for name, wiring in self.sites.items()},
            "packs": {name: asdict(wiring) for name, wiring in self.packs.items()},
            "parameters": self.parameters,
        }
        (folder / FILE).write_text(json.dumps(record, separators=(",", ":")) + "\n", encoding="utf-8")


def read(folder: Path) -> Wirings:
    """Reads `sites.json` of a bundle.

    Raises:
        GraphError: The file is missing (the bundle was packaged for a device) or not what this version writes.
    """
    path = folder / FILE
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        sites = {name: _wiring(wiring) for name, wiring in record["sites"].items()}
        packs = {name: _wiring(wiring) for name, wiring in record.get("packs", {}).items()}
        parameters = {name: None if own is None else (own[0], own[1]) for name, own in record["parameters"].items()}
        renames = tuple((old, new) for old, new in record["renames"])
        return Wirings(record["model_type"], record["prefix"], sites, parameters, renames, packs)
    except FileNotFoundError as error:
        raise GraphError(
            f"{path} is missing: the bundle was packaged for a device.\nUse the bundle that export wrote."
        ) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise GraphError(
            f"{path} is not a wiring this version can read: {error!r}.\nExport the bundle again."
        ) from error


def _wiring(record: Mapping[str, Any]) -> Wiring:
    return Wiring(
        Site(**{**record["site"], "rotation": tuple(record["site"].get("rotation", ()))}),
        record["open"],
        record["layout"],
        tuple(
            Call(**{**call, "columns": tuple(columns) if (columns := call.get("columns")) else None})
            for call in record["calls"]
        ),
        tuple(record.get("members", ())),
    )

"""What trained tokens ask of a whole checkpoint: that all are there, and that a tied head has them too."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from edgeadapt.adapter import Array
from edgeadapt.graph.sites import Wiring, Wirings
from edgeadapt.methods import trainable_tokens


def check(config: Mapping[str, Any], names: Collection[str], problems: list[str]) -> None:
    """Refuses a LoRA without the rows that its `trainable_token_indices` name; PEFT loads it with a warning.

    A head with the same tokens as an embedding that is there is tied to it, and not saved.

    Args:
        config: The checkpoint's configuration.
        names: Its tensors' names, without what PEFT's wrappers add.
        problems: What is wrong is added here.
    """
    wanted = config.get("trainable_token_indices") or {}
    wanted = wanted if isinstance(wanted, Mapping) else {"": wanted}
    modules = [name.removesuffix(f".{trainable_tokens.TENSOR}") for name in names if trainable_tokens.split(name)]
    there = [ids for key, ids in wanted.items() if any(module.endswith(key) for module in modules)]
    problems += [
        f"{key or 'the input embedding'}: got no rows, but the configuration's trainable_token_indices name its tokens"
        for key, ids in wanted.items()
        if ids not in there
    ]


def bind_tied(
    wirings: Wirings,
    base: Callable[[Wiring], tuple[Array, Array | None]],
    parts: dict[tuple[str, str], dict[str, Array]],
    problems: list[str],
) -> None:
    """Gives a head that shares an embedding's table the table's trained tokens, where it brings none of its own.

    The wiring keeps no record of what is tied: equal weights tell. Source:
    `peft.utils.other.set_additional_trainable_modules` and `TrainableTokensModel.inject_adapter`.

    Args:
        wirings: The sites of the base.
        base: Gives the base's own weights.
        parts: Params by site and form; those of the heads are added here.
        problems: What is wrong is added here.
    """
    for site, params in [(site, params) for (site, form), params in parts.items() if form == "trainable_tokens"]:
        table, _ = base(wirings.sites[site])
        ids, delta = params["token_ids"][0, 0], params["token_delta"][0]
        for name, bias in _tied(wirings, base, table):
            forms = [form for owner, form in parts if owner == name]
            if not forms:
                for form, own in trainable_tokens.at_head(ids, delta, len(table), bias).items():
                    parts[name, form] = own
            elif "lora" not in forms:  # a LoRA here is what the head's own trained tokens were read as
                problems.append(f"{name}: has an adapter, and shares {site}'s trained tokens: expected one of them")


def _tied(
    wirings: Wirings, base: Callable[[Wiring], tuple[Array, Array | None]], table: Array
) -> list[tuple[str, Array | None]]:
    """Returns the linear layers whose weight is this table, each with its bias."""
    found = []
    for name, wiring in wirings.sites.items():
        site = wiring.site
        if site.kind == "linear" and (site.out_features, site.in_features) == table.shape and not wiring.open:
            weight, bias = base(wiring) if wiring.calls else (None, None)
            if weight is not None and np.array_equal(weight.T, table):
                found.append((name, bias))
    return found

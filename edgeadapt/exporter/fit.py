"""Whether what an adapter brings is whole and fits its base: everything that is wrong, by name and at once."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from edgeadapt import methods
from edgeadapt.adapter import NORMS, Array, Params
from edgeadapt.exporter import checkpoint as checkpoints
from edgeadapt.exporter.checkpoint import Reading
from edgeadapt.graph.sites import Wirings
from edgeadapt.methods import ln_tuning


def check_complete(
    reading: Reading,
    wirings: Wirings,
    names: Mapping[str, Array],
    modules: Mapping[str, str],
    problems: list[str],
) -> None:
    """Refuses a checkpoint without the tensors of a module that its configuration selects.

    PEFT and AdapterHub load such a checkpoint with a warning, and leave the module as the base has it, or untrained.

    Args:
        reading: One of the checkpoint's methods.
        wirings: The sites of the base.
        names: Its tensors by plain name.
        modules: The method's modules, by the name they have in the checkpoint, with their sites.
        problems: What is wrong is added here.
    """
    config, title = reading.config, reading.reader.TITLE
    if "leave_out" in config:
        _check_layers(modules, wirings, config["leave_out"] or (), title, problems)
    if isinstance(reading.reader, methods.Composer):
        for member, left_out, there in reading.reader.members(config, names):
            placed = {module: modules[module] for module in there if module in modules}
            _check_layers(placed, wirings, left_out, f"part of {member!r}", problems)
    whole = reading.reader.TYPE == ln_tuning.TYPE
    known = _trained_whole(names, wirings) if whole else modules
    for site, wiring in wirings.sites.items():
        name = _as_trained(site, wirings, known)
        bare = wiring.site.kind == "attention"  # it has no weights of its own
        if name is None or bare or not wiring.calls or wiring.open or f"{name}.weight" in names:
            continue
        if checkpoints.saves(config, name):
            problems.append(f"{name}: got no weight, but the configuration's modules_to_save name it")
        elif (whole or wiring.site.kind not in NORMS) and checkpoints.targets(config, name) and name not in modules:
            problems.append(f"{name}: got no {title}, but the configuration's target_modules select it")


def _trained_whole(names: Mapping[str, Array], wirings: Wirings) -> dict[str, str]:
    """Returns the modules of which a checkpoint has a weight or bias, by the name they have there, with their sites."""
    found: dict[str, str] = {}
    for name in names:
        module, _, role = name.rpartition(".")
        for candidate in wirings.candidates(module):
            if candidate in wirings.sites and role in ("weight", "bias"):
                found.setdefault(module, candidate)
    return found


def _check_layers(
    modules: Mapping[str, str], wirings: Wirings, left_out: Collection[int], title: str, problems: list[str]
) -> None:
    """Refuses an AdapterHub method that isn't at the same modules of every layer but those its configuration names."""
    layer = re.compile(r"\.(\d+)\.")
    there = set(modules.values())
    kinds = {layer.sub("..", site, count=1) for site in there}
    for site, wiring in wirings.sites.items():
        found = layer.search(site)
        if found is None or layer.sub("..", site, count=1) not in kinds or not wiring.calls:
            continue
        named = int(found.group(1)) in left_out
        if site in there and named:
            problems.append(f"{site}: has a {title}, but the configuration's leave_out names its layer")
        elif site not in there and not named:
            problems.append(f"{site}: got no {title}, but the configuration's leave_out doesn't name its layer")


def _as_trained(site: str, wirings: Wirings, modules: Mapping[str, str]) -> str | None:
    """Returns the name that a site had in the model the adapter was trained in, as far as its own modules tell.

    Cases:
        1. The same name.
        2. The adapter was trained without a head: the prefix is missing, and sites outside of it weren't there.
        3. The base has no head: the prefix was there.
        4. transformers has renamed the modules since: not known.
    """
    prefix = f"{wirings.prefix}."
    for module, known in modules.items():
        if module == known:
            return site
        if known == prefix + module:
            return site.removeprefix(prefix) if site.startswith(prefix) else None
        if module == prefix + known:
            return prefix + site
    return None


def check_shapes(wirings: Wirings, parts: Mapping[tuple[str, str], Params], problems: list[str]) -> None:
    """Refuses params that are missing or spare, or whose shapes aren't those of their sites."""
    for (name, method), params in parts.items():
        expected = methods.get(method).shapes(wirings.at(name).site)
        if set(expected) != set(params):
            problems.append(f"{name}: got {', '.join(params)}, expected {', '.join(expected) or f'no {method} here'}")
            continue
        for param, array in params.items():
            shape = expected[param]
            fits = array.ndim == len(shape) and all(
                isinstance(dim, str) or dim == length for dim, length in zip(shape[1:], array.shape[1:], strict=True)
            )
            if not fits:
                problems.append(f"{name}.{param}: got {_shown(array.shape)}, expected {_shown(shape)}")


def check_open(wirings: Wirings, brought: Collection[str], problems: list[str]) -> None:
    """Refuses an adapter that doesn't bring the modules for which the base has no weights."""
    for name, wiring in wirings.sites.items():
        if wiring.open and name not in brought:
            problems.append(f"{name}: the base has no weights here, and the adapter brings none (modules_to_save)")


def _shown(shape: tuple[int | str, ...]) -> str:
    return f"({', '.join(map(str, shape))})"

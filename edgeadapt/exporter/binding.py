"""Binds an adapter's tensors to the sites of a base: every tensor to exactly one site, by exact name, or an error."""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from edgeadapt import methods
from edgeadapt.adapter import NORMS, UNBIASED, Adapter, Array, Attachment, Params, ProblemType
from edgeadapt.errors import BindingError, UnsupportedError
from edgeadapt.exporter import checkpoint as checkpoints
from edgeadapt.exporter import fit, tokens
from edgeadapt.exporter.checkpoint import Checkpoint, Reading
from edgeadapt.exporter.initial_cache import Start, misfits
from edgeadapt.graph.sites import Wiring, Wirings
from edgeadapt.graph.switch import HEAD
from edgeadapt.methods import Module, Reader, trainable_tokens

log = logging.getLogger("edgeadapt")

WRAPPER = "base_model.model."
PROMPT_WRAPPER = "base_model."  # around a base that PEFT puts no layers into
WRAPPERS = (".base_layer.", ".modules_to_save.default.", ".modules_to_save.", ".ln_tuning_layers.", ".token_adapter.")
OWN = "lora_|ia3_|hada_|lokr_|vera_|oft_|boft_|trainable_tokens_"  # how the names of the methods' tensors begin
REPLACED = ".original_module."  # what a module in modules_to_save stands in for: `bias="all"` saves it, nothing uses it

BaseWeight: TypeAlias = Callable[[Wiring], tuple[Array, Array | None]]
"""Gives a site's weight `(in, out)` and bias `(out,)` as the base has them."""

HeadWords: TypeAlias = tuple[tuple[str, ...] | None, ProblemType | None]
"""What is said about a head: its labels and its problem type."""


def bind(
    checkpoint: Checkpoint,
    wirings: Wirings,
    base: BaseWeight,
    said: HeadWords = (None, None),
    start: Start | None = None,
) -> Adapter:
    """Returns a checkpoint as an adapter of this base.

    Args:
        checkpoint: The folder that was read.
        wirings: The sites of the base.
        base: Gives the base's own weights; a trained bias is kept as its distance from the base's.
        said: Labels and problem type of its head, each in place of the checkpoint's own.
        start: The base as a decoder with a cache; None where it is none.

    Raises:
        BindingError: A tensor has no site, a site lacks a param, or shapes differ; all of them at once.
        UnsupportedError: The checkpoint's method is not one that edgeadapt can do exactly.
    """
    readings = checkpoints.readings(checkpoint)
    problems: list[str] = []
    names = _plain_names(checkpoint, problems)
    resolved = _Resolver(wirings, problems)
    parts: dict[tuple[str, str], dict[str, Array]] = {}
    cache: dict[str, Array] = {}
    for reading in readings:
        if start is not None and isinstance(reading.reader, methods.Starter):
            cache |= start.begin(reading, names, problems)
            continue
        modules = _bind_modules(reading, names, resolved, base, parts)
        fit.check_complete(reading, wirings, names, modules, problems)
    adapted = tuple(dict.fromkeys(form.partition("-")[0] for _, form in parts))
    whole: dict[str, dict[str, Array]] = {}
    for name, tensor in names.items():
        if any(reading.reader.split(name) for reading in readings):
            continue
        if (owner := resolved.parameter(name)) is not None:
            twin = whole.setdefault(owner[0], {}).setdefault(owner[1], tensor)
            if not np.array_equal(twin, tensor):
                problems.append(f"{name}: {'.'.join(owner)} has other values under another name")
    for site, roles in whole.items():
        _bind_whole(wirings, wirings.sites[site], roles, base, parts, problems)
    tokens.check(checkpoint.config, names, problems)
    tokens.bind_tied(wirings, base, parts, problems)
    fit.check_shapes(wirings, parts, problems)
    fit.check_open(wirings, whole, problems)
    if problems:
        raise BindingError.collect(
            f"{checkpoint.folder} does not fit this {wirings.model_type} base:", problems, _sides(names, wirings)
        )
    if not parts and not cache:
        raise BindingError(f"{checkpoint.folder} holds no tensor that changes this base.")
    order = {name: position for position, name in enumerate(wirings.sites)}
    attachments = tuple(
        Attachment(*key, params) for key, params in sorted(parts.items(), key=lambda item: order[item[0][0]])
    )
    method = readings[0].name if checkpoint.kind == "peft" else "+".join(adapted)
    return replace(finished(checkpoint, wirings, method, attachments, said, resolved.unused), cache=cache)


def finished(
    checkpoint: Checkpoint,
    wirings: Wirings,
    method: str,
    attachments: tuple[Attachment, ...],
    said: HeadWords,
    unused: Sequence[str] = (),
) -> Adapter:
    """Returns the adapter of a checkpoint whose attachments are known, with what is said about its head."""
    head = _head(checkpoint.folder, wirings, attachments, (checkpoint.labels, checkpoint.problem_type), said)
    return Adapter(method, attachments, *head, _source(checkpoint, list(unused)))


def refit(
    source: Path, adapter: Adapter, wirings: Wirings, said: HeadWords = (None, None), start: Start | None = None
) -> Adapter:
    """Returns an adapter that was bound for another bundle of the same base; what is `said` replaces its own words.

    Raises:
        BindingError: The bundle's task has other modules, or other shapes; all of it at once.
    """
    parts = {(each.site, each.method): each.params for each in adapter.attachments}
    problems: list[str] = []
    resolved = _Resolver(wirings, problems)
    known = {}
    for (site, method), params in parts.items():
        if site not in {**wirings.sites, **wirings.packs} or not wirings.at(site).calls:
            resolved.unknown(site, [name for name, wiring in wirings.sites.items() if wiring.calls])
        else:
            known[site, method] = params
    fit.check_shapes(wirings, known, problems)
    fit.check_open(wirings, [site for site, method in known if method == HEAD], problems)
    problems += misfits(adapter.cache, start)
    if problems:
        raise BindingError.collect(
            f"{source} does not fit this {wirings.model_type} base:",
            problems,
            "It was converted for another task: add its checkpoint.",
        )
    own = adapter.labels, adapter.problem_type
    head = _head(source, wirings, adapter.attachments, own, said)
    return replace(adapter, labels=head[0], problem_type=head[1])


def plain_name(name: str) -> str:
    """Returns a tensor's name without what PEFT's wrappers add to it.

    Example:
        >>> plain_name("base_model.model.bert.pooler.dense.base_layer.bias")
        'bert.pooler.dense.bias'
    """
    name = name.removeprefix(WRAPPER).removeprefix(PROMPT_WRAPPER)
    for inner in WRAPPERS:
        name = name.replace(inner, ".")
    return re.sub(rf"\.((?:{OWN})\w+)\.default(?=\.|$)", r".\1", name)


def _plain_names(checkpoint: Checkpoint, problems: list[str]) -> dict[str, Array]:
    names: dict[str, Array] = {}
    for name, tensor in checkpoint.tensors.items():
        plain = plain_name(name)
        if REPLACED in name:
            continue
        if not np.array_equal(names.setdefault(plain, tensor), tensor):
            problems.append(f"{name}: {plain} has other values under another name")
    return names


def _by_module(reader: Reader, names: Mapping[str, Array]) -> tuple[dict[str, dict[str, Array]], dict[str, Array]]:
    """Returns the method's tensors of every module, and those that belong to none."""
    found: dict[str, dict[str, Array]] = {}
    for name, tensor in names.items():
        if (parts := reader.split(name)) is not None:
            found.setdefault(parts[0], {})[parts[1]] = tensor
    shared = found.pop("", {})
    return found, shared


def _bind_modules(
    reading: Reading,
    names: Mapping[str, Array],
    resolved: _Resolver,
    base: BaseWeight,
    parts: dict[tuple[str, str], dict[str, Array]],
) -> dict[str, str]:
    """Puts what one method changes into `parts`, and returns the site of each of its modules."""
    wirings, problems, title = resolved.wirings, resolved.problems, reading.reader.TITLE
    changed, shared = _by_module(reading.reader, names)
    if reading.modules is not None:
        changed = {module: tensors for module, tensors in changed.items() if module in reading.modules}
    if isinstance(reading.reader, methods.Spreader):
        changed = _spread(reading.reader, reading.config, changed, shared, resolved)
    modules: dict[str, str] = {}
    for module, tensors in changed.items():
        site = resolved.site(module)
        if site is None:
            continue
        modules[module] = site
        if checkpoints.targets(reading.config, module) is False and trainable_tokens.TENSOR not in tensors:
            problems.append(f"{module}: has a {title}, but the configuration's target_modules leave it out")
        seen = Module(module, wirings.sites[site].site, partial(base, wirings.sites[site]), shared)
        for form, params in _read(reading.reader, reading.config, seen, tensors, problems).items():
            if (site, form) in parts:
                problems.append(f"{module}: {site} has a {title} under another name already")
            parts[site, form] = params
    return modules


def _spread(
    reader: methods.Spreader,
    config: Mapping[str, Any],
    changed: Mapping[str, Mapping[str, Array]],
    shared: Mapping[str, Array],
    resolved: _Resolver,
) -> dict[str, dict[str, Array]]:
    """Returns what every module has of tensors that are stored for many, with what it has of its own, by site."""
    wirings = resolved.wirings
    sites = [wiring.site for wiring in wirings.sites.values() if wiring.calls]
    try:
        found = reader.spread(config, shared, wirings.model_type, sites)
    except (BindingError, UnsupportedError) as error:
        resolved.problems.append(str(error))
        return {}
    for module, tensors in changed.items():
        if (site := resolved.site(module)) is not None:
            found.setdefault(site, {}).update(tensors)
    return found


def _read(
    reader: Reader, config: Mapping[str, Any], module: Module, tensors: Mapping[str, Array], problems: list[str]
) -> dict[str, dict[str, Array]]:
    """Returns what the method's reader makes of a module; a module that is broken hides no other's problem."""
    try:
        return reader.read(config, module, tensors)
    except (BindingError, UnsupportedError) as error:
        problems.append(str(error))
        return {}


class _Resolver:
    """Finds the site or parameter of a name; collects what it can't find in `problems`."""

    def __init__(self, wirings: Wirings, problems: list[str]) -> None:
        self.wirings = wirings
        self.problems = problems
        self.unused: list[str] = []

    def site(self, module: str) -> str | None:
        found = [name for name in self.wirings.candidates(module) if name in self.wirings.sites]
        own = tuple(f"{candidate}." for candidate in self.wirings.candidates(module))
        if not found and any(parameter.startswith(own) for parameter in self.wirings.parameters):
            self.problems.append(
                f"{module}: is no linear layer, embedding or norm of its own in the graph (a convolution, say); leave "
                "it out of the adapter's targets"
            )
            return None
        if not found:
            self.unknown(module, list(self.wirings.sites))
            return None
        return found[0] if self._is_used(found[0], module) else None

    def parameter(self, name: str) -> tuple[str, str] | None:
        found = [each for each in self.wirings.candidates(name) if each in self.wirings.parameters]
        owner = self.wirings.parameters[found[0]] if found else None
        if owner is None:
            self.unknown(name, [each for each, own in self.wirings.parameters.items() if own is not None])
            return None
        return owner if self._is_used(owner[0], name) else None

    def _is_used(self, site: str, name: str) -> bool:
        if self.wirings.sites[site].calls:
            return True
        log.warning("%s: the task's outputs don't depend on it; left out", name)
        self.unused.append(name)
        return False

    def unknown(self, name: str, known: list[str]) -> None:
        close = difflib.get_close_matches(name, known, n=2)
        hint = f" (nearest: {', '.join(close)})" if close else ""
        self.problems.append(f"{name}: the base has no such module{hint}")


def _bind_whole(
    wirings: Wirings,
    wiring: Wiring,
    roles: Mapping[str, Array],
    base: BaseWeight,
    parts: dict[tuple[str, str], dict[str, Array]],
    problems: list[str],
) -> None:
    """Binds a module's own weight and bias, trained whole or in its bias alone.

    Cases:
        1. The base has no weights here: all that the module has must be there.
        2. The weight is there: the module was trained whole, unless both are what the base has.
        3. The bias alone: it is kept as its distance from the base's, unless there is none.
    """
    site = wiring.site
    key = (site.name, HEAD)
    weight = roles.get("weight")
    if weight is not None and site.kind == "linear" and wiring.layout == "out_in" and weight.ndim == 2:
        weight = weight.T
    bias = roles.get("bias")
    if weight is not None and _changed(parts, site.name) and wiring.open:
        problems.append(f"{site.name}: has an adapter, and is trained whole: expected one of them")
        return
    if wiring.open:
        biased = wirings.parameters.get(f"{site.name}.bias") == (site.name, "bias")
        if weight is None or (biased and bias is None):
            half, other = ("bias", "weight") if weight is None else ("weight", "bias")
            problems.append(f"{site.name}: got its {half} alone, expected its {other} too: the base has none")
            return
        parts[key] = whole(site.kind, weight, bias, weight.shape[-1])
        return
    own_weight, own_bias = base(wiring)
    if weight is not None and (weight.shape != own_weight.shape or not np.array_equal(weight, own_weight)):
        if _changed(parts, site.name):
            problems.append(f"{site.name}: has an adapter, and a weight that isn't the base's: trained on another base")
            return
        kept = own_bias if bias is None else bias
        parts[key] = whole(site.kind, weight, kept, weight.shape[-1])
    elif bias is not None:
        old = np.zeros_like(bias) if own_bias is None else own_bias
        if bias.shape != old.shape:
            problems.append(f"{site.name}.bias: got {bias.shape}, expected {old.shape}")
        elif not np.array_equal(bias, old):
            delta = (bias.astype(np.float64) - old).astype(np.float32).reshape(1, 1, -1)
            before = parts.get((site.name, "bias"), {}).get("bias_delta")
            parts[site.name, "bias"] = {"bias_delta": delta if before is None else before + delta}


def _changed(parts: Mapping[tuple[str, str], Params], site: str) -> bool:
    """Tells whether a method other than a trained bias is at a site."""
    return any(name == site and form not in (HEAD, "bias") for name, form in parts)


def whole(kind: str, weight: Array, bias: Array | None, width: int) -> dict[str, Array]:
    """Returns the params of a module trained whole, from its weight `(in, out)` (a norm's `(out,)`) and bias."""
    first = np.ascontiguousarray(weight, np.float32)[None]
    first = first.reshape(1, 1, -1) if kind in NORMS else first
    if kind in UNBIASED:
        return {"weight": first}
    second = np.zeros((1, 1, width), np.float32) if bias is None else np.asarray(bias, np.float32).reshape(1, 1, -1)
    return {"weight": first, "bias": second}


def _head(
    source: Path, wirings: Wirings, attachments: Iterable[Attachment], own: HeadWords, said: HeadWords
) -> HeadWords:
    """Returns what is said about the adapter's own head: what is said here, else what came with it.

    Labels that nobody names are `LABEL_0` and so on; a problem type that nobody says is None, as all is without a head.
    """
    counts = [
        each.params["bias"].shape[-1]
        for each in attachments
        if each.method == HEAD and wirings.sites[each.site].site.labelled
    ]
    if not counts:
        refused = [what for what, value in zip(("labels", "a problem type"), said, strict=True) if value is not None]
        if refused:
            raise BindingError(f"{source} brings no head of its own, so it can't be given {' or '.join(refused)}.")
        return None, None
    labels = said[0] or own[0] or tuple(f"LABEL_{index}" for index in range(counts[0]))
    if len(labels) != counts[0]:
        raise BindingError(
            f"{source}: the head has {counts[0]} labels, but {len(labels)} names are given:\n  {', '.join(labels)}"
        )
    return labels, said[1] or own[1]


def _source(checkpoint: Checkpoint, unused: list[str]) -> dict[str, Any]:
    keys = {
        "peft_version": "peft_version",
        "adapters_version": "version",
        "composition": "composition",
        "r": "r",
        "alpha": "lora_alpha",
        "rslora": "use_rslora",
        "base_model": "base_model_name_or_path" if checkpoint.kind == "peft" else "model_name",
    }
    facts = {name: checkpoint.config[key] for name, key in keys.items() if checkpoint.config.get(key)}
    return {"kind": checkpoint.kind, **facts, **({"unused": unused} if unused else {})}


def _sides(names: Mapping[str, Array], wirings: Wirings) -> str:
    """Returns both sides of a failed binding, each by its first and last names."""
    got, known = sorted(names), list(wirings.sites)
    return (
        (
            f"The adapter has {len(got)} tensors: {got[0]} ... {got[-1]}\n"
            f"The base has {len(known)} sites: {known[0]} ... {known[-1]}\n"
            "Use the base that the adapter was trained on."
        )
        if got and known
        else "Use the base that the adapter was trained on."
    )

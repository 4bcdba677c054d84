"""Any method that PEFT can merge: PEFT merges it into a base, and what has changed is the adapter.

The change of a weight is a LoRA of the change's own rank, so that it switches, folds, mixes and blends as one.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import peft
import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.numpy import load_file
from torch import nn

from edgeadapt.adapter import Adapter, Array, Attachment
from edgeadapt.errors import BindingError, CheckpointError, UnsupportedError
from edgeadapt.exporter import base as bases
from edgeadapt.exporter import binding, low_rank, reference
from edgeadapt.exporter.binding import HeadWords
from edgeadapt.exporter.checkpoint import WEIGHTS, Checkpoint
from edgeadapt.graph.sites import Wiring, Wirings
from edgeadapt.graph.switch import HEAD
from edgeadapt.methods import get

ADVICE = "Train a method that PEFT can merge, or one that edgeadapt has a reader for."
ROUTERS = ("POLY", "XLORA")
"""Types that mix their parts anew for every input, and so change no weight by a fixed amount."""


@dataclass(frozen=True, slots=True)
class Merge:
    """What PEFT's merge of a checkpoint has done to a base.

    Attributes:
        before: Every parameter of the base by its full name, in float64.
        after: The same after the merge.
        layers: Modules that PEFT put a layer into.
        twins: Names of parameters that are one tensor, by name.
    """

    before: Mapping[str, Array]
    after: Mapping[str, Array]
    layers: Collection[str]
    twins: Mapping[str, Collection[str]]


def check(checkpoint: Checkpoint) -> None:
    """Refuses a checkpoint whose type or options PEFT doesn't have, or which it can't merge.

    Raises:
        UnsupportedError: PEFT has no such type, the type is no change of weights, or PEFT doesn't know an option.
    """
    kind = checkpoint.config.get("peft_type")
    tuners = {str(each.value): tuner for each, tuner in peft.mapping.PEFT_TYPE_TO_TUNER_MAPPING.items()}
    if kind not in tuners:
        raise UnsupportedError(
            f"{checkpoint.folder}: peft {peft.__version__} has no type {kind!r}.\nInstall the PEFT that saved it."
        )
    if kind in ROUTERS:
        raise UnsupportedError(f"{checkpoint.folder}: {kind} mixes its parts anew for every input.\n{ADVICE}")
    if not hasattr(tuners[kind], "merge_and_unload"):
        raise UnsupportedError(f"{checkpoint.folder}: {kind} is no change of weights: PEFT can't merge it.\n{ADVICE}")
    known = {each.name for each in fields(peft.mapping.PEFT_TYPE_TO_CONFIG_MAPPING[peft.PeftType(kind)])}
    unknown = [f"{key} = {json.dumps(value)}" for key, value in checkpoint.config.items() if value and key not in known]
    if unknown:
        raise UnsupportedError.collect(
            f"{checkpoint.folder} has options of {kind} that peft {peft.__version__} doesn't know, and leaves out:",
            unknown,
            "Install the PEFT that saved it.",
        )


def bind(opened: bases.Base, wirings: Wirings, checkpoint: Checkpoint, said: HeadWords = (None, None)) -> Adapter:
    """Returns what PEFT's merge changes in a base, as an adapter.

    Args:
        opened: The base.
        wirings: Its sites.
        checkpoint: A PEFT checkpoint of any type that can be merged.
        said: Labels and problem type of its head, each in place of the checkpoint's own.

    Raises:
        BindingError: PEFT has no place for a tensor, the adapter changes something that is no site of the base, or it
            lacks a module that the base lacks too; all of it at once.
        UnsupportedError: PEFT can't merge it.
        CheckpointError: PEFT can't load it, or leaves parts of it untrained.
    """
    own = _trained_whole(checkpoint, wirings)
    fresh = bases.load(opened.source, opened.task, _labels(own, wirings))
    merge = _merge(checkpoint, wirings, fresh)
    whole = {site: roles for site, roles in own.items() if site not in merge.layers}
    problems = _unexplained(merge, wirings, whole)
    problems += [
        f"{name}: the base has no weights here, and the adapter brings none (modules_to_save)"
        for name, wiring in wirings.sites.items()
        if wiring.open and "weight" not in whole.get(name, ())
    ]
    if problems:
        raise BindingError.collect(
            f"{checkpoint.folder} does not fit this {wirings.model_type} base:",
            problems,
            "Use the base that the adapter was trained on.",
        )
    changed = [name for name in wirings.sites if name in whole or name in merge.layers]
    unused = [name for name in changed if not wirings.sites[name].calls]
    attachments = tuple(
        attachment
        for name in changed
        if name not in unused
        for attachment in _attachments(wirings.sites[name], merge, "weight" in whole.get(name, ()))
    )
    if not attachments:
        raise BindingError(f"{checkpoint.folder} changes nothing that the task's outputs depend on.")
    method = str(checkpoint.config["peft_type"]).lower()
    return binding.finished(checkpoint, wirings, method, attachments, said, unused)


def _trained_whole(checkpoint: Checkpoint, wirings: Wirings) -> dict[str, dict[str, Array]]:
    """Returns the tensors of a checkpoint that are a weight or bias of the base, by site and role."""
    found: dict[str, dict[str, Array]] = {}
    for name, tensor in checkpoint.tensors.items():
        if binding.REPLACED in name or ".base_layer." in name:
            continue
        for candidate in wirings.candidates(binding.plain_name(name)):
            if (owner := wirings.parameters.get(candidate)) is not None:
                found.setdefault(owner[0], {})[owner[1]] = tensor
                break
    return found


def _labels(whole: Mapping[str, Mapping[str, Array]], wirings: Wirings) -> int | None:
    """Returns the label count of the checkpoint's own head."""
    for site, roles in whole.items():
        if wirings.sites[site].site.labelled and "weight" in roles:
            return len(roles["weight"])
    return None


def _merge(checkpoint: Checkpoint, wirings: Wirings, fresh: bases.Base) -> Merge:
    """Merges a checkpoint into a base, which it changes (`peft.tuners.tuners_utils.BaseTuner.merge_and_unload`).

    The merge is computed in float64, so that what is found is the adapter's change and not the rounding of the base's
    weights.
    """
    kind = checkpoint.config.get("peft_type")
    before = _state(fresh.model)
    with tempfile.TemporaryDirectory() as folder:
        wrapped = reference.load_peft(fresh, wirings, checkpoint, Path(folder) / "adapter")
        _check_loaded(checkpoint, wrapped, load_file(Path(folder) / "adapter" / WEIGHTS))
    layers = {name for name, module in wrapped.get_base_model().named_modules() if isinstance(module, BaseTunerLayer)}
    try:
        merged = wrapped.double().merge_and_unload(progressbar=False)
    except Exception as error:
        raise UnsupportedError(f"{checkpoint.folder}: PEFT can't merge this {kind}: {error}\n{ADVICE}") from error
    groups: dict[int, list[str]] = {}
    for name, tensor in merged.named_parameters(remove_duplicate=False):
        groups.setdefault(id(tensor), []).append(name)
    return Merge(before, _state(merged), layers, {name: names for names in groups.values() for name in names})


def _state(model: nn.Module) -> dict[str, Array]:
    return {
        name: tensor.detach().to(torch.float64).numpy().copy()
        for name, tensor in model.named_parameters(remove_duplicate=False)
    }


def _check_loaded(checkpoint: Checkpoint, wrapped: peft.PeftModel, staged: Mapping[str, Array]) -> None:
    """Refuses a checkpoint of which PEFT has left something out, or invented something.

    What PEFT would save of the model must be what it was given. PEFT itself ignores a tensor that it has no place for.
    """
    saved = peft.get_peft_model_state_dict(wrapped, save_embedding_layers=False)
    held = {**wrapped.state_dict(), **saved}
    problems = [f"{name}: got none, and PEFT leaves it untrained" for name in saved if name not in staged]
    for name, tensor in staged.items():
        if name not in held:
            problems.append(f"{name}: PEFT has no place for it")
        elif binding.REPLACED not in name and not np.array_equal(held[name].numpy(), tensor):
            problems.append(f"{name}: PEFT holds other values")
    if problems:
        raise CheckpointError.collect(
            f"PEFT can't load {checkpoint.folder} as it is:", problems, "Save it again, from the model it is part of."
        )


def _unexplained(merge: Merge, wirings: Wirings, whole: Mapping[str, Mapping[str, Array]]) -> list[str]:
    """Returns what has changed that is neither a site with a layer of PEFT's nor trained by itself.

    A parameter that shares its tensor with one of these changes in the merge alone, and not in the adapter.
    """
    explained = {
        name
        for name in merge.after
        for site, _, role in (name.rpartition("."),)
        if site in wirings.sites and (site in merge.layers or role in whole.get(site, ()))
    }
    problems = [f"{name}: PEFT's merge takes it away" for name in merge.before if name not in merge.after]
    problems += [f"{name}: PEFT's merge adds it" for name in merge.after if name not in merge.before]
    problems += [
        f"{name}: it is changed, and is no weight or bias of a site"
        for name, old in merge.before.items()
        if name in merge.after
        and not np.array_equal(old, merge.after[name])
        and not explained.intersection(merge.twins[name])
    ]
    return problems


def _attachments(wiring: Wiring, merge: Merge, whole: bool) -> list[Attachment]:
    """Returns the change of a site's weight and bias, or both whole where it was trained whole or takes no LoRA."""
    site = wiring.site
    flip = site.kind == "linear" and wiring.layout == "out_in"
    weight, old = (each[f"{site.name}.weight"] for each in (merge.after, merge.before))
    weight, old = (weight.T, old.T) if flip else (weight, old)
    bias, old_bias = (each.get(f"{site.name}.bias") for each in (merge.after, merge.before))
    shapes = get("lora").shapes(site)
    moved = wiring.open or not np.array_equal(weight, old)
    if moved and (whole or not shapes):
        return [Attachment(site.name, HEAD, binding.whole(site.kind, weight, bias, weight.shape[-1]))]
    found = []
    if moved:
        found.append(Attachment(site.name, "lora", low_rank.exact(site, weight - old, old)))
    if bias is not None and old_bias is not None and not np.array_equal(bias, old_bias):
        found.append(Attachment(site.name, "bias", {"bias_delta": low_rank.row(bias - old_bias)}))
    return found

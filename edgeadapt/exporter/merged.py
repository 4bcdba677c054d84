"""Any method that PEFT can merge: PEFT merges it into a base, and what has changed is the adapter.

The change of a weight is a LoRA of the change's own rank, so that it switches, folds, mixes and blends as one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
from torch import nn

from edgeadapt.adapter import Adapter, Array, Attachment
from edgeadapt.errors import BindingError, UnsupportedError
from edgeadapt.exporter import base as bases
from edgeadapt.exporter import binding, low_rank, reference
from edgeadapt.exporter.binding import HeadWords
from edgeadapt.exporter.checkpoint import Checkpoint
from edgeadapt.graph.sites import Wiring, Wirings
from edgeadapt.graph.switch import HEAD
from edgeadapt.methods import Foldable, get

ADVICE = "Merge it into the model with PEFT and export that, or train a method that edgeadapt has."


def check(checkpoint: Checkpoint) -> None:
    """Refuses a checkpoint whose type PEFT doesn't have, or can't merge.

    Raises:
        UnsupportedError: PEFT has no such type, or the type is no change of weights.
    """
    kind = checkpoint.config.get("peft_type")
    tuners = {str(each.value): tuner for each, tuner in peft.mapping.PEFT_TYPE_TO_TUNER_MAPPING.items()}
    if kind not in tuners:
        raise UnsupportedError(
            f"{checkpoint.folder}: peft {peft.__version__} has no type {kind!r}.\nInstall the PEFT that saved it."
        )
    if not hasattr(tuners[kind], "merge_and_unload"):
        raise UnsupportedError(f"{checkpoint.folder}: {kind} is no change of weights: PEFT can't merge it.\n{ADVICE}")


def bind(opened: bases.Base, wirings: Wirings, checkpoint: Checkpoint, said: HeadWords = (None, None)) -> Adapter:
    """Returns what PEFT's merge changes in a base, as an adapter.

    The merge is computed in float64 (`peft.PeftModel.merge_and_unload`), so that what is found is the adapter's change
    and not the rounding of the base's weights.

    Args:
        opened: The base.
        wirings: Its sites.
        checkpoint: A PEFT checkpoint of any type that can be merged.
        said: Labels and problem type of its head, each in place of the checkpoint's own.

    Raises:
        BindingError: The adapter changes something that is no site of the base.
        UnsupportedError: PEFT can't merge it.
        CheckpointError: PEFT can't load it, or leaves parts of it untrained.
    """
    fresh = bases.load(opened.source, opened.task, _labels(checkpoint, wirings))
    before = _state(fresh.model)
    with tempfile.TemporaryDirectory() as folder:
        wrapped = reference.load_peft(fresh, wirings, checkpoint, Path(folder) / "adapter")
    try:
        merged = wrapped.double().merge_and_unload(progressbar=False)
    except Exception as error:
        kind = checkpoint.config.get("peft_type")
        raise UnsupportedError(f"{checkpoint.folder}: PEFT can't merge this {kind}: {error}\n{ADVICE}") from error
    return _adapter(checkpoint, wirings, before, _state(merged), said)


def _labels(checkpoint: Checkpoint, wirings: Wirings) -> int | None:
    """Returns the label count of the checkpoint's own head."""
    for name, tensor in checkpoint.tensors.items():
        site, _, role = binding.plain_name(name).rpartition(".")
        for candidate in wirings.candidates(site):
            if candidate in wirings.sites and wirings.sites[candidate].site.labelled and role == "weight":
                return len(tensor)
    return None


def _state(model: nn.Module) -> dict[str, Array]:
    return {
        name: tensor.detach().to(torch.float64).numpy().copy()
        for name, tensor in model.named_parameters(remove_duplicate=False)
    }


def _adapter(
    checkpoint: Checkpoint, wirings: Wirings, before: Mapping[str, Array], after: Mapping[str, Array], said: HeadWords
) -> Adapter:
    attachments: list[Attachment] = []
    problems = [f"{name}: PEFT's merge takes it away" for name in before if name not in after]
    changed: dict[str, None] = {}
    for name in before:
        if name in after and not np.array_equal(before[name], after[name]):
            owner = wirings.parameters.get(name)
            if owner is None:
                problems.append(f"{name}: it is changed, and is no weight or bias of a site")
            else:
                changed[owner[0]] = None
    for site, wiring in wirings.sites.items():
        if wiring.calls and (site in changed or wiring.open):
            attachments += _attachments(wiring, before, after)
    if problems:
        raise BindingError.collect(f"{checkpoint.folder} does not fit this {wirings.model_type} base:", problems)
    if not attachments:
        raise BindingError(f"{checkpoint.folder} changes nothing that the task's outputs depend on.")
    return binding.finished(checkpoint, wirings, str(checkpoint.config["peft_type"]).lower(), tuple(attachments), said)


def _attachments(wiring: Wiring, before: Mapping[str, Array], after: Mapping[str, Array]) -> list[Attachment]:
    """Returns the change of a site's weight and bias, or both whole where it has no change of its own."""
    site = wiring.site
    flip = site.kind == "linear" and wiring.layout == "out_in"
    weight, old = (each[f"{site.name}.weight"] for each in (after, before))
    weight, old = (weight.T, old.T) if flip else (weight, old)
    bias, old_bias = (each.get(f"{site.name}.bias") for each in (after, before))
    shapes = get("lora").shapes(site)
    if wiring.open or weight.shape != old.shape or not shapes:
        return [Attachment(site.name, HEAD, binding.whole(site.kind, weight, bias, weight.shape[-1]))]
    found = []
    if not np.array_equal(weight, old):
        halves = low_rank.exact(weight - old, old).values()
        found.append(Attachment(site.name, "lora", dict(zip(shapes, halves, strict=True))))
    if bias is not None and (old_bias is None or not np.array_equal(bias, old_bias)):
        moved = bias if old_bias is None else bias - old_bias
        found.append(Attachment(site.name, "bias", {"bias_delta": moved.astype(np.float32).reshape(1, 1, -1)}))
    return found


def approximated(base: bases.Base, wirings: Wirings, adapter: Adapter) -> bases.Base:
    """Returns a fresh base in PyTorch with an adapter's LoRAs, biases and heads in its weights."""
    fresh = reference.with_heads(base, wirings, adapter, all_of_them=True)
    with torch.no_grad():
        for each in adapter.attachments:
            wiring = wirings.sites[each.site]
            module: Any = fresh.model.get_submodule(each.site)
            form = get(each.method)
            if each.method == HEAD or not isinstance(form, Foldable):
                continue
            flip = wiring.site.kind == "linear" and wiring.layout == "out_in"
            stored = module.weight.detach().numpy()
            own = None if getattr(module, "bias", None) is None else module.bias.detach().numpy()
            weight, bias = form.fold(wiring.site, stored.T if flip else stored, own, each.params)
            module.weight.copy_(torch.from_numpy(np.ascontiguousarray(weight.T if flip else weight)))
            if bias is not None:
                module.bias = nn.Parameter(torch.from_numpy(np.ascontiguousarray(bias)), requires_grad=False)
    return fresh

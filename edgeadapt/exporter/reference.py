"""The live reference: PyTorch's outputs of the base, and of the base with an adapter in PEFT."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
import transformers
from torch import nn

from edgeadapt import tasks
from edgeadapt.adapter import NORMS, UNBIASED, Adapter, Array
from edgeadapt.bundle import KEPT
from edgeadapt.errors import CheckpointError
from edgeadapt.exporter import base as bases
from edgeadapt.exporter import checkpoint as checkpoints
from edgeadapt.exporter import forward
from edgeadapt.exporter.binding import plain_name
from edgeadapt.exporter.checkpoint import Checkpoint
from edgeadapt.graph.sites import Wiring, Wirings
from edgeadapt.graph.switch import HEAD
from edgeadapt.methods import adalora, ia3, lora, p_tuning, prompt, trainable_tokens

PROBE_SEED = 20240229
PROBE_LABELS = 3
GENERATING = ("CAUSAL_LM", "SEQ_2_SEQ_LM")
PROMPTS = (prompt.TYPE, p_tuning.TYPE)


def versions() -> str:
    """Returns what the reference was computed with, for the record."""
    torch_version = torch.__version__.partition("+")[0]
    return f"torch {torch_version}, transformers {transformers.__version__}, peft {peft.__version__}"


@dataclass(frozen=True, slots=True)
class Outputs:
    """What PyTorch gives for one adapter.

    Attributes:
        adapted: Outputs with the adapter.
        plain: Outputs of the base without it, but with its head where the base has none of that size.
    """

    adapted: dict[str, Array]
    plain: dict[str, Array]


def base_outputs(
    base: bases.Base, wirings: Wirings, inputs: Mapping[str, Array], names: Sequence[str]
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Returns the base's outputs, and the probes: a random head in place of one that its checkpoint lacks.

    A probe is no trained weight, nor one that `from_pretrained` made up; it lets the rest of the base be compared.
    """
    generator = np.random.default_rng(PROBE_SEED)
    probes: dict[str, Array] = {}
    for wiring in wirings.sites.values():
        if wiring.open:
            probes |= _probe(wiring, generator)
    model = base.model
    _set_heads(model, wirings, probes)
    return forward.run(base, inputs, names), probes


def adapter_outputs(
    base: bases.Base,
    wirings: Wirings,
    checkpoint: Checkpoint,
    adapter: Adapter,
    inputs: Mapping[str, Array],
    names: Sequence[str],
) -> Outputs:
    """Returns PyTorch's outputs for an adapter that PEFT loads into a fresh base.

    Raises:
        CheckpointError: PEFT can't load what edgeadapt has read, or can't run it.
    """
    fresh = with_heads(base, wirings, adapter)
    plain = forward.run(fresh, inputs, names)
    with tempfile.TemporaryDirectory() as folder:
        wrapped = load_peft(fresh, wirings, checkpoint, Path(folder) / "adapter")
    model: nn.Module = wrapped if wrapped.active_peft_config.is_prompt_learning else wrapped.get_base_model()
    prompted = wrapped.active_peft_config.peft_type in PROMPTS
    try:
        if KEPT in inputs and wrapped.active_peft_config.is_prompt_learning:
            virtual = wrapped.active_peft_config.num_virtual_tokens if prompted else 0
            return Outputs(_run_begun(fresh, inputs, names, model, virtual), plain)
        run = _run_prompted if prompted else forward.run
        return Outputs(run(fresh, inputs, names, model), plain)
    except Exception as error:
        raise CheckpointError(f"PEFT can't run {checkpoint.folder} with this base:\n  {error}") from error


def _run_prompted(
    base: bases.Base, inputs: Mapping[str, Array], names: Sequence[str], model: nn.Module
) -> dict[str, Array]:
    """Returns the outputs of a model with a prompt, which has places of its own before the tokens.

    Cases:
        1. Outputs of tokens: cut to them.
        2. One output a row: each row runs without the padding behind it, because GPT-2's kin, which PEFT gives no ids,
           take what the last place says, be it padding (`transformers.GPT2ForSequenceClassification.forward`).
    """
    length = inputs["input_ids"].shape[1]
    if any("sequence" in axes for axes in tasks.get(base.task).OUTPUTS.values()):
        return {name: array[:, -length:] for name, array in forward.run(base, inputs, names, model).items()}
    rows = []
    for row, mask in enumerate(inputs["attention_mask"]):
        end = int(np.flatnonzero(mask).max(initial=0)) + 1
        rows.append(
            forward.run(base, {name: array[row : row + 1, :end] for name, array in inputs.items()}, names, model)
        )
    return {name: np.concatenate([each[name] for each in rows]) for name in names}


def _run_begun(
    base: bases.Base, inputs: Mapping[str, Array], names: Sequence[str], model: nn.Module, virtual: int
) -> dict[str, Array]:
    """Returns the outputs of a decoder whose texts begin with virtual tokens, each row by itself.

    In a batch, PEFT puts them before a row's padding: a window that counts places sees less of them then, and behind a
    prompt, where PEFT drops the positions that it is given, the padding is counted as if it were tokens.

    Args:
        base: The base.
        inputs: A parity case.
        names: Of the outputs.
        model: The decoder in PEFT.
        virtual: How many of its places are before the first token's.
    """
    rows = []
    for row, mask in enumerate(inputs["attention_mask"]):
        padding = int(np.argmax(mask))
        own = {name: array[row : row + 1, padding:] for name, array in inputs.items() if name != KEPT}
        own[KEPT] = inputs[KEPT][row : row + 1] - padding + virtual
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the positions are dropped
            rows.append(forward.run(base, own, names, model))
    return {name: np.concatenate([each[name] for each in rows]) for name in names}


def with_heads(base: bases.Base, wirings: Wirings, adapter: Adapter, *, all_of_them: bool = False) -> bases.Base:
    """Returns a fresh base with the adapter's head where the base has none of that size, or with all it brings."""
    fresh = bases.load(base.source, base.task, _labels(adapter, wirings))
    heads = {
        name: array
        for each in adapter.attachments
        if each.method == HEAD
        and (all_of_them or wirings.sites[each.site].open or _resized(base, wirings.sites[each.site], each.params))
        for name, array in each.named().items()
    }
    _set_heads(fresh.model, wirings, heads)
    return fresh


def load_peft(base: bases.Base, wirings: Wirings, checkpoint: Checkpoint, folder: Path) -> peft.PeftModel:
    """Returns the base with the adapter's layers, as `peft.PeftModel.from_pretrained` puts them in.

    PEFT gets the tensors that were read, as safetensors. Names of an older transformers, or of a model without this
    one's head, are brought up to date, with targets, ranks and scalings spelt out for each module, because PEFT itself
    doesn't follow such renamings.
    """
    tensors, config = dict(checkpoint.tensors), dict(checkpoint.config)
    renamed = {name: _today(checkpoint, wirings, name) for name in tensors}
    if any(name != new for name, new in renamed.items()):
        tensors = {renamed[name]: tensor for name, tensor in tensors.items()}
        config |= _spelt_out(checkpoint, renamed)
    if config.get("task_type") in GENERATING and not hasattr(base.model, "prepare_inputs_for_generation"):
        config["task_type"] = None  # the class that PEFT would wrap it in generates, and this base has no such head
    checkpoints.stage(checkpoint, folder, tensors, config)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = peft.PeftModel.from_pretrained(base.model, str(folder))
    except Exception as error:
        kind = checkpoint.config.get("peft_type")
        raise CheckpointError(f"PEFT can't load {checkpoint.folder}, {kind}:\n  {error}") from error
    return model.eval()


def _today(checkpoint: Checkpoint, wirings: Wirings, name: str) -> str:
    """Returns a tensor's name with its module as this base has it: renamed since, or with its prefix."""
    plain = plain_name(name)
    for module in _modules(checkpoint, plain):
        for candidate in wirings.candidates(module):
            if candidate in wirings.sites:
                return name.replace(module, candidate)
    return name


def _modules(checkpoint: Checkpoint, plain: str) -> list[str]:
    """Returns what can be the module's path in a tensor's name: as its reader says, or every beginning of it."""
    if not checkpoints.is_read(checkpoint):
        parts = plain.split(".")
        return [".".join(parts[:count]) for count in range(len(parts) - 1, 0, -1)]
    split = checkpoints.reader(checkpoint)[1].split(plain)
    return [split[0] if split is not None else plain.rpartition(".")[0]]


def _spelt_out(checkpoint: Checkpoint, renamed: Mapping[str, str]) -> dict[str, Any]:
    """Returns targets, ranks and scalings of a renamed checkpoint, one entry a module.

    Where there is no reader, nothing is known of its options: its words must do.
    """
    if not checkpoints.is_read(checkpoint):
        return {}
    config, (_, reader) = checkpoint.config, checkpoints.reader(checkpoint)
    modules: dict[str, str] = {}
    tokens: dict[str, Any] = {}
    indices = config.get("trainable_token_indices")
    for old, new in renamed.items():
        before, after = reader.split(plain_name(old)), reader.split(plain_name(new))
        if before is not None and after is not None and indices and before[1] == trainable_tokens.TENSOR:
            tokens[after[0]] = trainable_tokens.tokens_of(indices, before[0])
        elif before is not None and after is not None:
            modules[before[0]] = after[0]
    spelt: dict[str, Any] = {"target_modules": list(modules.values()), "exclude_modules": None}
    if tokens:
        spelt["trainable_token_indices"] = tokens
    for key in ("layers_to_transform", "layers_pattern"):
        spelt |= {key: None} if key in config else {}
    if "init_r" in config:
        masks = config.get("rank_pattern") or {}
        spelt["rank_pattern"] = {
            adalora.mask_of(new): mask for old, new in modules.items() if (mask := masks.get(adalora.mask_of(old)))
        } or None
    elif "rank_pattern" in config:
        spelt["rank_pattern"] = {new: lora.rank_of(config, old) for old, new in modules.items()}
        key = "lora_alpha" if "lora_alpha" in config else "alpha"
        spelt["alpha_pattern"] = {new: lora.alpha_of(config, old, key) for old, new in modules.items()}
    if "feedforward_modules" in config:
        spelt["feedforward_modules"] = [new for old, new in modules.items() if ia3.is_feedforward(config, old)]
    return spelt


def _labels(adapter: Adapter, wirings: Wirings) -> int | None:
    """Returns the label count of the adapter's own head."""
    for each in adapter.attachments:
        if each.method == HEAD and wirings.sites[each.site].site.labelled:
            return int(each.params["weight"].shape[-1])
    return None


def _resized(base: bases.Base, wiring: Wiring, params: Mapping[str, Array]) -> bool:
    return wiring.site.labelled and params["weight"].shape[-1] != wiring.site.out_features


def _probe(wiring: Wiring, generator: np.random.Generator) -> dict[str, Array]:
    site = wiring.site
    width = PROBE_LABELS if site.labelled else site.out_features
    if site.kind in NORMS:
        weight = 1 + generator.normal(0, 0.1, (1, 1, width))
    else:
        weight = generator.normal(0, site.in_features**-0.5, (1, site.in_features, width))
    arrays = {f"{site.name}.weight": weight}
    if site.kind not in UNBIASED:
        arrays[f"{site.name}.bias"] = generator.normal(0, 0.1, (1, 1, width))
    # Numbers that every precision holds.
    return {name: array.astype(np.float16).astype(np.float32) for name, array in arrays.items()}


def _set_heads(model: nn.Module, wirings: Wirings, arrays: Mapping[str, Array]) -> None:
    """Gives modules of a PyTorch model the weights that slots of these names would take."""
    for name in dict.fromkeys(name.rpartition(".")[0] for name in arrays):
        wiring = wirings.sites[name]
        module = model.get_submodule(name)
        weight = arrays[f"{name}.weight"][0]
        if wiring.site.kind == "linear" and wiring.layout == "out_in":
            weight = weight.T
        if wiring.site.kind in NORMS:
            weight = weight[0]
        module.weight = nn.Parameter(torch.tensor(weight), requires_grad=False)
        bias = arrays.get(f"{name}.bias")
        if bias is not None and (getattr(module, "bias", None) is not None or bias.any()):
            module.bias = nn.Parameter(torch.tensor(bias[0, 0]), requires_grad=False)

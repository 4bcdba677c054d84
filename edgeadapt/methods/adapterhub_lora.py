"""AdapterHub's LoRA, IA3, DoRA, VeRA and MTL-LoRA, which are one there: LoRAs, gated or not, scales, and lengths.

Source: `adapters.methods.lora`: `LoRA`, `IA3`, `Vera` (`forward`), `LoRALinear.forward`, `LoRAMergedLinear.forward`.
They differ from PEFT's in three things: at a layer that holds query, key and value together each has a change of its
own; DoRA scales the base's bias too, and takes the length of `W + A B` without the scaling; IA3 has an alpha. A gated
DoRA is a scale and a gated LoRA after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgeadapt.adapter import Array
from edgeadapt.errors import BindingError, UnsupportedError, listed
from edgeadapt.methods import Module, lora

TITLE = "LoRA"
TYPE = "lora"
FIELDS = frozenset({
    "alpha", "architecture", "attn_matrices", "composition_mode", "dropout", "dtype", "init_weights",
    "init_weights_seed", "intermediate_lora", "leave_out", "n_up_projection", "output_lora", "r", "selfattn_lora",
    "task_specific_matrix_type", "use_dora", "use_gating", "vera_b", "vera_d", "weights_sharpness",
})  # fmt: skip
SHARED = "shared_parameters."
PARTS = ("q", "k", "v")
SHARED_TASKS = "mtl_lora"


def split(name: str) -> tuple[str, str] | None:
    """Returns module path and tensor of `<module>.loras.<tensor>`; the path is empty where all modules share it."""
    module, found, tensor = name.partition(".loras.")
    if found:
        return module, tensor
    return ("", name.removeprefix(SHARED)) if name.startswith(SHARED) else None


def read(config: Mapping[str, Any], module: Module, tensors: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """Returns the params of a module's LoRA, DoRA or IA3.

    Args:
        config: AdapterHub's `LoRAConfig` as its `adapter_config.json` has it.
        module: The module.
        tensors: `lora_A` `(rank, in)` and `lora_B` `(out, rank)`; for IA3 `lora_B` `(out, 1)` alone; for DoRA
            `m.weight` `(out, 1)` too; for VeRA `vera_D` and `vera_B` in their place.

    Raises:
        BindingError: Tensors are missing or spare, or of shapes that don't go together.
        UnsupportedError: Parts of a layer are adapted in a way that can't be done exactly.
    """
    scaled, vera, dora, gated = (
        config.get("composition_mode") == "scale",
        any(isinstance(config.get(key), float) for key in ("vera_d", "vera_b")),
        bool(config.get("use_dora")),
        bool(config.get("use_gating")),
    )
    vera = vera and not scaled
    expected = {"lora_B"} if scaled else {"vera_D", "vera_B"} if vera else {"lora_A", "lora_B"}
    shared = config.get("architecture") == SHARED_TASKS
    expected |= {"weights", "task_specific.values"} if shared else set()
    expected |= {"m.weight"} if dora else set()
    expected |= {"gate.weight", "gate.bias"} if gated else set()
    if set(tensors) != expected:
        raise BindingError(f"{module.name}: got {listed(sorted(tensors))}, expected {listed(sorted(expected))}")
    own = {name: tensor.astype(np.float64) for name, tensor in tensors.items()}
    if shared:
        own = _of_task(config, module, own)
    alpha = float(config.get("alpha", 8))
    if scaled and gated:
        return {"gated_ia3": _gated_scale(config, module, own)}
    if scaled:
        return {"ia3": {"ia3_l": _whole(config, module, own["lora_B"].reshape(-1), 1.0) * np.float32(alpha)}}
    if dora and _is_parted(config, module, own):
        raise UnsupportedError(
            f"{module.name}: adapters 1.3.0 leaves DoRA's lengths out of a layer of query, key and value; train a LoRA"
        )
    if vera:
        a, b = _vera(module, own)
        factor = alpha / int(config["r"])
    else:
        a, b = _halves(config, module, own["lora_A"], own["lora_B"])
        factor = alpha / int(config["r"])
    if a.shape[0] != module.site.in_features or b.shape[1] != module.site.out_features or a.shape[1] != b.shape[0]:
        raise BindingError(f"{module.name}: got A {a.shape} and B {b.shape}, which don't fit the layer")
    if gated and not dora:
        return {"gated_lora": _gated(module, a, b, own["gate.weight"], own["gate.bias"])}
    if not dora:
        return {"lora": lora.halves(a, b * factor)}
    weight, _ = module.base()
    if own["m.weight"].size != weight.shape[1]:
        raise BindingError(f"{module.name}: got {own['m.weight'].size} lengths, expected {weight.shape[1]}")
    scale = own["m.weight"].reshape(-1) / np.linalg.norm(weight.astype(np.float64) + a @ b, axis=0)
    if gated:
        after = _gated(module, a, b * scale, own["gate.weight"], own["gate.bias"])
        return {"ia3": {"ia3_l": np.ascontiguousarray(scale, np.float32)[None, None]}, "gated_lora": after}
    found = {"dora_A": a, "dora_B": b * factor * scale, "dora_scale": scale[None], "dora_shift": 0 * scale[None]}
    return {"dora": {name: np.ascontiguousarray(array, np.float32)[None] for name, array in found.items()}}


def _halves(config: Mapping[str, Any], module: Module, a: Array, b: Array) -> tuple[Array, Array]:
    """Returns A `(in, rank)` and B `(rank, out)`; where parts of a layer have their own, of all parts at once."""
    rank, out = int(config["r"]), module.site.out_features
    if not _is_parted(config, module, {"lora_A": a, "lora_B": b}):
        return a.T, b.T
    parts = _adapted(config, module, len(b))
    width = out // len(PARTS)
    if len(a) != rank * len(parts):
        raise BindingError(f"{module.name}: got A {a.shape}, expected {rank * len(parts)} rows: {rank} for each part")
    whole = np.zeros((rank * len(parts), out))
    for number, part in enumerate(parts):
        at = PARTS.index(part) * width
        whole[number * rank : (number + 1) * rank, at : at + width] = b[number * width : (number + 1) * width].T
    return a.T, whole


def _of_task(config: Mapping[str, Any], module: Module, own: Mapping[str, Array]) -> dict[str, Array]:
    """Returns the LoRA that one task of an MTL-LoRA is: the mean of its Bs `(n, out, rank)`, and A times its values.

    Source: Yang et al., arXiv 2410.09437; `adapters.methods.lora.MTLLoRA.forward` and `apply_weights`.
    """
    weights, values = own["weights"], own["task_specific.values"]
    if own["lora_B"].ndim != 3 or len(own["lora_B"]) != len(weights) or values.shape != own["lora_A"].shape[:1]:
        raise BindingError(f"{module.name}: got B {own['lora_B'].shape}, {len(weights)} weights, values {values.shape}")
    shares = np.exp((weights - weights.max()) / float(config.get("weights_sharpness", 0.05)))
    mean = np.tensordot(shares / shares.sum(), own["lora_B"], axes=1)
    return {**own, "lora_A": own["lora_A"] * values[:, None], "lora_B": mean}


def _is_parted(config: Mapping[str, Any], module: Module, own: Mapping[str, Array]) -> bool:
    """Tells whether query, key and value, which a layer holds together, have changes of their own."""
    whole = int(config["r"]), module.site.out_features
    return "lora_A" in own and (len(own["lora_A"]), len(own["lora_B"])) != whole


def _gated_scale(config: Mapping[str, Any], module: Module, own: Mapping[str, Array]) -> dict[str, Array]:
    """Returns the params of an IA3 with gates `(gates, in)`: each is that of as many outputs as the others."""
    factors, gate, bias = own["lora_B"].reshape(-1), own["gate.weight"], own["gate.bias"]
    if gate.shape[1:] != (module.site.in_features,) or bias.shape != (len(gate),) or factors.size % len(gate):
        raise BindingError(
            f"{module.name}: got a gate {gate.shape} with a bias {bias.shape}, which don't fit the layer"
        )
    width, spread = factors.size // len(gate), []
    for number in range(len(gate)):
        mine = np.zeros_like(factors)
        mine[number * width : (number + 1) * width] = factors[number * width : (number + 1) * width]
        spread.append(_whole(config, module, mine, 0.0)[0])
    found = {
        "gated_ia3_rest": 1 - _whole(config, module, np.ones_like(factors), 0.0)[0],
        "gated_ia3_l": np.concatenate(spread),
        "gated_ia3_gate": gate.T,
        "gated_ia3_gate_bias": bias[None],
    }
    return {name: np.ascontiguousarray(array, np.float32)[None] for name, array in found.items()}


def _gated(module: Module, a: Array, b: Array, gate: Array, bias: Array) -> dict[str, Array]:
    """Returns the params of a LoRA with gates `(gates, in)`: each is that of as many columns of A."""
    if gate.shape[1:] != (len(a),) or bias.shape != (len(gate),) or a.shape[1] % len(gate):
        raise BindingError(
            f"{module.name}: got a gate {gate.shape} with a bias {bias.shape}, which don't fit the layer"
        )
    columns = a.shape[1] // len(gate)
    found = (a, b, np.repeat(gate.T, columns, axis=1), np.repeat(bias[None], columns, axis=1))
    names = ("gated_A", "gated_B", "gated_gate", "gated_gate_bias")
    return {name: np.ascontiguousarray(array, np.float32)[None] for name, array in zip(names, found, strict=True)}


def _whole(config: Mapping[str, Any], module: Module, given: Array, rest: float) -> Array:
    """Returns one value for every output, `(1, 1, out)`; parts of a layer that have none get `rest`."""
    whole = np.full(module.site.out_features, rest)
    if given.size == whole.size:
        whole = given
    else:
        width = module.site.out_features // len(PARTS)
        for number, part in enumerate(_adapted(config, module, given.size)):
            at = PARTS.index(part) * width
            whole[at : at + width] = given[number * width : (number + 1) * width]
    return np.ascontiguousarray(whole, np.float32)[None, None]


def _adapted(config: Mapping[str, Any], module: Module, outputs: int) -> list[str]:
    """Returns the parts of a layer of query, key and value that are adapted."""
    parts = [part for part in PARTS if part in config.get("attn_matrices", ())]
    if outputs * len(PARTS) != len(parts) * module.site.out_features:
        raise BindingError(
            f"{module.name}: got {outputs} outputs, expected {module.site.out_features}, or a third for each of "
            f"{listed(parts)}"
        )
    return parts


def _vera(module: Module, own: Mapping[str, Array]) -> tuple[Array, Array]:
    """Returns A `(in, rank)` and B `(rank, out)` of the matrices that all modules share."""
    if missing := [name for name in ("lora_A", "lora_B") if name not in module.shared]:
        raise UnsupportedError(
            f"{module.name}: the checkpoint lacks {listed(missing)}, which all modules share; save the adapter from a "
            "model with a head"
        )
    a, b = (module.shared[name].astype(np.float64) for name in ("lora_A", "lora_B"))
    if own["vera_D"].shape[1] != a.shape[0] or own["vera_B"].shape[1] != b.shape[0]:
        raise BindingError(f"{module.name}: its vectors don't fit the matrices that all modules share")
    return (own["vera_D"] @ a).T, (own["vera_B"] @ b).T

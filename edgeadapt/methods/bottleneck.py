"""Bottleneck adapters: a small feed-forward block at the end of a sublayer, `y' = y + act(x D + d) U + u`.

Source: Houlsby et al., arXiv 1902.00751; Pfeiffer et al., arXiv 2005.00247; He et al., arXiv 2110.04366;
`adapters.methods.modeling.Adapter` and `ParallelAdapter` (`pre_forward`, `forward`, `post_forward`). The base's own sum
with the residual, and its norm of it, follow as they are (`original_ln_after`).

The options of `bottleneck-<options>` are an activation and, in AdapterHub's words, what else the block does:

    original_ln_before          x is what the sublayer would give: the norm of `y` and the residual
    parallel                    x is the residual
    ln_before, ln_after         norms of the adapter's own, before and after the block
    residual_after_ln           x is added to the block in place of `y`
    residual_post_add           the sum of `y` and the residual is
    adapter_residual_before_ln  it is added before `ln_after`
    gated                       the block is weighted by `mean(sigmoid(x G + g))` over the sequence (UniPELT)
    no_original_ln_after        neither residual nor norm follow
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from edgeadapt.adapter import Array, Params, Site
from edgeadapt.errors import BindingError, UnsupportedError, listed
from edgeadapt.methods import Module, Op, Point, Replaces, Shape, Sublayer, Value, _activations, compacter

FLAGS = (
    "original_ln_before", "parallel", "ln_before", "ln_after", "residual_after_ln", "residual_post_add",
    "adapter_residual_before_ln", "gated", "no_original_ln_after",
)  # fmt: skip
PARAMS = (
    "adapter_down", "adapter_down_bias", "adapter_up", "adapter_up_bias", "adapter_ln_before", "adapter_ln_before_bias",
    "adapter_ln_after", "adapter_ln_after_bias", "adapter_gate", "adapter_gate_bias",
)  # fmt: skip
"""What a block may have, whatever its options."""

TITLE = "bottleneck"
TYPE = "bottleneck"
FIELDS = frozenset({
    "adapter_residual_before_ln", "cross_adapter", "dropout", "factorized_phm_W", "factorized_phm_rule",
    "hypercomplex_nonlinearity", "init_weights", "init_weights_seed", "inv_adapter", "inv_adapter_reduction_factor",
    "is_parallel", "learn_phm", "leave_out", "ln_after", "ln_before", "mh_adapter", "non_linearity",
    "original_ln_after", "original_ln_before", "output_adapter", "phm_bias", "phm_c_init", "phm_dim", "phm_init_range",
    "phm_layer", "phm_rank", "reduction_factor", "residual_before_ln", "scaling", "shared_W_phm", "shared_phm_rule",
    "stochastic_depth", "use_gating",
})  # fmt: skip
SHARED = "shared_parameters."
SWAPPED = ".swapped"
ASYMMETRIC = ("residual_after_ln", "residual_post_add", "adapter_residual_before_ln")
EPSILON = 1e-5  # of torch.nn.LayerNorm


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """The form of one combination of options.

    Attributes:
        options: The options as the method's name has them; the params' names end in them.
        activation: Name of the activation.
        flags: What else the block does.
    """

    options: str
    activation: str
    flags: frozenset[str]

    @property
    def REPLACES(self) -> Replaces:  # noqa: N802  # as every form has it
        """The module's output, or the sublayer's where nothing of the base follows."""
        return "out" if "no_original_ln_after" in self.flags else "y"

    @property
    def switched(self) -> bool:
        """Tells whether zeros don't leave the site as it is, so that a param has to say whether the adapter is on."""
        return bool(self.flags & {"residual_after_ln", "residual_post_add", "no_original_ln_after"}) or (
            {"adapter_residual_before_ln", "ln_after"} <= self.flags
        )

    def name(self, param: str) -> str:
        """Returns the name of a param of this variant."""
        return f"{param}.{self.options}"

    def shapes(self, site: Site) -> dict[str, Shape]:
        """Returns down `(rows, in, rank)`, up `(rows, rank, out)`, their biases and what the options ask for."""
        if not site.sublayer:
            return {}
        found = self.block(site)
        if self.switched:
            found["adapter_on"] = (site.rows, 1, 1)
        return {self.name(param): shape for param, shape in found.items()}

    def block(self, site: Site) -> dict[str, Shape]:
        """Returns the params of the block itself, by what they are."""
        rows, width = site.rows, site.out_features
        found: dict[str, Shape] = {
            "adapter_down": (rows, width, "rank"),
            "adapter_down_bias": (rows, 1, "rank"),
            "adapter_up": (rows, "rank", width),
            "adapter_up_bias": (rows, 1, width),
        }
        for norm in ("ln_before", "ln_after"):
            if norm in self.flags:
                found |= {f"adapter_{norm}": (rows, 1, width), f"adapter_{norm}_bias": (rows, 1, width)}
        if "gated" in self.flags:
            found |= {"adapter_gate": (rows, width, 1), "adapter_gate_bias": (rows, 1, 1)}
        return found

    def graph(self, op: Op, at: Point, params: dict[str, Value]) -> Value:
        """Returns the module's output with the block's added, or what the sublayer then gives."""
        own = {name.partition(".")[0]: value for name, value in params.items()}
        sublayer = self._sublayer(at)
        x, residual = self._ends(op, at, sublayer)
        out = self.applied(op, at.site, x, residual, own)
        if not self.switched:
            return out
        on = op.Greater(own["adapter_on"], op.constant(np.array(0.5, np.float32)))
        return op.Where(on, out, sublayer.out if self.REPLACES == "out" else at.y)

    def neutral(self, site: Site) -> Params:
        """Returns zero-filled params of rank 1: `y + act(0) 0 + 0` is `y`, and one that isn't on is left out."""
        return {
            param: np.zeros([1 if isinstance(dim, str) else dim for dim in shape], np.float32)
            for param, shape in self.shapes(site).items()
        }

    def _sublayer(self, at: Point) -> Sublayer:
        if at.sublayer is None:
            raise UnsupportedError(f"{at.site.name} ends no sublayer, so no bottleneck can be there")
        return at.sublayer

    def _ends(self, op: Op, at: Point, sublayer: Sublayer) -> tuple[Value, Value]:
        """Returns what enters the block, and what the block is added to (`pre_forward`)."""
        if "parallel" in self.flags:
            return sublayer.residual, at.y
        x = sublayer.finish(op, at.y) if "original_ln_before" in self.flags else at.y
        if "residual_post_add" in self.flags:
            return x, op.Add(at.y, sublayer.residual)
        return x, x if "residual_after_ln" in self.flags else at.y

    def applied(self, op: Op, site: Site, x: Value, residual: Value | None, own: dict[str, Value]) -> Value:
        """Returns what the block makes of `x`, added to the residual if there is one (`forward`)."""
        block = op.Add(op.MatMul(self.active(op, site, x, own), own["adapter_up"]), own["adapter_up_bias"])
        if "gated" in self.flags:
            gate = op.Sigmoid(op.Add(op.MatMul(x, own["adapter_gate"]), own["adapter_gate_bias"]))
            block = op.Mul(block, op.ReduceMean(gate, op.constant(np.array([1], np.int64)), keepdims=1))
        if residual is not None and "adapter_residual_before_ln" in self.flags:
            return self._norm(op, op.Add(block, residual), site, own, "ln_after")
        normed = self._norm(op, block, site, own, "ln_after")
        return normed if residual is None else op.Add(residual, normed)

    def active(self, op: Op, site: Site, x: Value, own: dict[str, Value]) -> Value:
        """Returns what is inside of the block, `act(x D + d)`, `(batch, n, rank)`."""
        entering = self._norm(op, x, site, own, "ln_before")
        down = op.Add(op.MatMul(entering, own["adapter_down"]), own["adapter_down_bias"])
        return _activations.apply(op, self.activation, down)

    def _norm(self, op: Op, x: Value, site: Site, own: dict[str, Value], norm: str) -> Value:
        """Returns `x` after a norm of the adapter's own, or `x` where it has no such norm."""
        if norm not in self.flags:
            return x
        ones = op.constant(np.ones(site.out_features, np.float32))
        plain = op.LayerNormalization(x, ones, axis=-1, epsilon=EPSILON)
        return op.Add(op.Mul(plain, own[f"adapter_{norm}"]), own[f"adapter_{norm}_bias"])


@cache
def variant(options: str) -> Bottleneck:
    """Returns the form of `bottleneck-<options>`.

    Raises:
        UnsupportedError: An option is unknown.
    """
    activation, *flags = options.split("-")
    if unknown := [flag for flag in flags if flag not in FLAGS]:
        raise UnsupportedError(f"bottleneck-{options}: unknown options {listed(unknown)}. There are: {listed(FLAGS)}.")
    return Bottleneck(options, _activations.canonical(activation), frozenset(flags))


def split(name: str) -> tuple[str, str] | None:
    """Returns module path and tensor of `<module>.adapters.<tensor>`; the path is empty where all modules share it.

    At a module where AdapterHub has output and residual `swapped`, the tensor's name keeps the word.
    """
    module, found, tensor = name.partition(".adapters.")
    if found and module.endswith(SWAPPED):
        return module.removesuffix(SWAPPED), f"{tensor}{SWAPPED}"
    if found:
        return module, tensor
    return ("", name.removeprefix(SHARED)) if name.startswith(SHARED) else None


def read(config: Mapping[str, Any], module: Module, tensors: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """Returns the params of the block at the end of one sublayer.

    Args:
        config: AdapterHub's `BnConfig` as its `adapter_config.json` has it.
        module: The linear layer whose output the sublayer adds to its residual.
        tensors: `adapter_down.<n>.weight` `(rank, in)`, `adapter_up.weight` `(out, rank)`, their biases, and what the
            options ask for.

    Raises:
        BindingError: Tensors are missing or spare.
        UnsupportedError: The module ends no sublayer, or an option can't be done exactly.
    """
    swapped = any(name.endswith(SWAPPED) for name in tensors)
    form = variant(options_of(config, swapped=swapped))
    stored = {name.removesuffix(SWAPPED): tensor for name, tensor in tensors.items()}
    found = arrays(config, form, module, stored)
    if form.switched:
        found["adapter_on"] = np.ones(1)
    return {f"bottleneck-{form.options}": {form.name(param): param_of(array) for param, array in found.items()}}


def param_of(array: Array) -> Array:
    """Returns an array as a slot takes it, `(1, ., .)`."""
    return np.ascontiguousarray(np.atleast_2d(array), np.float32)[None]


def arrays(
    config: Mapping[str, Any], form: Bottleneck, module: Module, tensors: Mapping[str, Array]
) -> dict[str, Array]:
    """Returns the params of a block by what they are, in float64, with the scaling multiplied in; raises as `read`."""
    if not module.site.sublayer:
        raise UnsupportedError(
            f"{module.name}: what leaves it is not only added to a residual, so no bottleneck can be there"
        )
    left = dict(tensors)
    missing: list[str] = []

    def take(name: str) -> Array:
        if name not in left:
            missing.append(name)
            return np.zeros((1, 1))
        return np.asarray(left.pop(name), np.float64)

    down = f"adapter_down.{1 if 'ln_before' in form.flags else 0}"
    found: dict[str, Array] = {}
    for half, name in (("down", down), ("up", "adapter_up")):
        if config.get("phm_layer"):
            found[f"adapter_{half}"] = compacter.weight(config, half, name, take, module.shared)
            bias = take(f"{name}.b") if config.get("phm_bias", True) else np.zeros(found[f"adapter_{half}"].shape[-1])
        else:
            found[f"adapter_{half}"] = take(f"{name}.weight").T
            bias = take(f"{name}.bias")
        found[f"adapter_{half}_bias"] = bias
    scaling = config.get("scaling", 1.0)
    factor = float(scaling) if isinstance(scaling, int | float) else take("scaling")
    found["adapter_up"] = found["adapter_up"] * factor
    found["adapter_up_bias"] = found["adapter_up_bias"] * factor
    for norm, stored in (("ln_before", "adapter_norm_before"), ("ln_after", "adapter_norm_after")):
        if norm in form.flags:
            found[f"adapter_{norm}"], found[f"adapter_{norm}_bias"] = take(f"{stored}.weight"), take(f"{stored}.bias")
    for twin in ("weight", "bias"):
        left.pop(f"adapter_down.0.{twin}", None) if "ln_before" in form.flags else None  # the same norm again
    if "gated" in form.flags:
        found["adapter_gate"], found["adapter_gate_bias"] = take("gate.weight").T, take("gate.bias")
    if missing or left:
        words = [f"lacks {listed(missing)}"] if missing else []
        words += [f"has {listed(sorted(left))}, which its configuration doesn't ask for"] if left else []
        raise BindingError(f"{module.name}: the bottleneck {' and '.join(words)}")
    return found


def options_of(config: Mapping[str, Any], *, swapped: bool = False) -> str:
    """Returns the options of AdapterHub's `BnConfig`, with those left out that change nothing.

    Args:
        config: The configuration.
        swapped: The library takes the residual for the layer's output and the other way round. The sum is the same, so
            that a block on the one is a block beside the other.

    Raises:
        UnsupportedError: The activation, or a combination of options, can't be done exactly.
    """
    parallel = bool(config.get("is_parallel"))
    before, after = config.get("original_ln_before", False), config.get("ln_after", False)
    residual = config.get("residual_before_ln", True)
    if residual not in (True, False, "post_add"):
        raise UnsupportedError(f"residual_before_ln = {residual!r} is none of true, false and 'post_add'")
    if residual == "post_add" and not before and not parallel:
        raise UnsupportedError("residual_before_ln = 'post_add' has no meaning without original_ln_before")
    has = {
        "original_ln_before": before and not parallel,
        "parallel": parallel,
        "ln_before": config.get("ln_before", False),
        "ln_after": after,
        "residual_after_ln": before and not parallel and not residual,
        "residual_post_add": before and not parallel and residual == "post_add",
        "adapter_residual_before_ln": config.get("adapter_residual_before_ln", False) and after and not parallel,
        "gated": config.get("use_gating", False),
        "no_original_ln_after": not config.get("original_ln_after", True),
    }
    if swapped:
        has["parallel"] = not parallel and not before
        if unable := [flag for flag in (*ASYMMETRIC, "no_original_ln_after") if has[flag]]:
            raise UnsupportedError(
                f"AdapterHub swaps output and residual here, and {listed(unable)} depends on which is"
            )
    activation = _activations.canonical(str(config.get("non_linearity", "relu")))
    return "-".join([activation, *(flag for flag in FLAGS if has[flag])])

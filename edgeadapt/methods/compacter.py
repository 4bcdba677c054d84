"""Compacter: a bottleneck whose weights are sums of Kronecker products, `W = sum_i P_i (x) (L_i R_i)`.

Source: Mahabadi et al., arXiv 2106.04647; `adapters.methods.modeling.PHMLayer.forward` and `kronecker_product`. The
products are multiplied out when the checkpoint is read: at run time it is the `bottleneck` that it stands for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from edgeadapt.adapter import Array
from edgeadapt.errors import BindingError


def weight(
    config: Mapping[str, Any], half: str, layer: str, take: Callable[[str], Array], shared: Mapping[str, Array]
) -> Array:
    """Returns the weight `(in, out)` of one half of a bottleneck.

    Args:
        config: AdapterHub's `BnConfig`.
        half: `down` or `up`.
        layer: The half's name in the checkpoint, to which its own tensors belong.
        take: Returns a tensor of the module by its name.
        shared: The tensors that all modules share.

    Raises:
        BindingError: A tensor that all modules share is missing.
    """

    def part(name: str, is_shared: bool) -> Array:
        if not is_shared:
            return take(f"{layer}.{name}")
        if name not in shared:
            raise BindingError(
                f"{layer}: got no {name}, which all modules share; save the adapter from a model with a head"
            )
        return np.asarray(shared[name], np.float64)

    rule_shared, weight_shared = config.get("shared_phm_rule", True), config.get("shared_W_phm", False)
    own = f"W_{half}" if weight_shared else "W"
    if config.get("factorized_phm_W", True):
        factors = part(f"{own}_left", weight_shared) @ part(f"{own}_right", weight_shared)
    else:
        factors = part(own, weight_shared)
    if config.get("factorized_phm_rule", False):
        rule = part("phm_rule_left", rule_shared) @ part("phm_rule_right", rule_shared)
    else:
        rule = part("phm_rule", rule_shared)
    total: Array = np.sum([np.kron(left, right) for left, right in zip(rule, factors, strict=True)], axis=0)
    return total

"""AdapterFusion's weights, multiplied into the blocks that it attends to.

The attention of a token over blocks with the values `v_i = a_i U_i + u_i`, of low rank, is

    s_i = (q Q + b_Q) (v_i K + b_K)^T,   p = softmax(s),   y' = sum_i p_i v_i V

What doesn't depend on `i` makes no difference to the softmax, so that with `M = Q K^T` and `m = b_Q K^T`

    s_i = a_i (q M U_i^T + m U_i^T)^T + q M u_i^T + m u_i^T,   y' = sum_i p_i (a_i (U_i V) + u_i V)

and all that is stored has the rank of the blocks. Source: Pfeiffer et al., arXiv 2005.00247;
`adapters.methods.modeling.BertFusion.forward`. Its `residual_before` adds the residual to keys and values; to the keys
it makes no difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgeadapt.adapter import Array
from edgeadapt.errors import BindingError, listed

FIELDS = frozenset({
    "dropout_prob", "key", "query", "query_before_ln", "regularization", "residual_before", "temperature", "value",
    "value_before_softmax", "value_initialized",
})  # fmt: skip
"""AdapterHub's `AdapterFusionConfig`. The value's place before or after the softmax makes no difference; dropout,
regularization and how the value begins concern training alone."""

PARAMS = ("fuse_key", "fuse_key_bias", "fuse_shift", "fuse_shift_bias")


def words(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the options that the graph depends on."""
    has = {
        "query_before_ln": config.get("query_before_ln"),
        "residual_before": config.get("residual_before"),
        "value": config.get("residual_before") and config.get("value"),
    }
    return tuple(word for word, on in has.items() if on)


def check(where: str, config: Mapping[str, Any], tensors: Mapping[str, Array]) -> None:
    """Raises BindingError where the layer lacks tensors that its configuration asks for, or has others."""
    wanted = {f"{name}.{role}" for name in ("query", "key") if config.get(name) for role in ("weight", "bias")}
    wanted |= {"value.weight"} if config.get("value") else set()
    unused = set() if wanted else {"dense.weight", "dense.bias"}  # the library makes it, and never calls it
    missing, spare = wanted - set(tensors), set(tensors) - wanted - unused
    if missing or spare:
        said = [f"lacks {listed(sorted(missing))}"] if missing else []
        said += [f"has {listed(sorted(spare))}, which its configuration doesn't ask for"] if spare else []
        raise BindingError(f"{where}: the fusion {' and '.join(said)}")


def value(tensors: Mapping[str, Array], width: int) -> Array:
    """Returns V `(width, width)`; none is the identity."""
    return np.asarray(tensors["value.weight"].T, np.float64) if "value.weight" in tensors else np.eye(width)


def projected(tensors: Mapping[str, Array], up: Array, bias: Array) -> dict[str, Array]:
    """Returns what the attention needs of one block.

    Args:
        tensors: `query.weight` `(width, width)` and so on, as far as the layer has them.
        up: The block's U `(rank, width)`.
        bias: Its u `(width,)`.

    Returns:
        `adapter_up` `(rank, width)` and its bias with V in them; `fuse_key` `(width, rank)` and `fuse_key_bias`
        `(width, 1)`, which `q` is multiplied by; `fuse_shift` `(1, rank)` and `fuse_shift_bias` `(1, 1)`, which are
        added to that.
    """
    width = up.shape[1]
    query, key = (np.asarray(tensors.get(f"{name}.weight", np.eye(width)), np.float64) for name in ("query", "key"))
    query_bias = np.asarray(tensors.get("query.bias", np.zeros(width)), np.float64)
    product, shift, last = query.T @ key, query_bias @ key, value(tensors, width)
    return {
        "adapter_up": up @ last,
        "adapter_up_bias": bias @ last,
        "fuse_key": product @ up.T,
        "fuse_key_bias": product @ bias[:, None],
        "fuse_shift": shift @ up.T,
        "fuse_shift_bias": shift @ bias[:, None],
    }

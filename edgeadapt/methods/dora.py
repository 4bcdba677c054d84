"""DoRA: a LoRA whose weight keeps a trained length, `y' = (y - b) * s + b + (x A) B`.

Source: Liu et al., arXiv 2402.09353; `peft.tuners.lora.dora.DoraLinearLayer.forward` and
`DoraEmbeddingLayer.forward`. The scale of each output,
`s = m / ||W + A B||`, needs the base's weight once, when the checkpoint is read: at run time it is one multiplication
more than LoRA. `b (1 - s)`, which leaves the base's bias as it is, is a param too, and B has `s` multiplied in.
"""

from __future__ import annotations

import numpy as np

from edgeadapt.adapter import Array, Params, Site
from edgeadapt.errors import BindingError, UnsupportedError
from edgeadapt.methods import Module, Op, Point, Shape, Value
from edgeadapt.methods._tables import look_up


def shapes(site: Site) -> dict[str, Shape]:
    """Returns A `(rows, in, rank)`, B `(rows, rank, out)`, scale and shift `(rows, 1, out)`.

    An embedding has no bias, and so no shift; a layer norm has no such params.
    """
    if site.kind == "embedding":
        return {
            "dora_embedding_A": (site.rows, site.in_features, "rank"),
            "dora_embedding_B": (site.rows, "rank", site.out),
            "dora_scale": (site.rows, 1, site.out),
        }
    if site.kind != "linear":
        return {}
    return {
        "dora_A": (site.rows, site.in_features, "rank"),
        "dora_B": (site.rows, "rank", site.out),
        "dora_scale": (site.rows, 1, site.out),
        "dora_shift": (site.rows, 1, site.out),
    }


def graph(op: Op, at: Point, params: dict[str, Value]) -> Value:
    """Returns `y * scale + shift + (x A) B`; at an embedding `x A` is a look-up of A's rows."""
    a, b, scale, *shift = params.values()
    scaled = op.Mul(at.y, scale)
    if at.site.kind == "embedding":
        return op.Add(scaled, op.MatMul(look_up(op, at.site, at.x, a), b))
    return op.Add(op.Add(scaled, *shift), op.MatMul(op.MatMul(at.x, a), b))


def neutral(site: Site) -> Params:
    """Returns a scale of one and zeros: `y * 1 + 0 + 0` is `y`."""
    first, second, scale, *shift = shapes(site)
    return {
        first: np.zeros((1, site.in_features, 1), np.float32),
        second: np.zeros((1, 1, site.out_features), np.float32),
        scale: np.ones((1, 1, site.out_features), np.float32),
        **{name: np.zeros((1, 1, site.out_features), np.float32) for name in shift},
    }


def fold(site: Site, weight: Array, bias: Array | None, params: Params) -> tuple[Array, Array | None]:
    """Returns `weight * scale + A B` and `bias * scale + shift` (`peft.tuners.lora.layer.Linear.merge`)."""
    a, b, scale, *shift = (params[name][0].astype(np.float64) for name in shapes(site))
    changed = (weight.astype(np.float64) * scale + a @ b).astype(weight.dtype)
    if site.kind == "embedding":
        return changed, bias
    moved = shift[0][0] if bias is None else bias.astype(np.float64) * scale[0] + shift[0][0]
    return changed, moved.astype(weight.dtype)


def from_lora(module: Module, a: Array, b: Array, magnitude: Array) -> dict[str, Array]:
    """Returns DoRA's params.

    Args:
        module: The module; its weight is read.
        a: `(in, rank)`.
        b: `(rank, out)`, scaled.
        magnitude: `(out,)`, the trained length of every row of PyTorch's weight.

    Raises:
        BindingError: The shapes don't fit the module.
        UnsupportedError: The module is neither a linear layer nor an embedding.
    """
    if module.site.kind not in ("linear", "embedding"):
        raise UnsupportedError(f"{module.name}: DoRA on a {module.site.kind} is not supported")
    weight, bias = module.base()
    magnitude = magnitude.reshape(-1).astype(np.float64)
    if (a.shape[0], b.shape[1]) != weight.shape or magnitude.shape != weight.shape[1:]:
        raise BindingError(
            f"{module.name}: got A {a.shape}, B {b.shape} and a magnitude {magnitude.shape}, expected them to fit the "
            f"weight {weight.shape}"
        )
    # PEFT takes the lengths in the weight's own precision.
    length = np.linalg.norm(weight.astype(np.float64) + a @ b, axis=0)
    scale = magnitude / length
    shift = np.zeros_like(scale) if bias is None else bias.astype(np.float64) * (1 - scale)
    found = dict(zip(shapes(module.site), (a, b * scale, scale[None], shift[None]), strict=False))
    return {name: np.ascontiguousarray(array, np.float32)[None] for name, array in found.items()}

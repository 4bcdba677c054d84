"""A module of one's own: `y' = module(x, y)`, or `module(y)`, at a site, where it is on.

Source: none but the module, which `torch.onnx.export` writes as an ONNX function. `module-<digest>` is told from others
by its functions' digest; they lie in the adapter's subgraph and in the model. What switches it is one number a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from edgeadapt.adapter import Params, Site
from edgeadapt.errors import UnsupportedError
from edgeadapt.methods import Op, Point, Shape, Value


@dataclass(frozen=True, slots=True)
class Module:
    """The form of one adapter's modules.

    Attributes:
        digest: What tells them from others.
    """

    digest: str

    def shapes(self, site: Site) -> dict[str, Shape]:
        """Returns the switch, `(rows, 1, 1)`: over a half, the module is on."""
        return {f"module_on.{self.digest}": (site.rows, 1, 1)}

    def graph(self, op: Op, at: Point, params: dict[str, Value]) -> Value:
        """Returns the module's output where it is on, and `y` where it is off.

        Before:   y -> readers
        After:    If(any row is on){ Where(on, module(x, y), y) } else { y } -> readers
        """
        if at.body is None:
            raise UnsupportedError(f"{at.site.name}: its function, module-{self.digest}, is not here")
        (switch,) = params.values()
        on = op.Greater(switch, op.constant(np.array(0.5, np.float32)))
        some = op.Greater(
            op.ReduceMax(switch, op.constant(np.array([0, 1, 2], np.int64)), keepdims=0),
            op.constant(np.array(0.5, np.float32)),
        )
        return op.branch(some, lambda inner: inner.Where(on, inner.call(at.body, at.x, at.y), at.y), at.y)

    def neutral(self, site: Site) -> Params:
        """Returns a switch that is off."""
        return {param: np.zeros((1, 1, 1), np.float32) for param in self.shapes(site)}


@cache
def variant(digest: str) -> Module:
    """Returns the form of `module-<digest>`."""
    return Module(digest)

"""The oldest ONNX Runtime that runs a graph, read off what the graph is made of.

What is named here was run on the release that stands beside it (`tests/older`). Anything else ran on the release that
exported it, and is said to need that one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

import onnx_ir as ir

Release = tuple[int, int]
"""A version's first two numbers: `(1, 23)`."""

FLOOR: Release = (1, 20)
"""The first to read adapters in a container of their own, which all bundles have."""

OPSETS: Mapping[int, Release] = {21: (1, 20), 23: (1, 23)}
"""The newest version of ai.onnx that a release takes, and the release; what is older runs there, too."""

IR_VERSIONS: Mapping[int, Release] = {10: (1, 20)}
"""The same of the format of a model's file."""

CONTRIB = "com.microsoft"
"""The domain of operators that have no versions: a release has them, with some attributes, or it has not."""

CONTRIB_OPERATORS: Mapping[str, tuple[Release, frozenset[str]]] = {
    "MatMulNBits": ((1, 20), frozenset({"K", "N", "bits", "block_size", "accuracy_level"})),
    "GatherBlockQuantized": ((1, 20), frozenset({"block_size", "gather_axis", "quantize_axis"})),
    # In decoders alone, and at opset 23.
    "SkipSimplifiedLayerNormalization": ((1, 23), frozenset({"epsilon"})),
    "GroupQueryAttention": (
        (1, 23),
        frozenset({"num_heads", "kv_num_heads", "scale", "do_rotary", "rotary_interleaved", "local_window_size"}),
    ),
}


def requirement(models: Iterable[ir.Model], proven: Release) -> str:
    """Returns what a manifest says of the ONNX Runtime that these models need, such as `">=1.20"`.

    Args:
        models: The models of one bundle.
        proven: The release that they were run on: what nothing older is known of needs this one.

    Example:
        >>> requirement([], (1, 32))
        '>=1.20'
    """
    needed = max((release for model in models for release in _needs(model, proven)), default=FLOOR)
    return ">={}.{}".format(*max(needed, FLOOR))


def release(version: str) -> Release:
    """Returns the release of a version.

    Example:
        >>> release("1.23.0")
        (1, 23)
    """
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def _needs(model: ir.Model, proven: Release) -> Iterator[Release]:
    """Yields what each part of a model needs."""
    yield _first(IR_VERSIONS, model.ir_version, proven)
    own = {function.domain for function in model.functions.values()}
    for imports in (model.graph.opset_imports, *(function.opset_imports for function in model.functions.values())):
        yield _first(OPSETS, imports.get("", 1), proven)
    for node in chain(model.graph.all_nodes(), *(function.all_nodes() for function in model.functions.values())):
        if node.domain and node.domain not in own:
            yield _contrib(node, proven)


def _first(known: Mapping[int, Release], number: int, proven: Release) -> Release:
    return next((release for newest, release in sorted(known.items()) if number <= newest), proven)


def _contrib(node: ir.Node, proven: Release) -> Release:
    needed, attributes = CONTRIB_OPERATORS.get(node.op_type, (proven, frozenset()))
    known = node.domain == CONTRIB and attributes.issuperset(node.attributes)
    return needed if known else proven

"""A base in 4 bits: PyTorch computes with the very same weights, so that what is compared is not how they were rounded.

Three things differ from PyTorch's own base, and each is told by itself: the weights, which 4 bits round once
(`rounding`); what the graph does with them, which is held to the tolerance of fp32 in fp32 arithmetic; and the int8
arithmetic that it runs in, where inputs of a product are rounded, too (`precision.run_in_int8`).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path

import onnx_ir as ir
import torch

from edgeadapt import parity
from edgeadapt.adapter import Array
from edgeadapt.errors import UnsupportedError
from edgeadapt.exporter import base as bases
from edgeadapt.exporter.base import Base
from edgeadapt.exporter.precision import ROUNDING
from edgeadapt.graph.fold import base_weights
from edgeadapt.graph.nodes import values_of
from edgeadapt.graph.quantise import quantise
from edgeadapt.graph.quantised import BLOCK, is_quantised
from edgeadapt.graph.sites import Wirings
from edgeadapt.parity import ParityReport, Tolerance


def round_weights(base: Base, model: ir.Model, wirings: Wirings, folder: Path) -> Base:
    """Stores a base's weights in 4 bits, in place, and returns a base in PyTorch that has the same.

    Args:
        base: The base; it keeps its weights.
        model: Its graph.
        wirings: Its sites.
        folder: A folder for PyTorch's weights, as long as that base is used.

    Raises:
        UnsupportedError: It has nothing to store in 4 bits, or lacks a head.
    """
    if base.invented:
        raise UnsupportedError(f"{base.source} lacks weights, and a base in int4 must be whole.\nExport it in fp32.")
    if not quantise(model, wirings, _in_blocks):
        raise UnsupportedError(f"{base.source} has no linear layer to store in 4 bits.\nExport it in fp32.")
    values, weights = values_of(model), base_weights(model)
    with bases.quiet():
        base.model.save_pretrained(folder)
        rounded = bases.load(str(folder), base.task)
        for name, wiring in wirings.sites.items():
            node = values[wiring.calls[0].product].producer() if wiring.calls else None
            if node is not None and is_quantised(node):
                weight = torch.from_numpy(weights(wiring)[0])
                module = rounded.model.get_submodule(name)
                module.weight.data = (weight.T if wiring.layout == "out_in" else weight).contiguous()
        rounded.model.tie_weights()
        rounded.model.save_pretrained(folder)
    return rounded


def rounding(whole: Mapping[str, Array], rounded: Mapping[str, Array]) -> ParityReport:
    """Returns how far 4 bits move PyTorch's base: nothing that an adapter could be held to."""
    return parity.compare(ROUNDING["int4"], rounded, whole, None, Tolerance(max_abs=math.inf))


def _in_blocks(weight: Array) -> tuple[Array, Array, Array]:
    """Returns the numbers, scales and zeros of a weight `(in, out)`."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, DefaultWeightOnlyQuantizer

    root.handlers[:] = handlers  # that module sets up the logging of whoever imports it
    root.setLevel(level)
    config = DefaultWeightOnlyQuantConfig(block_size=BLOCK, is_symmetric=False)
    found: tuple[Array, Array, Array] = DefaultWeightOnlyQuantizer(config).qbits_block_quant(weight)
    return found

"""Parts the graph of an encoder with its decoder in two: the encoder runs once, the decoder for every token."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from edgeadapt.bundle import ENCODED


def has_halves(model: ir.Model) -> bool:
    """Tells whether a graph gives what an encoder gives."""
    return any(str(value.name).startswith(ENCODED) for value in model.graph.outputs)


def part(model: ir.Model) -> tuple[ir.Model, ir.Model]:
    """Returns the encoder and the decoder of a graph that holds both, each with the inputs and slots that it reads.

    Before:   input_ids, attention_mask, decoder_input_ids, cache, slots -> encoded, logits, present
    After:    input_ids, attention_mask, its slots                       -> encoded
              decoder_input_ids, cache, its slots                        -> logits, present

    Cases:
        1. A slot of a site that both call (a shared embedding): both have it.
        2. A slot that nothing reads: the decoder has it, so that no slot is lost.
    """
    encoder = _half(model, encoder=True)
    decoder = _half(model, encoder=False)
    read = {value.name for value in encoder.graph.inputs if value.uses()}
    _drop(encoder, {value.name for value in encoder.graph.inputs if not value.uses()})
    _drop(decoder, {value.name for value in decoder.graph.inputs if not value.uses() and value.name in read})
    return encoder, decoder


def _half(model: ir.Model, *, encoder: bool) -> ir.Model:
    half = model.clone()
    for value in list(half.graph.outputs):
        if str(value.name).startswith(ENCODED) != encoder:
            half.graph.outputs.remove(value)
    RemoveUnusedNodesPass()(half)
    return half


def _drop(model: ir.Model, names: set[str | None]) -> None:
    for value in [value for value in model.graph.inputs if value.name in names]:
        model.graph.inputs.remove(value)

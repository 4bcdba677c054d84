"""Lets a decoder take embeddings in place of tokens, to see what it makes of vectors that are no token's."""

from __future__ import annotations

import onnx_ir as ir

from edgeadapt.errors import UnsupportedError
from edgeadapt.graph.locate import BATCH
from edgeadapt.graph.nodes import values_of
from edgeadapt.graph.sites import Wiring, Wirings

EMBEDDINGS = "inputs_embeds"


def enter(model: ir.Model, wirings: Wirings) -> int:
    """Gives a base the input `inputs_embeds` `(batch, sequence, width)`, in place, and returns the width.

    Before:   input_ids -> embedding -> y -> readers
    After:    inputs_embeds -> readers          (`input_ids` stays an input; others may read its shape)

    Raises:
        UnsupportedError: No embedding of the base is one whose output is all that becomes of the tokens.
    """
    wiring = home(wirings)
    y = values_of(model)[wiring.calls[0].y]
    width = wiring.site.out_features
    given = ir.Value(name=EMBEDDINGS, type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([BATCH, "sequence", width]))
    ir.convenience.replace_all_uses_with(y, given)
    model.graph.inputs.append(given)
    return width


def home(wirings: Wirings) -> Wiring:
    """Returns the embedding of the tokens, where its output is all that becomes of them but their shape.

    Raises:
        UnsupportedError: There is none.
    """
    found = [wiring for wiring in wirings.sites.values() if wiring.site.filler is not None]
    if len(found) != 1:
        raise UnsupportedError(
            f"The tokens of this {wirings.model_type} base do more than choose their embeddings, so vectors that are "
            "no token's can't stand in for these; train a prefix or a LoRA"
        )
    return found[0]

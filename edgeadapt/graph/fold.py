"""Merge, folded: the adapter absorbed into the base's weights; the base's nodes stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from edgeadapt import methods
from edgeadapt.adapter import Adapter, Array, Attachment
from edgeadapt.errors import AdapterError, GraphError
from edgeadapt.graph.locate import MOVING
from edgeadapt.graph.nodes import Nodes, Values, values_of
from edgeadapt.graph.quantised import BIAS, LINEAR, dequantised, is_quantised
from edgeadapt.graph.sites import Call, Wiring, Wirings
from edgeadapt.graph.splice import constants, splice
from edgeadapt.graph.switch import HEAD, in_order


def fold(model: ir.Model, wirings: Wirings, adapters: Iterable[tuple[str, Adapter]]) -> None:
    """Absorbs adapters, in order, into a base, in place.

    Before:   MatMul(x, W) -> Add(b)
    After:    MatMul(x, W') -> Add(b')

    An initializer may serve many sites, because the exporter merges equal values: the site gets a new one, and nothing
    is edited in place. Only a bias where the base has none needs a node of its own.

    Before:   x -> module -> y -> readers
    After:    x -> module -> y -> method(x, y, constants) -> readers     (a method that no weight can absorb, or a
              weight in 4 bits, which can't absorb any without another error)

    Raises:
        AdapterError: Two adapters bring the same module whole, or no adapter brings a module that the base lacks.
    """
    heads: dict[str, str] = {}
    problems = []
    for name, adapter in adapters:
        for attachment in adapter.attachments:
            if attachment.method == HEAD:
                if attachment.site in heads:
                    problems.append(f"{attachment.site}: brought by {heads[attachment.site]!r} and by {name!r}")
                heads[attachment.site] = name
    if problems:
        raise AdapterError.collect(
            "Adapters that replace the same module can't be folded together:", problems, "Fold one of them."
        )
    missing = [
        name for name, wiring in wirings.sites.items() if wiring.open and name not in heads and _has_input(model, name)
    ]
    if missing:
        raise AdapterError.collect("The base has no weights of its own here, and no adapter brings them:", missing)
    values = values_of(model)
    for _, adapter in adapters:
        by_key = {(each.site, each.method): each for each in adapter.attachments}
        for key in in_order(by_key):
            _fold_at(model, values, wirings.at(key[0]), by_key[key])
    RemoveUnusedNodesPass()(model)


def _has_input(model: ir.Model, site: str) -> bool:
    return any(value.name == f"{site}.weight" for value in model.graph.inputs)


def _fold_at(model: ir.Model, values: Values, wiring: Wiring, attachment: Attachment) -> None:
    if wiring.open:
        _fill_slots(model, attachment)
        return
    method = methods.get(attachment.method)
    quantised = any(is_quantised(_product(values, wiring, call)) for call in wiring.calls)
    if quantised or not isinstance(method, methods.Foldable):
        _fix(model, values, wiring, attachment)
        return
    made: dict[tuple[bool, str], ir.Value] = {}
    for call in wiring.calls:
        product = _product(values, wiring, call)
        old_weight, old_bias = _weight(product, call), _bias(product, call)
        own = None if old_bias is None else _cut(_array(old_bias[2]), call)
        weight, bias = method.fold(wiring.site, old_weight, own, attachment.params)
        if weight is not old_weight:
            weight = _among(weight, _whole_weight(product), call)
            stored = weight.T if _reads_transposed(product) else weight
            product.replace_input_with(
                _position(product), _initializer(model, made, wiring, "weight", stored, _reads_transposed(product))
            )
        if bias is not None and bias is not own:
            others = (
                np.zeros(_whole_weight(product).shape[-1:], bias.dtype) if old_bias is None else _array(old_bias[2])
            )
            value = _initializer(model, made, wiring, "bias", _among(bias, others, call), False)
            if old_bias is not None:
                old_bias[0].replace_input_with(old_bias[1], value)
            else:
                _add_bias(model, wiring, call, product, value)
        elif old_bias is not None and bias is None:
            node, position, _ = old_bias
            zeros = _among(np.zeros_like(own), _array(old_bias[2]), call)
            node.replace_input_with(position, _initializer(model, made, wiring, "bias", zeros, False))
        if call.columns is None and weight.shape != old_weight.shape:
            _forget_shapes(product.outputs[0], values[call.y], weight.shape[-1])


def base_weights(model: ir.Model) -> Callable[[Wiring], tuple[Array, Array | None]]:
    """Returns what gives the base's weight `(in, out)` (a norm's `(out,)`) and bias `(out,)` of a site."""
    values = values_of(model)

    def of(wiring: Wiring) -> tuple[Array, Array | None]:
        call = wiring.calls[0]
        product = _product(values, wiring, call)
        bias = _bias(product, call)
        return _weight(product, call), None if bias is None else _cut(_array(bias[2]), call)

    return of


def _fix(model: ir.Model, values: Values, wiring: Wiring, attachment: Attachment) -> None:
    """Splices a method in with its params as initializers."""
    number = _number(model, wiring, f"{next(iter(attachment.params))}.fixed")
    named = {f"{param}.fixed{number}": array for param, array in attachment.params.items()}
    fixed = constants(model, wiring.site.name, named).values()
    params = dict(zip(attachment.params, fixed, strict=True))
    splice(model, values, wiring, attachment.method, params, attachment.body)


def _number(model: ir.Model, wiring: Wiring, role: str) -> str:
    """Returns what tells a new initializer of a site from those of the same role, as a suffix."""
    number = sum(name.startswith(f"{wiring.site.name}.{role}") for name in model.graph.initializers)
    return f".{number}" if number else ""


def _product(values: Values, wiring: Wiring, call: Call) -> ir.Node:
    product = values[call.product].producer()
    if product is None:
        raise GraphError(f"{call.product}, the product of {wiring.site.name}, comes from no node.")
    return product


def _position(product: ir.Node) -> int:
    """Returns which input of a product the weight is; an RMS norm that is written out has it on either side."""
    if product.op_type == "Mul":
        return next(index for index, value in enumerate(product.inputs) if value is not None and value.is_initializer())
    return 0 if product.op_type == "Gather" else 1


def _reads_transposed(product: ir.Node) -> bool:
    return product.op_type == "Gemm" and product.attributes.get_int("transB", 0) == 1


def _weight(product: ir.Node, call: Call) -> Array:
    """Returns a module's part of the weight that `product` reads, as `(in, out)`."""
    return _cut(_whole_weight(product), call)


def _cut(array: Array, call: Call) -> Array:
    """Returns a module's columns of an array that it shares with others."""
    if call.columns is None:
        return array
    start, end = call.columns
    return np.asarray(array[..., start:end])


def _among(array: Array, others: Array, call: Call) -> Array:
    """Returns a module's columns in their place among others, the inverse of `_cut`."""
    if call.columns is None:
        return array
    whole = np.array(others)
    whole[..., slice(*call.columns)] = array
    return whole


def _whole_weight(product: ir.Node) -> Array:
    """Returns the weight that `product` reads, as `(in, out)`."""
    if is_quantised(product):
        return dequantised(product)
    value = product.inputs[_position(product)]
    producer = value.producer() if value is not None else None
    flip = _reads_transposed(product)
    if producer is not None and producer.op_type == "Transpose":
        value, flip = producer.inputs[0], not flip
    array = _array(value)
    return array.T if flip else array


def _bias(product: ir.Node, call: Call) -> tuple[ir.Node, int, ir.Value] | None:
    """Returns the node, the position and the initializer of the bias added to a product, or None."""
    if product.op_type in ("Gemm", "LayerNormalization"):
        value = product.inputs[2] if len(product.inputs) > 2 else None
        return (product, 2, value) if value is not None else None
    if product.op_type == LINEAR and len(product.inputs) > BIAS and (value := product.inputs[BIAS]) is not None:
        return product, BIAS, value
    if not call.biased:
        return None
    front = [product.outputs[0]]
    while front:
        for user, _ in front.pop().uses():
            if user.op_type == "Add":
                for position, value in enumerate(user.inputs):
                    if value is not None and value.is_initializer():
                        return user, position, value
            elif user.op_type == "Reshape":
                front.append(user.outputs[0])
    return None


def _add_bias(model: ir.Model, wiring: Wiring, call: Call, product: ir.Node, bias: ir.Value) -> None:
    """Adds a bias to a product that has none."""
    if product.op_type in ("Gemm", "LayerNormalization"):
        product.resize_inputs(3)
        product.replace_input_with(2, bias)
        return
    op = Nodes(f"{wiring.site.name}/bias")
    value = product.outputs[0]
    out = op.Add(value, bias)
    for user, position in tuple(value.uses()):
        if user is not out.producer():
            user.replace_input_with(position, out)
    model.graph.insert_after(product, op.made)
    for position, output in enumerate(model.graph.outputs):
        if output is value:
            out.type, out.shape, name = value.type, value.shape, value.name
            value.name, out.name = f"{name}/product", name
            model.graph.outputs[position] = out


def _initializer(
    model: ir.Model, made: dict[tuple[bool, str], ir.Value], wiring: Wiring, role: str, array: Array, flipped: bool
) -> ir.Value:
    """Returns a new initializer for a site, the same one for all its calls."""
    if (flipped, role) not in made:
        name = f"{role}.folded{_number(model, wiring, f'{role}.folded')}"
        made[flipped, role] = constants(model, wiring.site.name, {name: array})[name]
    return made[flipped, role]


def _fill_slots(model: ir.Model, attachment: Attachment) -> None:
    """Turns the slots of a module that the base lacks into initializers."""
    arrays = attachment.named()
    for value in [value for value in model.graph.inputs if value.name in arrays]:
        model.graph.inputs.remove(value)
        name = str(value.name)
        value.name = f"{name}.slot"
        filled = constants(model, attachment.site, {name.removeprefix(f"{attachment.site}."): arrays[name]})
        for user, position in tuple(value.uses()):
            user.replace_input_with(position, next(iter(filled.values())))


def _forget_shapes(product: ir.Value, y: ir.Value, width: int) -> None:
    """Takes the new length of a label axis into the shapes that tell of it, those of what only moves it too."""
    front = [product, y]
    while front:
        value = front.pop()
        if value.shape is not None:
            value.shape = ir.Shape([*list(value.shape)[:-1], width])
        front += [user.outputs[0] for user, index in value.uses() if user.op_type in MOVING and index == 0]


def _array(value: ir.Value | None) -> Array:
    if value is None or value.const_value is None:
        raise GraphError("A weight of the base is computed, not stored: it can't be folded.")
    return value.const_value.numpy()

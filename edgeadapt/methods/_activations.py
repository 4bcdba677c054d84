"""The activations of bottleneck adapters, as ONNX, under the names that transformers gives them.

Source: `transformers.activations.ACT2FN` and `adapters.methods.modeling.Activation_Function_Class`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from edgeadapt.errors import UnsupportedError, listed
from edgeadapt.methods import Op, Value


def canonical(name: str) -> str:
    """Returns the one name of an activation that has several.

    Raises:
        UnsupportedError: There is no such activation here; the message lists those there are.
    """
    lower = name.lower()
    found = SAME.get(lower, lower)
    if found not in ACTIVATIONS:
        raise UnsupportedError(f"activation {name!r} is not supported. Supported: {listed(sorted(ACTIVATIONS))}")
    return found


def apply(op: Op, name: str, x: Value) -> Value:
    """Returns the activation of `x`, of the same shape."""
    return ACTIVATIONS[name](op, x)


def _number(op: Op, value: float) -> Value:
    return op.constant(np.array(value, np.float32))


def _gelu(op: Op, x: Value) -> Value:
    """`x / 2 (1 + erf(x / sqrt 2))`, in the order of operations that ONNX Runtime fuses."""
    erf = op.Erf(op.Div(x, _number(op, math.sqrt(2))))
    return op.Mul(op.Mul(x, op.Add(erf, _number(op, 1))), _number(op, 0.5))


def _gelu_tanh(op: Op, x: Value) -> Value:
    """`x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`."""
    cubed = op.Mul(op.Mul(op.Mul(x, x), x), _number(op, 0.044715))
    inner = op.Mul(op.Add(x, cubed), _number(op, math.sqrt(2 / math.pi)))
    return op.Mul(op.Mul(x, _number(op, 0.5)), op.Add(op.Tanh(inner), _number(op, 1)))


def _gelu_clipped(op: Op, x: Value) -> Value:
    return op.Clip(_gelu(op, x), _number(op, -10), _number(op, 10))


def _gelu_quick(op: Op, x: Value) -> Value:
    return op.Mul(x, op.Sigmoid(op.Mul(x, _number(op, 1.702))))


def _relu_squared(op: Op, x: Value) -> Value:
    positive = op.Relu(x)
    return op.Mul(positive, positive)


def _laplace(op: Op, x: Value) -> Value:
    """`(1 + erf((x - mu) / (sigma sqrt 2))) / 2` (`transformers.activations.LaplaceActivation`)."""
    moved = op.Div(op.Sub(x, _number(op, 0.707107)), _number(op, 0.282095 * math.sqrt(2)))
    return op.Mul(op.Add(op.Erf(moved), _number(op, 1)), _number(op, 0.5))


ACTIVATIONS: dict[str, Callable[[Op, Value], Value]] = {
    "gelu": _gelu,
    "gelu_10": _gelu_clipped,
    "gelu_new": _gelu_tanh,
    "laplace": _laplace,
    "leakyrelu": lambda op, x: op.LeakyRelu(x, alpha=0.01),
    "linear": lambda op, x: op.Identity(x),
    "mish": lambda op, x: op.Mul(x, op.Tanh(op.Softplus(x))),
    "quick_gelu": _gelu_quick,
    "relu": lambda op, x: op.Relu(x),
    "relu2": _relu_squared,
    "relu6": lambda op, x: op.Clip(x, _number(op, 0), _number(op, 6)),
    "sigmoid": lambda op, x: op.Sigmoid(x),
    "swish": lambda op, x: op.Mul(x, op.Sigmoid(x)),
    "tanh": lambda op, x: op.Tanh(x),
}

SAME = {
    "gelu_accurate": "gelu_new",
    "gelu_fast": "gelu_new",
    "gelu_python": "gelu",
    "gelu_python_tanh": "gelu_new",
    "gelu_pytorch_tanh": "gelu_new",
    "leaky_relu": "leakyrelu",
    "silu": "swish",
}

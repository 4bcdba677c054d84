"""Checks that the model on disk is the one that the manifest describes, and that this ONNX Runtime can run it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import onnxruntime as ort

from edgeadapt.bundle import PAST
from edgeadapt.errors import BundleError
from edgeadapt.runtime.inputs import shown

if TYPE_CHECKING:
    from edgeadapt.bundle import EncoderRecord, Manifest, Slot, TensorRecord

# The names that differ from numpy's.
_DTYPES = {"tensor(float)": "float32", "tensor(double)": "float64"}


def check_version(required: str, installed: str = ort.__version__) -> None:
    """Refuses a bundle for a newer ONNX Runtime; `required` is such as `">=1.23"`.

    Raises:
        BundleError: The one that is installed is older.

    Example:
        >>> check_version(">=1.23", "1.23.0")
    """
    if is_older(installed, required):
        raise BundleError(
            f"The bundle needs onnxruntime {required}, and {installed} is installed.\n"
            f"Update it: pip install 'onnxruntime{required}'."
        )


def is_older(installed: str, required: str) -> bool:
    """Tells whether a version of ONNX Runtime is older than one that is required, such as `">=1.23"`.

    Example:
        >>> is_older("1.9.2", ">=1.23")
        True
    """
    return _release(installed) < _release(required.removeprefix(">="))


def _release(version: str) -> tuple[int, ...]:
    """Returns `(1, 23, 0)` for `1.23` and for `1.23.0rc1`: a release candidate has what its release has."""
    numbers = [int(number) for number in re.findall(r"\d+", version)[:3]]
    return (*numbers, 0, 0)[:3]


def check_signature(
    model: ort.InferenceSession, manifest: Manifest, encoder: ort.InferenceSession | None = None
) -> None:
    """Refuses a model whose inputs are not the manifest's inputs and slots, or whose outputs are not its outputs.

    An encoder and its decoder have all slots between them; one that both read, both have.

    Raises:
        BundleError: Names, dtypes or ranks differ, all of them.
    """
    from edgeadapt.bundle import EncoderDecoderRecord

    slots = list(manifest.slots)
    if encoder is not None and isinstance(manifest.generation, EncoderDecoderRecord):
        _check_encoder(encoder, manifest, manifest.generation.encoder)
        here, there = ({value.name for value in each.get_inputs()} for each in (model, encoder))
        slots = [slot for slot in slots if slot.name in here or slot.name not in there]
    problems = _differences("input", model.get_inputs(), [*manifest.inputs, *slots])
    problems += _differences("output", model.get_outputs(), manifest.outputs)
    if problems:
        headline = f"{manifest.model.file} is not the model that edgeadapt.json describes:"
        raise BundleError.collect(headline, problems, "Copy the bundle again, or export it again.")


def _check_encoder(model: ort.InferenceSession, manifest: Manifest, record: EncoderRecord) -> None:
    names = {value.name for value in model.get_inputs()}
    slots = [slot for slot in manifest.slots if slot.name in names]
    problems = _differences("input", model.get_inputs(), [*record.inputs, *slots])
    problems += _differences("output", model.get_outputs(), record.outputs)
    if problems:
        headline = f"{record.file} is not the encoder that edgeadapt.json describes:"
        raise BundleError.collect(headline, problems, "Copy the bundle again, or export it again.")


def cache_dtype(inputs: Iterable[ort.NodeArg]) -> str:
    """Returns what the cache of a model with these inputs holds."""
    return next((_dtype(value.type) for value in inputs if value.name.startswith(PAST)), "float32")


def _differences(kind: str, got: Iterable[ort.NodeArg], expected: Iterable[TensorRecord | Slot]) -> list[str]:
    actual: Mapping[str, ort.NodeArg] = {value.name: value for value in got}
    problems = []
    wanted = {record.name: record for record in expected}
    for name, record in wanted.items():
        if name not in actual:
            problems.append(f"{name}: the model has no such {kind}")
            continue
        dtype = _dtype(actual[name].type)
        if dtype != record.dtype:
            problems.append(f"{name}: the model has {dtype}, the manifest {record.dtype}")
        if len(actual[name].shape) != len(record.shape):
            problems.append(f"{name}: the model has {shown(actual[name].shape)}, the manifest {shown(record.shape)}")
    return problems + [f"{name}: an {kind} that the manifest has not" for name in actual if name not in wanted]


def _dtype(kind: str) -> str:
    return _DTYPES.get(kind, kind.removeprefix("tensor(").removesuffix(")"))

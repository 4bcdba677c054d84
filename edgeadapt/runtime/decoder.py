"""What is known of a decoder's model, and how it is run: slots are bound once, a cache stays where it lies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from edgeadapt.bundle import KEPT, PAST
from edgeadapt.runtime.provider import HOST, Device

if TYPE_CHECKING:
    import onnxruntime as ort

    from edgeadapt.bundle import Manifest
    from edgeadapt.runtime.choice import Choices
    from edgeadapt.runtime.filling import Array

Values: TypeAlias = Mapping[str, "ort.OrtValue"]

CAPACITY = "capacity"
"""The name of a cache's third axis where rows lie at its start and the model writes behind them."""


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """What stays where it is from run to run, and is bound once: a cache that the model writes where it reads it.

    Attributes:
        inputs: Inputs of the model.
        outputs: Where outputs of it are written.
    """

    inputs: Values
    outputs: Values


class Run(Protocol):
    """Runs a model whose slots are filled."""

    def __call__(self, feeds: Values, place: Place | None = None) -> dict[str, ort.OrtValue]:
        """Returns the outputs by name that have no place of their own."""
        ...


Initial: TypeAlias = Mapping[str, "Array"]
"""What a row's cache holds before its first token: keys and values `(1, heads, n, head_dim)` by the names that they
enter the model under; empty where it holds nothing."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A choice of adapters, ready to run.

    Attributes:
        run: Runs the model with their arrays in its slots.
        initial: What the cache of each row begins with; none for no row.
    """

    run: Run
    initial: Sequence[Initial] = ()


Bind: TypeAlias = Callable[["Choices", int], Bound]
"""Returns a choice of adapters, bound for a batch of so many rows."""


def virtual_tokens(initial: Initial) -> int:
    """Returns how many tokens a cache holds before the first."""
    return next((array.shape[2] for array in initial.values()), 0)


@dataclass(frozen=True, slots=True)
class Decoder:
    """What is known of a decoder's model.

    Attributes:
        inputs: The names of its inputs.
        layers: The names of the cache as it enters, with the number of heads and the length of one head's keys.
        cache: `"shared"`: rows lie at the start of a cache of any capacity, and the model writes behind them;
            `"grown"`: the cache that leaves is longer than the one that enters.
        positions: How many tokens it takes, or None where it knows no limit.
        dtype: What the cache holds.
        logits: Their length and dtype where only those of one token a row are computed; None where of all.
        device: Where the cache lies.
    """

    inputs: frozenset[str]
    layers: Mapping[str, tuple[int, int]]
    cache: Literal["shared", "grown"]
    positions: int | None = None
    dtype: str = "float32"
    logits: tuple[int, str] | None = None
    device: Device = HOST


def of_manifest(manifest: Manifest, device: Device = HOST) -> Decoder:
    """Returns what is known of a bundle's decoder that runs on this device.

    Its cache lies there, too. But ONNX Runtime's `GroupQueryAttention` has no kernel for float32 on a GPU: it runs on
    the CPU, and a shared cache that lies elsewhere is not the one that it writes.
    """
    positions = manifest.generation.positions if manifest.generation else None
    past = [tensor.dtype for tensor in manifest.inputs if tensor.name.startswith(PAST)]
    inputs = ((tensor.name, tensor.shape) for tensor in manifest.inputs)
    known = decoder(inputs, positions, past[0] if past else "float32")
    if known.cache == "grown" or known.dtype == "float16":
        known = replace(known, device=device)
    logits = next((tensor for tensor in manifest.outputs if tensor.name == "logits"), None)
    if KEPT not in known.inputs or logits is None or not isinstance(logits.shape[-1], int):
        return known
    return replace(known, logits=(logits.shape[-1], logits.dtype))


def decoder(
    inputs: Iterable[tuple[str, Sequence[Any]]], positions: int | None = None, dtype: str = "float32"
) -> Decoder:
    """Returns what is known of a model with these inputs, by name and shape, and a cache of that dtype."""
    shapes = dict(inputs)
    past = {name: shape for name, shape in shapes.items() if name.startswith(PAST)}
    layers = {name: (int(shape[1]), int(shape[3])) for name, shape in past.items()}
    shared = bool(past) and all(shape[2] == CAPACITY for shape in past.values())
    return Decoder(frozenset(shapes), layers, "shared" if shared else "grown", positions, dtype)


class BoundRun:
    """A `Run` on an ONNX Runtime session: what has been bound already is not bound again.

    One thread at a time.
    """

    __slots__ = ("_binding", "_device", "_free", "_keeps", "_model", "_order", "_place")

    def __init__(
        self, model: ort.InferenceSession, slots: Values, device: Device = HOST, *, keeps: object = None
    ) -> None:
        """Takes a session and what fills its slots.

        Args:
            model: The session.
            slots: The arrays for its slots.
            device: Where outputs are allocated that have no place.
            keeps: What has to live as long as this does: the lease of the adapters.
        """
        self._keeps = slots, keeps  # a binding keeps no array alive
        self._model = model
        self._device = device
        self._binding = model.io_binding()
        self._place: Place | None = None
        self._free = self._order = [output.name for output in model.get_outputs()]
        self._bind(slots)

    def __call__(self, feeds: Values, place: Place | None = None) -> dict[str, ort.OrtValue]:
        """Returns the outputs by name that have no place of their own."""
        if place is not self._place:
            self._lay(place)
        self._bind(feeds)
        for name in self._free:  # what was allocated for it before is the caller's
            self._binding.bind_output(name, self._device.kind, self._device.index)
        self._model.run_with_iobinding(self._binding)
        if not self._free:
            return {}
        outputs = dict(zip(self._order, self._binding.get_outputs(), strict=True))
        return {name: outputs[name] for name in self._free}

    def _lay(self, place: Place | None) -> None:
        """Binds what has a place now; outputs that had one have none any more."""
        inputs, outputs = (place.inputs, place.outputs) if place else ({}, {})
        self._binding.clear_binding_outputs()
        self._bind(inputs)
        for name, value in outputs.items():
            self._binding.bind_ortvalue_output(name, value)
        self._free = [name for name in self._order if name not in outputs]
        self._order = [*outputs, *self._free]  # in which they are bound
        self._place = place

    def _bind(self, values: Values) -> None:
        for name, value in values.items():
            self._binding.bind_ortvalue_input(name, value)

"""Begins texts: those of a decoder, and a decoder's answers to what an encoder reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from edgeadapt.errors import UnsupportedError
from edgeadapt.runtime import rewriting
from edgeadapt.runtime.choice import Choices, chosen_rows
from edgeadapt.runtime.decoder import Bound, BoundRun, of_manifest
from edgeadapt.runtime.fillings import Fillings
from edgeadapt.runtime.generation import Generation

if TYPE_CHECKING:
    import onnxruntime as ort

    from edgeadapt.bundle import Manifest
    from edgeadapt.runtime.decoder import Decoder, Run
    from edgeadapt.runtime.filling import Array, Filling
    from edgeadapt.runtime.provider import Device
    from edgeadapt.runtime.store import AdapterStore, Lease


class Texts:
    """A text holds its adapters in memory until it is let go or switches to others. Threads share this."""

    def __init__(
        self,
        manifest: Manifest,
        model: ort.InferenceSession,
        encoder: ort.InferenceSession | None,
        store: AdapterStore,
        device: Device,
    ) -> None:
        """Takes a bundle's models, its adapters, and where these and caches lie."""
        self._manifest = manifest
        self._model = model
        self._encoder = encoder
        self._store = store
        self._device = device

    def begin(self, batch: int, adapter: Choices) -> Generation:
        """Returns an empty text of so many rows.

        Raises:
            UnsupportedError: The bundle generates no text, begins with an encoder, or these rows can't share a run.
            EdgeAdaptError: As `Session.run`.
        """
        if self._encoder is not None:
            raise UnsupportedError("Nothing begins without what the encoder reads: call generate(...) or read(...).")
        return Generation(self._bind, self._decoder(), batch, adapter)

    def begin_filled(self, batch: int, filling: Filling) -> Generation:
        """Returns an empty text of so many rows whose slots are filled already."""
        return Generation(lambda *_: Bound(self._run(self._model, filling, None)), self._decoder(), batch)

    def read(self, inputs: Mapping[str, Array], batch: int, adapter: Choices) -> rewriting.Rewriting:
        """Returns what the encoder reads, to be answered.

        Raises:
            UnsupportedError: The bundle has no encoder, or these rows can't share a run.
            EdgeAdaptError: As `Session.run`.
        """
        lease = self._store.lease()
        rows = chosen_rows(adapter, lease, self._manifest.slots, batch)
        return self.read_filled(inputs, Fillings(self._manifest.slots, lease).shared(rows), lease)

    def read_filled(
        self, inputs: Mapping[str, Array], filling: Filling, lease: Lease | None = None
    ) -> rewriting.Rewriting:
        """Returns what the encoder reads, to be answered with slots that are filled already."""
        if self._encoder is None:
            raise UnsupportedError(f"A bundle for {self._manifest.task} has no encoder.")
        halves = rewriting.Halves(self._run(self._encoder, filling, lease), self._run(self._model, filling, lease))
        own = {value.name: inputs[value.name] for value in self._encoder.get_inputs() if value.name in inputs}
        return rewriting.Rewriting(halves, self._decoder(), own)

    def _bind(self, adapter: Choices, batch: int) -> Bound:
        """Returns a choice of adapters, bound for a batch of so many rows."""
        lease = self._store.lease()
        rows = chosen_rows(adapter, lease, self._manifest.slots, batch)
        initial = [row[0][0].cache for row in rows]  # a blend has none
        run = self._run(self._model, Fillings(self._manifest.slots, lease).shared(rows), lease)
        return Bound(run, initial * batch if len(rows) == 1 else initial)

    def _decoder(self) -> Decoder:
        """Returns what a generation knows of the model.

        Raises:
            UnsupportedError: The bundle generates no text.
        """
        if self._manifest.generation is None:
            raise UnsupportedError(
                f"A bundle for {self._manifest.task} generates no text.\n"
                "Export its base for the task text-generation: --task text-generation."
            )
        return of_manifest(self._manifest, self._device)

    def _run(self, model: ort.InferenceSession, filling: Filling, lease: Lease | None) -> Run:
        """Returns what runs a model with these arrays in those slots that it has."""
        if self._encoder is None:
            return BoundRun(model, filling.values, self._device, keeps=lease)
        names = {value.name for value in model.get_inputs()}
        own = {name: value for name, value in filling.values.items() if name in names}
        return BoundRun(model, own, self._device, keeps=lease)

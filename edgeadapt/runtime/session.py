"""A bundle, loaded: runs its model with any of its adapters, from any number of threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgeadapt.errors import AdapterError, ConfigError, UnsupportedError, listed
from edgeadapt.runtime import answers, rewriting
from edgeadapt.runtime.adapters import NONE, LoadedAdapter
from edgeadapt.runtime.choice import Choice, Choices, chosen, chosen_rows, named
from edgeadapt.runtime.filling import Filling
from edgeadapt.runtime.fillings import Fillings
from edgeadapt.runtime.fit import array_problems
from edgeadapt.runtime.generation import Generation, Limits, gathered, replay, stream
from edgeadapt.runtime.inputs import check_inputs
from edgeadapt.runtime.prompts import prompts
from edgeadapt.runtime.provider import HOST, Device, ProviderName
from edgeadapt.runtime.reading import Known
from edgeadapt.runtime.refresh import Refreshed, refresh
from edgeadapt.runtime.rows import passes, taken, together
from edgeadapt.runtime.sampling import Sampler, Sampling
from edgeadapt.runtime.stats import Ran, Stats
from edgeadapt.runtime.store import AdapterStore, Records
from edgeadapt.runtime.texts import Texts

if TYPE_CHECKING:
    import onnxruntime as ort

    from edgeadapt.bundle import AdapterRecord, Manifest, ProblemType
    from edgeadapt.runtime.choice import Row
    from edgeadapt.runtime.filling import Array
    from edgeadapt.runtime.generation import Stop


class Session:
    """Made by `edgeadapt.load`. Which adapter a run has is an argument of the run, so threads share a session.

    Adding and removing adapters leaves runs under way as they are: a run keeps the adapters that it started with.

    Attributes:
        path: The bundle's folder.
        manifest: Its `edgeadapt.json`.
    """

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        model: ort.InferenceSession,
        device: Device,
        store: AdapterStore,
        encoder: ort.InferenceSession | None = None,
    ) -> None:
        """Takes what `load` has read and checked."""
        self.path = path
        self.manifest = manifest
        self._model = model
        self._encoder = encoder
        self._device = device
        self._outputs = [output.name for output in manifest.outputs]
        self._store = store
        self._texts = Texts(manifest, model, encoder, store, device)
        self._refreshing = threading.Lock()
        self._ran = Ran()

    @property
    def provider(self) -> ProviderName:
        """What runs the model."""
        return self._device.provider

    @property
    def adapters(self) -> Mapping[str, AdapterRecord]:
        """The adapters' records by name, without `none`; one that is not in memory is read when it is asked for."""
        return Records(self._store)

    def adapter(self, name: str | None) -> LoadedAdapter:
        """Returns an adapter, read if it isn't in memory; None is the base, `none`.

        Raises:
            AdapterError: There is no adapter of this name, or it does not fit.
            BundleError: A file of it is missing, changed or a link.
        """
        with self._store.lease() as adapters:
            return adapters[NONE] if name is None or name == NONE else named(name, adapters)

    def labels(self, adapter: Choice = None) -> tuple[str, ...]:
        """Returns the names of the labels that a run with `adapter` answers with, in order; none for a task without.

        Raises:
            AdapterError: As `run`.
            ConfigError: As `run`.
        """
        with self._store.lease() as adapters:
            return answers.labels(chosen(adapter, adapters, self.manifest.slots), self.manifest)

    def problem_type(self, adapter: Choice = None) -> ProblemType | None:
        """Returns what the head of a run with `adapter` was trained to answer; None where nobody said.

        Raises:
            AdapterError: As `run`.
            ConfigError: As `run`.
        """
        with self._store.lease() as adapters:
            return answers.problem_type(chosen(adapter, adapters, self.manifest.slots), self.manifest)

    def run(self, inputs: Mapping[str, Array], adapter: Choices = None) -> dict[str, Array | list[Array]]:
        """Runs the model.

        Args:
            inputs: Arrays by name, as the manifest has them, `(batch, ...)`.
            adapter: A name, None for the base, a blend `{name: weight}`, or a list of these with one for each row.

        Returns:
            Arrays by name, `(batch, ...)`, with as many labels as the adapter has. Where rows have different label
            counts, a list with one array for each row, without the batch axis.

        Raises:
            InputError: The inputs don't fit the model, all reasons, or the list has not one adapter for each row.
            AdapterError: An adapter is unknown, or the base was chosen and can't answer alone.
            ConfigError: A blend's weight is no finite number, or `adapter` is of no kind above.
            UnsupportedError: A blend has no exact meaning, all reasons; an adapter is a cache that a text begins with,
                which `generate`, `stream` and `begin` feed; or the bundle has an encoder before its model.

        Example:
            >>> outputs = session.run(inputs, adapter=["spam", None, {"polite": 0.5, "short": 0.5}])  # doctest: +SKIP
        """
        if self._encoder is not None:
            raise UnsupportedError(
                "An encoder runs once, its decoder for every token: call generate(...) or read(...)."
            )
        slots = self.manifest.slots
        batch = check_inputs(inputs, self.manifest.inputs)
        with self._store.lease() as adapters:
            rows = chosen_rows(adapter, adapters, slots, batch)
            if begun := sorted({part.name for row in rows for part, _ in row if part.cache}):
                raise UnsupportedError(
                    f"{listed(begun)}: what a text's cache begins with, and a run takes the cache that it is given.\n"
                    "Use generate, stream or begin, which put it there."
                )
            self._ran.count(len(rows) if batch is None else batch)
            kept = Fillings(slots, adapters)
            if len(rows) == 1:
                return dict(self._run(inputs, kept.of(rows[0])))
            return self._run_rows(inputs, rows, kept)

    def begin(self, batch: int = 1, adapter: Choices = None) -> Generation:
        """Returns an empty generation of so many rows, to be fed token by token; `generate` does it all.

        Raises:
            UnsupportedError: The bundle generates no text, or these rows can't share a run.
            AdapterError: As `run`.
            ConfigError: As `run`.
            InputError: The list has not one adapter for each row.

        Example:
            >>> chat = session.begin(adapter="polite")  # doctest: +SKIP
            >>> logits = chat.feed(ids)  # doctest: +SKIP
            >>> chat.switch("short", prefill=True)  # doctest: +SKIP
        """
        self._ran.count(batch)
        return self._texts.begin(batch, adapter)

    def generate(
        self,
        input_ids: Array | Sequence[Sequence[int]],
        attention_mask: Array | None = None,
        adapter: Choices = None,
        *,
        max_new_tokens: int = 20,
        eos: int | Sequence[int] | None = None,
        stop: Stop = (),
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        repetition_penalty: float = 1.0,
        seed: int | None = None,
        decoder_input_ids: Array | Sequence[int] | None = None,
    ) -> list[Array]:
        """Returns the new tokens of every row, `(new,)` int64, the one that ended it included.

        Args:
            input_ids: The prompts: `(batch, n)` int64 padded on the left, or a list with the tokens of each row. Where
                the bundle has an encoder, what that reads: tokens padded on the right, or `(batch, mels, frames)`.
            attention_mask: `(batch, n)`, 0 where `input_ids` is padded; None where it is not.
            adapter: As for `run`.
            max_new_tokens: Rows end after so many.
            eos: The tokens that end a row; None takes the model's own, an empty list takes none.
            stop: What else ends a row: sequences of tokens, or a function of its new tokens that says if it is over.
            temperature: 0 takes the most likely token each time; more than 0 draws, by `logits / temperature`.
            top_k: Draws from so many of the likeliest tokens.
            top_p: Draws from the likeliest tokens that have this probability together.
            repetition_penalty: Over 1 makes tokens less likely that a row has already.
            seed: Makes draws the same every time, for each row as if it were alone.
            decoder_input_ids: What a decoder after an encoder begins with, `(n,)` or `(batch, n)`; None is the base's.

        Raises:
            InputError: A prompt is empty, padded on the right, or too long with what is to follow; all reasons.
            ConfigError: A number has no meaning, all reasons.
            AdapterError: As `run`.
            UnsupportedError: The bundle generates no text, or these rows can't share a run.

        Example:
            >>> session.generate([[5, 6, 7], [8]], adapter=["polite", None], max_new_tokens=8)  # doctest: +SKIP
        """
        tokens = self.stream(
            input_ids,
            attention_mask,
            adapter,
            max_new_tokens=max_new_tokens,
            eos=eos,
            stop=stop,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            repetition_penalty=repetition_penalty,
            seed=seed,
            decoder_input_ids=decoder_input_ids,
        )
        return gathered(tokens, len(input_ids))

    def stream(
        self,
        input_ids: Array | Sequence[Sequence[int]],
        attention_mask: Array | None = None,
        adapter: Choices = None,
        *,
        max_new_tokens: int = 20,
        eos: int | Sequence[int] | None = None,
        stop: Stop = (),
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        repetition_penalty: float = 1.0,
        seed: int | None = None,
        decoder_input_ids: Array | Sequence[int] | None = None,
    ) -> Iterator[Array]:
        """Yields the next token of every row, `(batch,)` int64, -1 for rows that have ended; see `generate`.

        What is wrong is raised here, before the first token is asked for.
        """
        own = self.manifest.generation
        ends = (own.eos_ids if own else ()) if eos is None else [eos] if isinstance(eos, int) else eos
        sampler = Sampler(Sampling(temperature, top_k, top_p, repetition_penalty, seed), len(input_ids))
        limits = Limits(max_new_tokens, frozenset(ends), stop)
        limits.check()
        if self._encoder is not None:
            work = rewriting.prepared(self.manifest, input_ids, attention_mask, decoder_input_ids, max_new_tokens)
            self._ran.count(len(work.begun))
            read = self._texts.read(work.read, len(work.begun), adapter)
            return rewriting.stream(read, work.begun, sampler, limits, work.rules)
        if decoder_input_ids is not None:
            raise ConfigError(f"decoder_input_ids: {self.manifest.task} has no encoder, and begins with its prompts.")
        begun = self.begin(len(input_ids), adapter)
        rows = prompts(input_ids, attention_mask, max_new_tokens, own.positions if own else None, begun.virtual)
        return stream(begun, rows, sampler, limits)

    def run_slots(self, inputs: Mapping[str, Array], arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Runs the base with `arrays`, `(1, ...)`, in the slots of their names: arrays that are no adapter.

        This is how a base is proven that has no head of its own.

        Raises:
            InputError: The inputs don't fit the model, all reasons.
            AdapterError: The arrays don't fit the slots, all reasons, or a slot is left that the base can't fill.
        """
        if self.manifest.generation is None:
            check_inputs(inputs, self.manifest.inputs)
        base = self._store.base.filling
        known = {slot.name for slot in self.manifest.slots}
        problems = [f"{name}: the model has no such slot" for name in arrays if name not in known]
        problems += array_problems(arrays, base.arrays, self.manifest.slots)
        if problems:
            raise AdapterError.collect("The arrays don't fit the model's slots:", problems)
        filling = base.replaced(arrays)
        if self.manifest.generation is None:
            return self._run(inputs, filling)
        if self._encoder is not None:
            return rewriting.replay(self._texts.read_filled(inputs, filling), inputs)
        return replay(self._texts.begin_filled(_batch(inputs), filling), inputs)

    def replay(self, inputs: Mapping[str, Array], adapter: Choices = None) -> dict[str, Array | list[Array]]:
        """Runs the inputs of a parity case: those of `run`, but of a decoder prompts and what follows them.

        Raises:
            EdgeAdaptError: As `run`.
        """
        if self.manifest.generation is None:
            return self.run(inputs, adapter)
        if self._encoder is not None:
            return dict(rewriting.replay(self.read(inputs, adapter), inputs))
        return dict(replay(self.begin(_batch(inputs), adapter), inputs))

    def add_adapter(self, folder: str | Path, name: str | None = None) -> None:
        """Loads an adapter's folder, such as `adapters/spam` of another bundle, and leaves the disk as it is.

        Args:
            folder: The folder, with its `adapter.json`.
            name: What runs call it; None takes the name that it was given when it was converted.

        Raises:
            AdapterError: The name is unsafe or taken, or the adapter does not fit, all reasons; nothing has changed.
            BundleError: A file is missing, changed or a link; nothing has changed.
        """
        from edgeadapt.bundle import check_adapter_name, read_adapter

        folder = Path(folder)
        name = read_adapter(folder).name if name is None else name
        check_adapter_name(name)
        self._store.check_free(name)
        added = Known(name, str(folder), listed=False)
        self._store.put(added, *self._store.reader.read(added))

    def remove_adapter(self, name: str) -> None:
        """Drops an adapter from this session; the disk stays as it is, and runs under way keep it.

        Raises:
            AdapterError: There is no such adapter, or it is `none`, the base itself.
        """
        if name == NONE:
            raise AdapterError("'none' is the base itself and can't be removed.")
        self._store.remove(name)

    def refresh(self) -> Refreshed:
        """Takes in what has changed in the bundle's folder: adapters that were added, replaced or removed.

        In one step, and after the new ones were checked: runs under way finish with what they began with, and an
        adapter whose new files can't be used stays what it was. Adapters that were added or removed by hand stay so.

        Raises:
            BundleError: The bundle's own files can't be read, or its model is another one; nothing has changed.

        Example:
            >>> session.refresh().added  # doctest: +SKIP
            ('polite',)
        """
        with self._refreshing:
            return refresh(self.path, self.manifest, self._store)

    def pin(self, *names: str) -> None:
        """Reads adapters now and keeps them in memory, whatever else runs.

        Raises:
            AdapterError: An adapter is unknown or doesn't fit, or all that is pinned is over the session's budget.
            BundleError: A file is missing, changed or a link.
        """
        self._store.pin(names, pinned=True)

    def unpin(self, *names: str) -> None:
        """Lets adapters be evicted again.

        Raises:
            AdapterError: An adapter is unknown.
        """
        self._store.pin(names, pinned=False)

    def check(self) -> None:
        """Reads all adapters and keeps none: files, sha256 and fit are checked, as before the first run of each.

        Raises:
            AdapterError: An adapter does not fit the model, all reasons; where several are wrong, all of them.
            BundleError: A file is missing, changed or a link.
        """
        self._store.check()

    def stats(self) -> Stats:
        """Returns what the session has done so far, and what it holds now."""
        return self._ran.stats(len(self._store.known), self._store.memory)

    def read(self, inputs: Mapping[str, Array], adapter: Choices = None) -> rewriting.Rewriting:
        """Returns what an encoder reads, to be answered token by token; refuses as `begin` does."""
        return self._texts.read(inputs, _batch(inputs), adapter)

    def _run_rows(
        self, inputs: Mapping[str, Array], rows: tuple[Row, ...], kept: Fillings
    ) -> dict[str, Array | list[Array]]:
        """Runs a batch whose rows differ, in as few passes as its slots allow."""
        slots = self.manifest.slots
        # Once for each kind of row: rows are told apart by the identity of their arrays.
        fillings = {row: kept.of(row) for row in dict.fromkeys(rows)}
        counts = [fillings[row].labels(slots) for row in rows]
        groups = passes([fillings[row] for row in rows], slots)
        parts = []
        for group in groups:
            members = tuple(rows[index] for index in group)
            own = inputs if len(groups) == 1 else taken(inputs, group, self.manifest.inputs)
            parts.append(self._run(own, kept.stack(members, fillings)))
        return together(parts, groups, counts, self.manifest.outputs)

    def _run(self, inputs: Mapping[str, Array], filling: Filling) -> dict[str, Array]:
        feeds = {name: HOST.value(array) for name, array in inputs.items()}
        values = self._model.run_with_ort_values(self._outputs, {**feeds, **filling.values})
        return {name: value.numpy() for name, value in zip(self._outputs, values, strict=True)}


def _batch(inputs: Mapping[str, Array]) -> int:
    return len(next(iter(inputs.values())))

"""What is wrong with what a run is asked: the choice of adapters, and the inputs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tests.conformance.bundles import EXTRA
from tests.conformance.cases import Added, Array, Choices, ErrorName
from tests.conformance.faults import Fault
from tests.runtime.tiny_bundle import IN, A, inputs

BATCH = 3
X = inputs(BATCH)["x"]


def asked(
    name: str,
    says: str,
    adapter: Choices = "spam",
    given: Mapping[str, Array] | None = None,
    error: ErrorName = "InputError",
    bundle: str = "tiny",
) -> Fault:
    """Returns what is refused of a bundle that is whole."""
    return Fault(name, says, None, error, "run", bundle, adapter, inputs={"x": X} if given is None else given)


def ids(batch: int, sequence: int) -> Array:
    """Returns tokens `(batch, sequence)`."""
    return np.ones((batch, sequence), np.int64)


CHOICES = [
    asked("an unknown adapter", "no adapter 'spma'", "spma", error="AdapterError"),
    asked("an adapter in other letters", "no adapter 'Spam'", "Spam", error="AdapterError"),
    asked("an adapter without a name", "no adapter ''", "", error="AdapterError"),
    asked("an adapter that is a path", "no adapter '../spam'", "../spam", error="AdapterError"),
    asked("an unknown adapter in a list", "no adapter 'spma'", ["spam", "spma", None], error="AdapterError"),
    asked("an unknown adapter in a list of one", "no adapter 'spma'", ["spma"], {"x": X[:1]}, "AdapterError"),
    asked("the base in other letters", "no adapter 'None'", "None", error="AdapterError"),
    asked("fewer adapters than rows", "got 2 for a batch of 3", ["spam", None]),
    asked("more adapters than rows", "got 4 for a batch of 3", ["spam", None, "spam", None]),
    asked("no adapters for rows", "got 0 for a batch of 3", []),
    asked("an empty batch", "The batch is empty", [], {"x": X[:0]}),
    asked("a base without a head", "has no classifier", None, None, "AdapterError", "tiny-headless"),
    asked("a base without a head by its name", "has no classifier", "none", None, "AdapterError", "tiny-headless"),
    asked(
        "a base without a head in a row",
        "has no classifier",
        ["spam", None, "topic"],
        None,
        "AdapterError",
        "tiny-headless",
    ),
    Fault("an adapter that was removed", "no adapter 'spam'", None, "AdapterError", "run", remove=("spam",)),
    Fault(
        "an adapter that was added and removed",
        "no adapter 'firm'",
        None,
        "AdapterError",
        "run",
        adapter=[None, "firm", None, None],
        add=(Added(f"{EXTRA}/firm", "firm"),),
        remove=("firm",),
    ),
]

INPUTS = [
    asked("an input is missing", "x: missing", given={}),
    asked("an input too many", "mask: no input", given={"x": X, "mask": ids(BATCH, 5)}),
    asked("an input of another name", "X: no input", given={"X": X}),
    asked("a slot for an input", "lora_A: no input", given={"x": X, A: np.zeros((1, 4, 1), np.float32)}),
    asked("an array of another dtype", "x: got float64", given={"x": X.astype(np.float64)}),
    asked("an array of another dtype, as many bytes", "x: got int32", given={"x": X.view(np.int32)}),
    asked("an array with an axis too few", "x: got", given={"x": X[0]}),
    asked("an array with an axis too many", "x: got", given={"x": X[None]}),
    asked("an array of another length", "x: got", given={"x": np.ascontiguousarray(X[..., : IN - 1])}),
    asked("wrong inputs beside the base", "x: got", None, {"x": X[0]}),
    asked("wrong inputs beside a list", "x: got", ["spam", None, "spam"], {"x": X[..., None]}),
    asked(
        "inputs of different lengths",
        "sequence: ",
        given={"input_ids": ids(2, 5), "attention_mask": ids(2, 4), "token_type_ids": ids(2, 5)},
        bundle="classifiers",
    ),
    asked(
        "inputs of different batches",
        "batch: ",
        given={"input_ids": ids(2, 5), "attention_mask": ids(1, 5), "token_type_ids": ids(2, 5)},
        bundle="classifiers",
    ),
]

RUNS = [*CHOICES, *INPUTS]

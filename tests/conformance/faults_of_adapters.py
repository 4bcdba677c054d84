"""What is wrong with one adapter: its record, its files, its container, and how its arrays fit the model."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.conformance import container
from tests.conformance.bundles import EXTRA
from tests.conformance.cases import Added, ErrorName
from tests.conformance.faults import SPAM, Document, Fault, edit, relist, replace
from tests.conformance.faults_of_documents import linked, oversized, shared
from tests.conformance.faults_of_files import damage, lengthen
from tests.runtime.tiny_bundle import BIAS, HEAD_BIAS, HEAD_WEIGHT, IN, OUT, A, Array, Arrays, B, arrays, write_adapter

RECORD, WEIGHTS = f"{SPAM}/adapter.json", f"{SPAM}/weights.onnx_adapter"
OTHER = f"sha256:{'6' * 64}"


def fault(
    name: str, says: str, change: Callable[[Path], object], error: ErrorName = "BundleError", bundle: str = "tiny"
) -> Fault:
    """Returns what is wrong with an adapter; it shows in a run that asks for it, or earlier."""
    return Fault(name, says, change, error, "run", bundle)


def told(change: Callable[[Document], object]) -> Callable[[Path], object]:
    """Returns what makes the record say something else."""
    return lambda folder: edit(folder / RECORD, change)


def contained(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    """Returns what changes the container of the arrays, and lists it as it is then."""

    def make(folder: Path) -> None:
        path = folder / WEIGHTS
        path.write_bytes(change(path.read_bytes()))
        relist(folder / RECORD, ["weights.onnx_adapter"])

    return make


def holding(own: Arrays, **changed: Any) -> Callable[[Path], object]:
    """Returns what writes the adapter anew with other arrays; `changed` are fields of its record."""

    def make(folder: Path) -> None:
        shutil.rmtree(folder / SPAM)
        write_adapter(folder / SPAM, "spam", own, **changed)

    return make


def with_value(array: Array, value: float) -> Array:
    """Returns an array with another value in its middle."""
    changed: Array = array.copy()
    changed.flat[changed.size // 2] = value
    return changed


GOOD = arrays(2, 1, labels=2, bias=True)
"""What the adapter holds where it is whole."""


def but(**changed: Array | None) -> Arrays:
    """Returns the adapter's arrays with some in place of its own; None leaves one out."""
    names = {"a": A, "b": B, "bias": BIAS, "head": HEAD_WEIGHT, "head_bias": HEAD_BIAS}
    new = {names[key]: array for key, array in changed.items()}
    return {name: array for name, array in {**GOOD, **new}.items() if array is not None}


def zeros(*shape: int) -> Array:
    """Returns zeros in float32."""
    return np.zeros(shape, np.float32)


RECORDS = [
    fault("no record", "holds no adapter.json", lambda folder: (folder / RECORD).unlink()),
    fault("the record is a symbolic link", "is a link or no", lambda folder: linked(folder / RECORD)),
    fault("the record is a hard link", "is a link or no", lambda folder: shared(folder / RECORD)),
    fault("a record that is too large", "more than 67108864 are refused", lambda folder: oversized(folder / RECORD)),
    fault("a record that is no JSON", "is not JSON", lambda folder: lengthen(folder / RECORD)),
    fault("a key twice in a record", "stands twice", lambda folder: twice(folder / RECORD)),
    fault("an unknown key of a record", r"\$.notes: unknown key", told(lambda told: told.update(notes=""))),
    fault("a missing key of a record", r"\$.source: missing", told(lambda told: told.pop("source"))),
    fault("a record of a newer version", "newer edgeadapt", told(lambda told: told.update(format="2.0"))),
    fault("a record of version 1.1", "newer edgeadapt", told(lambda told: told.update(format="1.1"))),
    fault("an unsafe name in a record", "a safe name", told(lambda told: told.update(name="../spam"))),
    fault("a record of the base", "'none' alone, got 'none'", told(lambda told: told.update(method="none"))),
    fault("a rank of 0", "a number of 1 or more", told(lambda told: told["sites"].update(x={"lora": {"rank": 0}}))),
    fault(
        "an unknown fact of a site", "only 'rank'", told(lambda told: told["sites"].update(x={"lora": {"alpha": 2}}))
    ),
    fault("a path with .. in a record", "relative path", told(lambda told: outside(told))),
    fault(
        "weights that no list names",
        "weights.onnx_adapter is not in",
        told(lambda told: told["files"].pop("weights.onnx_adapter")),
    ),
    fault(
        "arrays for a cache that the model has not",
        "generates no text",
        told(lambda told: told["sites"].update(past_key_values={"prefix": {"rank": 3}})),
        "AdapterError",
    ),
]

FILES = [
    fault("no weights", "weights.onnx_adapter: is missing", lambda folder: (folder / WEIGHTS).unlink()),
    fault("weights of another size", "weights.onnx_adapter: has .* bytes", lambda folder: lengthen(folder / WEIGHTS)),
    fault("weights of another sha256", "weights.onnx_adapter: has the sha256", lambda folder: damage(folder / WEIGHTS)),
    fault("weights are a symbolic link", "is a symbolic link", lambda folder: linked(folder / WEIGHTS)),
    fault("weights are a hard link", "is a hard link", lambda folder: shared(folder / WEIGHTS)),
    fault(
        "a parity case of another sha256",
        "parity.npz: has the sha256",
        lambda folder: damage(folder / SPAM / "parity.npz"),
    ),
]

CONTAINERS = [
    fault("an empty container", "can't read", contained(lambda content: b"")),
    fault("a container of seven bytes", "can't read", contained(lambda content: content[:7])),
    *(
        fault(f"a container: {change.__name__.replace('_', ' ')}", "can't read", contained(change))
        for change in (
            container.wrong_identifier,
            container.newer_version,
            container.cut_in_half,
            container.cut_short,
            container.root_beyond_the_end,
            container.vtable_beyond_the_start,
            container.offset_beyond_the_end,
            container.length_beyond_the_end,
            container.huge_length,
            container.dims_beyond_the_end,
            container.name_beyond_the_end,
            container.parameters_beyond_the_end,
            container.fewer_values,
            container.more_dimensions_than_values,
            container.no_arrays,
            container.no_names,
            container.no_dimensions,
            container.no_types,
            container.no_values,
            container.unknown_type,
            container.negative_dimension,
            container.overflowing_dimensions,
        )
    ),
    fault("a name twice", "a name stands twice", contained(lambda content: container.name_twice(content, B, A))),
]

NINE: Document = {"encoder.fc": {"lora": {"rank": 9}}}
ARRAYS = [
    fault(name, says, change, "AdapterError")
    for name, says, change in (
        ("another base's adapter", "fingerprint of the base: got", holding(GOOD, fingerprint=OTHER)),
        ("an unknown slot", "has no slots encoder.fc.ia3", holding({**GOOD, "encoder.fc.ia3": zeros(1, 1, OUT)})),
        ("another length of a fixed dimension", r"got \(1, 8, 2\)", holding(but(a=zeros(1, 2 * IN, 2)))),
        ("another number of dimensions", r"lora_A: got \(4, 2\)", holding(but(a=zeros(IN, 2)))),
        ("two rows", "with 1 for rows", holding(but(bias=zeros(2, 1, OUT)))),
        ("another dtype", "got float64, expected float32", holding(but(bias=np.zeros((1, 1, OUT))))),
        ("a dtype of the same size", "got int32, expected float32", holding(but(bias=np.zeros((1, 1, OUT), np.int32)))),
        ("NaN in an array", "lora_B: holds NaN", holding(but(b=with_value(GOOD[B], np.nan)))),
        ("infinity in an array", "bias_delta: holds NaN", holding(but(bias=with_value(GOOD[BIAS], -np.inf)))),
        ("another rank in A than in B", "rank: 3 in encoder.fc.lora_A, 2 in", holding(but(a=zeros(1, IN, 3)))),
        ("A without B", "the neutral", holding(but(b=None))),
        ("another rank than its record", "rank 9 in adapter.json, 2", told(lambda told: told["sites"].update(NINE))),
        ("more labels than its head", "3 names in adapter.json, 2 columns", holding(GOOD, labels=("a", "b", "c"))),
        ("fewer labels than its head", "1 names in adapter.json, 2 columns", holding(GOOD, labels=("a",))),
        ("another label count in the bias", "labels: 2 in .*, 3 in", holding(but(head_bias=zeros(1, 1, 3)))),
        ("a head of two dimensions", r"got \(6, 2\)", holding({**GOOD, HEAD_WEIGHT: zeros(OUT, 2)})),
        ("half of a head", "labels: 2 in .*, 3 in .*the neutral", holding(but(head_bias=None))),
        ("more labels than the base's head", "2 names in .*, 3 columns", holding(arrays(2, 1), labels=("a", "b"))),
    )
]

HEADS = [
    fault(
        "no array for a slot without a neutral",
        "classifier.weight: missing, and the base has no value",
        holding(arrays(2, 1)),
        "AdapterError",
        "tiny-headless",
    ),
    fault(
        "one of two arrays for slots without a neutral",
        "classifier.bias: missing, and the base has no value",
        holding(but(head_bias=None)),
        "AdapterError",
        "tiny-headless",
    ),
]


def twice(path: Path) -> None:
    """Writes a key of a record twice, deep inside."""
    replace(path, '"kind": "test"', '"kind": "test", "kind": "test"')


def outside(record: Document) -> None:
    """Lists the weights under a path that leaves the folder and comes back to them."""
    record["files"]["../spam/weights.onnx_adapter"] = record["files"]["weights.onnx_adapter"]


def added(name: str, says: str, folder: str, under: str, error: ErrorName = "AdapterError") -> Fault:
    """Returns what is refused when it is added to a bundle that is whole."""
    return Fault(name, says, None, error, "add", add=(Added(folder, under),))


FIRM = f"{EXTRA}/firm"
ADDED = [
    added("added under a name with a slash", "Not a name", FIRM, "a/b"),
    added("added under a name with dots", "Not a name", FIRM, ".."),
    added("added under an empty name", "Not a name", FIRM, ""),
    added("added under a device's name", "Not a name", FIRM, "nul"),
    added("added under 65 characters", "Not a name", FIRM, "x" * 65),
    added("added as none", "means the base", FIRM, "none"),
    added("added as NONE", "only in case", FIRM, "NONE"),
    added("added under a name that is taken", "There is an adapter 'spam' already", FIRM, "spam"),
    added("added from another base", "fingerprint of the base", f"{EXTRA}/foreign", "foreign"),
    added("added from the base's folder", "is the base of a bundle", "bundles/tiny/adapters/none", "more"),
    added("added from no folder", "holds no adapter.json", f"{EXTRA}/nowhere", "more", "BundleError"),
    added("added from a folder that is none of an adapter", "holds no adapter.json", "bundles", "more", "BundleError"),
]

ADAPTERS = [*RECORDS, *FILES, *CONTAINERS, *ARRAYS, *HEADS, *ADDED]

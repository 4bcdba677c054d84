"""Which rows share a run, and that they are joined and parted as they were."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeadapt.bundle import Manifest, TensorRecord, read_manifest
from edgeadapt.errors import UnsupportedError
from edgeadapt.runtime.sharing import Sharing
from tests.runtime.tiny_bundle import TinyBundle, inputs

TOKENS = ("input_ids", "attention_mask", "token_type_ids")


@pytest.fixture
def manifest() -> Manifest:
    return read_manifest(Path(__file__).resolve().parents[1] / "golden" / "bundle-1.0")


def row(length: int, hidden: int = 0) -> dict[str, Any]:
    made = {name: np.arange(1, length + 1, dtype=np.int64)[None] for name in TOKENS}
    made["attention_mask"] = np.ones((1, length), np.int64)
    made["attention_mask"][:, length - hidden :] = 0
    return made


def test_groups_of_lengths_waste_less_than_a_fifth(manifest: Manifest) -> None:
    sharing = Sharing(manifest)
    groups: dict[Any, list[int]] = {}
    for length in range(1, 600):
        groups.setdefault(sharing.group(row(length)), []).append(length)
    assert list(groups)[:9] == [16, 20, 24, 28, 32, 40, 48, 56, 64]
    for most, lengths in groups.items():
        assert lengths == list(range(lengths[0], most + 1)) or most > 512
        assert max(lengths) <= most
        assert 1 - lengths[0] / max(lengths) < 0.2 or most == 16


def test_a_row_that_hides_tokens_shares_with_its_equals_alone(manifest: Manifest) -> None:
    sharing = Sharing(manifest)
    assert sharing.group(row(10, hidden=3)) == sharing.group(row(10, hidden=1)) != sharing.group(row(10))
    assert sharing.group(row(10, hidden=3)) != sharing.group(row(11, hidden=3))
    assert sharing.group(row(10, hidden=10)) != sharing.group(row(10))
    assert sharing.group(row(0)) != sharing.group(row(1))


def test_rows_are_padded_on_the_right(manifest: Manifest) -> None:
    assert manifest.tokenizer is not None
    tokenizer = replace(manifest.tokenizer, pad_id=77, pad_type_id=5)
    batch = Sharing(replace(manifest, tokenizer=tokenizer)).joined([row(2), row(4)])
    np.testing.assert_array_equal(batch["input_ids"], [[1, 2, 77, 77], [1, 2, 3, 4]])
    np.testing.assert_array_equal(batch["attention_mask"], [[1, 1, 0, 0], [1, 1, 1, 1]])
    np.testing.assert_array_equal(batch["token_type_ids"], [[1, 2, 5, 5], [1, 2, 3, 4]])
    assert {array.dtype for array in batch.values()} == {np.dtype(np.int64)}


def test_outputs_are_cut_by_the_name_of_their_axis(manifest: Manifest) -> None:
    """An axis that is as long as the batch by chance stays; that of the sequence is cut wherever it stands."""
    records = {"a": ("batch", 4, "sequence"), "b": (4, "batch"), "c": ("batch", "labels"), "d": ("batch", "sequence")}
    outputs = tuple(TensorRecord(name, "float32", shape) for name, shape in records.items())
    sharing = Sharing(replace(manifest, outputs=outputs))
    assert sharing.pads
    a, b, d = (np.arange(np.prod(shape)).reshape(shape) for shape in ((2, 4, 4), (4, 2), (2, 4)))
    c = [np.arange(3), np.arange(4)]
    parts = sharing.parted({"a": a, "b": b, "c": c, "d": [d[0], d[1]]}, [row(2), row(4)])
    np.testing.assert_array_equal(parts[0]["a"], a[:1, :, :2])
    np.testing.assert_array_equal(parts[1]["a"], a[1:])
    np.testing.assert_array_equal(parts[1]["b"], b[:, 1:])
    np.testing.assert_array_equal(parts[0]["c"], [[0, 1, 2]])
    np.testing.assert_array_equal(parts[0]["d"], d[:1, :2])
    assert not np.shares_memory(parts[0]["a"], a)


def without_mask(manifest: Manifest) -> Manifest:
    return replace(manifest, inputs=tuple(each for each in manifest.inputs if each.name != "attention_mask"))


def left(manifest: Manifest) -> Manifest:
    assert manifest.tokenizer is not None
    return replace(manifest, tokenizer=replace(manifest.tokenizer, padding_side="left"))


def method(manifest: Manifest, name: str) -> Manifest:
    return replace(manifest, slots=(*manifest.slots, replace(manifest.slots[0], name="other", method=name)))


def more(manifest: Manifest, record: TensorRecord) -> Manifest:
    return replace(manifest, inputs=(*manifest.inputs, record))


CHANGES: dict[str, Any] = {
    "no mask": without_mask,
    "no tokenizer": lambda manifest: replace(manifest, tokenizer=None),
    "padded on the left": left,
    "a gated method": lambda manifest: method(manifest, "gated_lora"),
    "a gated bottleneck": lambda manifest: method(manifest, "composition-stack(relu,relu-gated)"),
    "a module of one's own": lambda manifest: method(manifest, "module-0123abcd"),
    "positions": lambda manifest: more(manifest, TensorRecord("position_ids", "int64", ("batch", "sequence"))),
    "another length": lambda manifest: replace(
        manifest, outputs=(TensorRecord("logits", "float32", ("batch", "virtual + sequence")),)
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_where_padding_may_be_seen_only_equal_shapes_share(manifest: Manifest, what: str) -> None:
    assert Sharing(manifest).pads
    sharing = Sharing(CHANGES[what](manifest))
    assert not sharing.pads
    given = {"position_ids": row(4)["input_ids"]}
    assert sharing.group(row(4) | given) == sharing.group(row(4, hidden=1) | given)
    assert sharing.group(row(4) | given) != sharing.group(row(5) | {"position_ids": row(5)["input_ids"]})


def test_arrays_of_any_rank_are_joined(encoder: TinyBundle) -> None:
    sharing = Sharing(read_manifest(encoder.path))
    rows = [inputs(1, seed=seed) for seed in range(3)]
    batch = sharing.joined(rows)
    np.testing.assert_array_equal(batch["x"], np.concatenate([each["x"] for each in rows]))
    assert sharing.joined(rows[:1]) is rows[0]


def test_a_model_without_a_batch_axis_is_refused(manifest: Manifest) -> None:
    outputs = (*manifest.outputs, TensorRecord("bias", "float32", ("sequence", "sequence")))
    with pytest.raises(UnsupportedError, match=r"bias: has no axis 'batch'.*\n.*session\.run"):
        Sharing(replace(manifest, outputs=outputs))

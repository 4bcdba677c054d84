"""Inputs that have to agree with one another."""

from __future__ import annotations

import numpy as np
import pytest

from edgeadapt.bundle import TensorRecord
from edgeadapt.errors import InputError
from edgeadapt.runtime.inputs import check_inputs

RECORDS = [TensorRecord(name, "int64", ("batch", "sequence")) for name in ("input_ids", "attention_mask")]


def ids(*shape: int, dtype: type = np.int64) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.ones(shape, dtype)


def test_the_batch_size() -> None:
    assert check_inputs({"input_ids": ids(2, 5), "attention_mask": ids(2, 5)}, RECORDS) == 2
    assert check_inputs({"x": ids(2, 5)}, [TensorRecord("x", "int64", (2, "length"))]) is None
    assert check_inputs({"x": ids()}, [TensorRecord("x", "int64", ())]) is None


def test_all_problems_at_once() -> None:
    given = {"input_id": ids(2, 5), "attention_mask": ids(2, 5, dtype=np.int32)}
    with pytest.raises(InputError) as caught:
        check_inputs(given, RECORDS)
    assert str(caught.value).splitlines()[1:] == [
        "  input_ids: missing, expected int64 (batch, sequence)",
        "  attention_mask: got int32, expected int64; convert it with .astype(np.int64)",
        "  input_id: no input of this model (did you mean 'input_ids'?)",
    ]


def test_dimensions_of_one_name_that_differ() -> None:
    with pytest.raises(InputError) as caught:
        check_inputs({"input_ids": ids(2, 5), "attention_mask": ids(3, 6)}, RECORDS)
    assert str(caught.value).splitlines()[1:] == [
        "  batch: 2 in input_ids, 3 in attention_mask",
        "  sequence: 5 in input_ids, 6 in attention_mask",
    ]

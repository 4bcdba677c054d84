"""Looks ids up in tables that every row of a batch may have for itself."""

from __future__ import annotations

import numpy as np

from edgeadapt.adapter import Site
from edgeadapt.methods import Op, Value


def look_up(op: Op, site: Site, ids: Value, tables: Value) -> Value:
    """Returns the rows `(batch, n, width)` of tables `(rows, vocabulary, width)` that ids `(batch, n)` name.

    It is one look-up in a flat table: row i's ids are moved on by `i * vocabulary`.
    """
    vocabulary = op.constant(np.array(site.in_features, np.int64))
    rows = op.Shape(tables, start=0, end=1)
    first = op.Mul(
        op.Range(op.constant(np.array(0, np.int64)), op.Squeeze(rows), op.constant(np.array(1, np.int64))),
        vocabulary,
    )
    flat = op.Reshape(tables, op.Concat(op.constant(np.array([-1], np.int64)), op.Shape(tables, start=2), axis=0))
    return op.Gather(flat, op.Add(ids, op.Unsqueeze(first, op.constant(np.array([1], np.int64)))))

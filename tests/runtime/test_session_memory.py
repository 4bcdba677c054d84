"""Adapters are read when they are first used, and kept within a budget."""

from __future__ import annotations

import gc
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeadapt.bundle import verify_files
from edgeadapt.errors import AdapterError, BundleError
from edgeadapt.runtime import Session, load, reading
from edgeadapt.runtime.adapters import read_loaded
from tests.runtime.tiny_bundle import STORED, A, B, TinyBundle, arrays, inputs, write_adapter

MANY = 6
SIZE = sum(array.nbytes for array in arrays(2, 0).values())


def many(own: TinyBundle, *, first: int = 0) -> dict[str, Any]:
    """Adds adapters of one size to a bundle and returns their arrays."""
    added = {f"n{index}": arrays(2, 20 + index) for index in range(first, MANY)}
    for name, each in added.items():
        write_adapter(own.path / "adapters" / name, name, each)
    return added


def expected(own: TinyBundle, added: dict[str, Any], name: str) -> Any:
    return TinyBundle(own.path, own.base, {**STORED, **added}).expected(inputs()["x"][0], name)["logits"]


def test_nothing_is_read_before_it_is_used(own: TinyBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def counted(folder: Path, *rest: Any) -> Any:
        read.append(folder.name)
        return read_loaded(folder, *rest)

    monkeypatch.setattr(reading, "read_loaded", counted)
    session = load(own.path)
    assert list(session.adapters) == ["polite", "short", "spam"]
    assert session.adapters["spam"].name == "spam"
    assert read == []
    for _ in range(2):
        session.run(inputs(), ["spam", None, "short"])
    assert read == ["spam", "short"]
    assert session.stats().loaded == 2


def test_a_damaged_adapter_is_refused_when_it_is_used_and_harms_no_other(own: TinyBundle) -> None:
    (own.path / "adapters" / "spam" / "weights.onnx_adapter").write_bytes(b"")
    session = load(own.path)
    for _ in range(2):
        with pytest.raises(BundleError, match=r"weights\.onnx_adapter: has 0 bytes"):
            session.run(inputs(), ["spam", None, "short"])
    session.run(inputs(), "short")
    with pytest.raises(BundleError, match=r"weights\.onnx_adapter: has 0 bytes"):
        session.check()


def test_the_budget_is_kept_and_no_number_changes(own: TinyBundle) -> None:
    added = many(own)
    session = load(own.path, adapter_memory=3 * SIZE)
    for _ in range(3):
        for name in added:
            got = session.run(inputs(), name)["logits"][0]
            np.testing.assert_allclose(got, expected(own, added, name), atol=1e-5)
            assert session.stats().bytes <= 3 * SIZE
    stats = session.stats()
    assert (stats.runs, stats.rows, stats.loaded, stats.evicted) == (18, 54, 18, 15)
    for name in (*added, *reversed(added)):
        session.run(inputs(), name)
    assert session.stats().loaded == stats.loaded + 6 + 3


def test_an_adapter_is_checked_once_in_each_state_of_its_files(
    own: TinyBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []

    def counted(folder: Path, *rest: Any, **options: Any) -> None:
        checked.append(folder.name)
        verify_files(folder, *rest, **options)

    added = many(own)
    session = load(own.path, adapter_memory=2 * SIZE)
    monkeypatch.setattr("edgeadapt.bundle.verify_files", counted)
    for _ in range(3):
        for name in ("n0", "n1", "n2"):
            got = session.run(inputs(), name)["logits"][0]
            np.testing.assert_allclose(got, expected(own, added, name), atol=1e-5)
    assert (checked, session.stats().loaded) == (["n0", "n1", "n2"], 9)
    session.check()
    assert checked.count("n0") == 2

    session.run(inputs(), ["n1", "n2", None])  # so n0 is not in memory
    weights = own.path / "adapters" / "n0" / "weights.onnx_adapter"
    times = weights.stat()
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(BundleError, match="has the sha256"):
        session.run(inputs(), "n0")
    content[-1] ^= 1
    weights.write_bytes(content)
    np.testing.assert_allclose(session.run(inputs(), "n0")["logits"][0], expected(own, added, "n0"), atol=1e-5)


def test_stacks_go_before_adapters(own: TinyBundle) -> None:
    added = many(own)
    session = load(own.path, adapter_memory=4 * SIZE + 100)
    rows = ["n0", "n1", None]
    for _ in range(2):
        got = session.run(inputs(), rows)["logits"]
        np.testing.assert_allclose(got[0], expected(own, added, "n0"), atol=1e-5)
    loaded = session.stats().loaded
    for name in ("n2", "n3", "n0", "n1"):
        session.run(inputs(), name)
    assert session.stats().loaded == loaded + 2
    assert session.stats().evicted == 0


def test_a_pinned_adapter_stays(own: TinyBundle) -> None:
    added = many(own)
    session = load(own.path, adapter_memory=2 * SIZE)
    session.pin("n0")
    for name in (*added, "n0"):
        session.run(inputs(), name)
    assert session.stats().loaded == MANY
    with pytest.raises(AdapterError, match="n1, n2 can't be pinned: with what is pinned already they take"):
        session.pin("n1", "n2")
    with pytest.raises(AdapterError, match="no adapter 'n9'"):
        session.pin("n0", "n9")
    session.pin("n0")  # again is no more
    session.unpin("n0")
    for name in ("n1", "n2", "n0"):
        session.run(inputs(), name)
    assert session.stats().loaded > MANY + 2


def test_an_adapter_larger_than_the_budget(own: TinyBundle) -> None:
    session = load(own.path, adapter_memory=SIZE)
    write_adapter(own.path / "adapters" / "large", "large", arrays(4, 1))
    session = load(own.path, adapter_memory=SIZE)
    with pytest.raises(AdapterError, match=f"'large' takes {2 * SIZE} bytes, and adapter_memory is {SIZE}"):
        session.run(inputs(), "large")
    assert session.stats().bytes == 0


def test_a_batch_larger_than_the_budget_runs_and_leaves_no_more_than_the_budget(own: TinyBundle) -> None:
    added = many(own)
    session = load(own.path, adapter_memory=2 * SIZE)
    fed = inputs(MANY)
    got = session.run(fed, list(added))["logits"]
    tiny = TinyBundle(own.path, own.base, added)
    for row, (x, name) in enumerate(zip(fed["x"], added, strict=True)):
        np.testing.assert_allclose(got[row], tiny.expected(x, name)["logits"], atol=1e-5)
    assert session.stats().bytes <= 2 * SIZE


def test_an_adapter_that_was_added_by_hand_is_read_again_from_where_it_lies(own: TinyBundle, tmp_path: Path) -> None:
    added = many(own)
    session = load(own.path, adapter_memory=SIZE)
    session.add_adapter(write_adapter(tmp_path / "hand", "hand", arrays(2, 77)))
    for name in ("n0", "hand"):
        session.run(inputs(), name)
    shutil.rmtree(tmp_path / "hand")
    session.run(inputs(), "hand")
    session.run(inputs(), "n1")
    with pytest.raises(BundleError, match=r"holds no adapter\.json"):
        session.run(inputs(), "hand")
    assert "n0" in added


def test_loading_and_eviction_are_logged(own: TinyBundle, caplog: pytest.LogCaptureFixture) -> None:
    many(own)
    with caplog.at_level(logging.INFO, "edgeadapt"):
        session = load(own.path, adapter_memory=SIZE)
        session.run(inputs(), "n0")
        session.run(inputs(), "n1")
    assert f"read adapter 'n0': {SIZE} bytes in" in caplog.text
    assert "evicted adapter 'n0'" in caplog.text
    assert "opened" in caplog.text


def test_removed_adapters_leave_no_bytes(session: Session) -> None:
    session.run(inputs(), ["spam", None, {"short": 0.5, "polite": 0.5}])
    assert session.stats().bytes > 0
    for name in list(session.adapters):
        session.remove_adapter(name)
    gc.collect()
    assert session.stats().bytes == 0
    assert session.stats().known == 0


def test_low_memory_changes_no_number(headed: TinyBundle) -> None:
    fast, low = (load(headed.path, memory=mode).run(inputs(), "spam")["logits"] for mode in ("fast", "low"))
    np.testing.assert_allclose(low, fast, atol=1e-6)


def test_a_rank_is_counted_as_it_is(own: TinyBundle) -> None:
    session = load(own.path)
    session.run(inputs(), "short")
    assert session.stats().bytes == STORED["short"][A].nbytes + STORED["short"][B].nbytes


def test_of_two_readings_the_first_is_kept_with_its_own_stamp(own: TinyBundle) -> None:
    session = load(own.path)
    store, known = session._store, session._store.known["short"]
    (first, old), (second, _) = (store.reader.read(known) for _ in range(2))
    new = reading.Stamp((*old.names, "more"), old.marks + b"more")
    for loaded, stamp in ((first, old), (second, new)):
        held = store.keep(known, loaded, stamp)
        assert (held.value, store.stamp(known)) == (first, old)

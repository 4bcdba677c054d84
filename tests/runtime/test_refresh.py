"""A session takes in what changes in its bundle's folder, and a broken folder changes nothing."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeadapt.errors import AdapterError, BundleError
from edgeadapt.runtime import Session, load
from edgeadapt.runtime.refresh import Refreshed
from tests.runtime.tiny_bundle import TinyBundle, arrays, inputs, write_adapter

NOTHING = Refreshed((), (), (), {})


def put(own: TinyBundle, name: str, own_arrays: Any, tmp_path: Path) -> None:
    """Puts an adapter's folder into the bundle in one step, in place of the one that is there."""
    made = write_adapter(tmp_path / f"{name}.made", name, own_arrays)
    folder = own.path / "adapters" / name
    if folder.exists():
        folder.rename(tmp_path / f"{name}.{len(list(tmp_path.iterdir()))}")
    made.rename(folder)


def logits(session: Session, choice: Any) -> Any:
    return session.run(inputs(), choice)["logits"][0]


def test_without_a_change(own: TinyBundle) -> None:
    session = load(own.path)
    logits(session, "spam")
    assert session.refresh() == NOTHING
    assert session.stats().loaded == 1


def test_added_and_removed(own: TinyBundle, tmp_path: Path) -> None:
    session = load(own.path)
    logits(session, "polite")
    new = arrays(3, 50)
    put(own, "new", new, tmp_path)
    shutil.rmtree(own.path / "adapters" / "polite")
    assert session.refresh() == Refreshed(("new",), (), ("polite",), {})
    assert list(session.adapters) == ["short", "spam", "new"]
    wanted = TinyBundle(own.path, own.base, {"new": new}).expected(inputs()["x"][0], "new")["logits"]
    np.testing.assert_allclose(logits(session, "new"), wanted, atol=1e-5)
    with pytest.raises(AdapterError, match="no adapter 'polite'"):
        logits(session, "polite")


def test_replaced(own: TinyBundle, tmp_path: Path) -> None:
    session = load(own.path)
    mixed = [["short", "spam", None], {"short": 0.5, "polite": 0.5}, "short"]
    before = [logits(session, choice) for choice in mixed]
    put(own, "short", arrays(3, 50), tmp_path)
    for choice, old in zip(mixed, before, strict=True):
        np.testing.assert_array_equal(logits(session, choice), old)
    assert session.refresh() == Refreshed((), ("short",), (), {})
    fresh = load(own.path)
    for choice, old in zip(mixed, before, strict=True):
        np.testing.assert_array_equal(logits(session, choice), logits(fresh, choice))
        assert np.abs(logits(session, choice) - old).max() > 0.01
    assert session.refresh() == NOTHING


def test_a_pinned_adapter_that_is_replaced_stays_pinned(own: TinyBundle, tmp_path: Path) -> None:
    session = load(own.path)
    session.pin("short")
    put(own, "short", arrays(3, 50), tmp_path)
    session.refresh()
    assert session._store.memory.pinned_bytes() == session.adapter("short").size()


def test_a_broken_replacement_is_told_once_and_the_old_one_runs(
    own: TinyBundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    session = load(own.path)
    before = logits(session, "short")
    put(own, "short", arrays(3, 50), tmp_path)
    weights = own.path / "adapters" / "short" / "weights.onnx_adapter"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with caplog.at_level(logging.WARNING, "edgeadapt"):
        found = session.refresh()
        assert list(found.failed) == ["short"]
        assert "has the sha256" in str(found.failed["short"])
        assert session.refresh() == NOTHING
    assert caplog.text.count("adapter 'short' can't be used") == 1
    np.testing.assert_array_equal(logits(session, "short"), before)
    content[-1] ^= 1
    weights.write_bytes(content)
    assert session.refresh().replaced == ("short",)
    assert np.abs(logits(session, "short") - before).max() > 0.01


def test_a_broken_folder_that_comes_back_is_not_told_again(
    own: TinyBundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    session = load(own.path)
    logits(session, "short")
    there, good = own.path / "adapters" / "short", arrays(3, 50)
    put(own, "short", good, tmp_path)
    weights = there / "weights.onnx_adapter"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert list(session.refresh().failed) == ["short"]
    there.rename(broken := tmp_path / "broken")
    put(own, "short", good, tmp_path)
    weights.write_bytes(weights.read_bytes()[:-2])
    assert list(session.refresh().failed) == ["short"]
    there.rename(tmp_path / "another")
    put(own, "short", good, tmp_path)
    assert session.refresh().replaced == ("short",)
    there.rename(tmp_path / "good")
    broken.rename(there)
    assert session.refresh() == NOTHING
    assert caplog.text.count("adapter 'short' can't be used") == 2
    wanted = TinyBundle(own.path, own.base, {"short": good}).expected(inputs()["x"][0], "short")["logits"]
    np.testing.assert_allclose(logits(session, "short"), wanted, atol=1e-5)


def test_what_was_done_by_hand_stays(own: TinyBundle, tmp_path: Path) -> None:
    session = load(own.path)
    session.remove_adapter("spam")
    session.add_adapter(write_adapter(tmp_path / "hand", "hand", arrays(2, 1)))
    assert session.refresh() == NOTHING
    assert list(session.adapters) == ["polite", "short", "hand"]
    shutil.rmtree(own.path / "adapters" / "spam")
    assert session.refresh() == NOTHING
    put(own, "spam", arrays(2, 9), tmp_path)
    assert session.refresh() == Refreshed(("spam",), (), (), {})


def test_a_generation_of_runs_keeps_what_it_started_with(own: TinyBundle, tmp_path: Path) -> None:
    session = load(own.path)
    with session._store.lease() as lease:
        old = lease["short"]
        put(own, "short", arrays(3, 50), tmp_path)
        session.refresh()
        assert lease["short"] is old
        assert session.adapter("short") is not old
        both = old.size() + session.adapter("short").size()
        assert session.stats().bytes == both
    assert session.stats().bytes == session.adapter("short").size()


def test_another_model_is_refused_and_nothing_changes(own: TinyBundle, tmp_path: Path) -> None:
    session = load(own.path)
    before = logits(session, "spam")
    shutil.rmtree(own.path / "adapters" / "polite")
    document = json.loads((own.path / "edgeadapt.json").read_bytes())
    del document["slots"][2]
    (own.path / "edgeadapt.json").write_text(json.dumps(document))
    with pytest.raises(BundleError, match="is another one than this session has open"):
        session.refresh()
    assert list(session.adapters) == ["polite", "short", "spam"]
    np.testing.assert_array_equal(logits(session, "spam"), before)


def test_an_adapter_that_is_replaced_while_it_is_read(
    own: TinyBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeadapt import bundle

    whole, left = bundle.verify_files, [2]

    def replacing(folder: Path, files: Any) -> None:
        whole(folder, files)
        if folder.name == "short" and left[0]:
            left[0] -= 1
            put(own, "short", arrays(1 + left[0], 60), tmp_path)

    session = load(own.path)
    monkeypatch.setattr(bundle, "verify_files", replacing)
    got = logits(session, "short")
    np.testing.assert_array_equal(got, logits(load(own.path), "short"))
    assert left == [0]


def test_of_an_adapter_that_comes_and_goes_nothing_is_read_unchecked(
    own: TinyBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Absent, sound while it is checked, broken while it is read, and absent once more."""
    from edgeadapt import bundle
    from edgeadapt.runtime import adapters, reading

    short = own.path / "adapters" / "short"
    sound, read = bundle.read_adapter, adapters.read_loaded
    turns: list[str] = []

    def put_sound(folder: Path) -> Any:
        put(own, "short", arrays(3, 60), tmp_path)
        turns.append("sound")
        return sound(folder)

    def put_broken(folder: Path, *others: Any) -> Any:
        weights = short / "weights.onnx_adapter"
        weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
        loaded = read(folder, *others)
        turns.append("broken")
        short.rename(tmp_path / f"gone.{len(turns)}")
        return loaded

    session = load(own.path)
    short.rename(tmp_path / "gone")
    monkeypatch.setattr(bundle, "read_adapter", put_sound)
    monkeypatch.setattr(reading, "read_loaded", put_broken)
    with pytest.raises(AdapterError, match="changes again and again while it is read"):
        logits(session, "short")
    assert turns[:2] == ["sound", "broken"]
    assert session.stats().loaded == 0

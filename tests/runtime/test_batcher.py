"""Requests of many callers answer as `session.run` does with each alone, and fail alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgeadapt.bundle import GenerationRecord
from edgeadapt.errors import (
    AdapterError,
    BundleError,
    BusyError,
    ClosedError,
    ConfigError,
    EdgeAdaptError,
    InputError,
    UnsupportedError,
)
from edgeadapt.exporter.pipeline import export
from edgeadapt.runtime import Batcher, Session, load, store
from tests import tiny
from tests.runtime.gatekeeper import LONG, TOLERANCE, Gatekeeper, expect
from tests.runtime.tiny_bundle import TinyBundle, inputs


class Gate(nn.Module):
    """Weighs the module's output by a mean over the sequence, padding included."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(tiny.HIDDEN, tiny.HIDDEN)

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        return y * torch.sigmoid(self.gate(y).mean(dim=1, keepdim=True))


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that answers for every token, with adapters of different ranks and label counts."""
    home = tmp_path_factory.mktemp("tokens")
    task = "token-classification"
    base = tiny.base(home / "base", "bert", task, num_labels=3)
    tiny.lora_adapter(base, home / "two", task, rank=2, num_labels=2, seed=1)
    tiny.lora_adapter(base, home / "five", task, rank=4, num_labels=5, seed=2)
    tiny.lora_adapter(base, home / "keeps", rank=3, targets=r".*query", task_type=None, task=task, seed=3)
    return export(base, {name: home / name for name in ("two", "five", "keeps")}, home / "bundle", task=task).path


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with a module of one's own that looks at padding."""
    home = tmp_path_factory.mktemp("gated")
    base = tiny.base(home / "base")
    torch.manual_seed(1)
    return export(base, {"gate": {"encoder.layer.0.output.dense": Gate()}}, home / "bundle").path


CHOICES: dict[str, list[Any]] = {
    "tokens": [None, "two", "five", "keeps", {"keeps": 0.5}, {"keeps": -1.5, "two": 0.25}],
    "gated": [None, "gate"],
}


def texts(count: int, seed: int, most: int = 60) -> list[dict[str, Any]]:
    """Returns rows of `count` texts of 1 to `most` tokens."""
    random = np.random.default_rng(seed)
    rows = []
    for length in random.integers(1, most, count):
        ids = random.integers(5, 200, (1, length))
        kinds = random.integers(0, 2, (1, length))
        rows.append({"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": kinds})
    return rows


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("kind", CHOICES)
def test_many_threads_get_what_each_gets_alone(kind: str, workers: int, request: pytest.FixtureRequest) -> None:
    session = load(request.getfixturevalue(kind), threads=1)
    callers, each = 8, 40

    def call(batcher: Batcher, seed: int) -> list[tuple[Any, Any, Any]]:
        random = np.random.default_rng(seed)
        choices = [CHOICES[kind][index] for index in random.integers(len(CHOICES[kind]), size=each)]
        rows = texts(each, seed)
        futures = [batcher.submit(row, choice) for row, choice in zip(rows, choices, strict=True)]
        return [(row, choice, future.result(LONG)) for row, choice, future in zip(rows, choices, futures, strict=True)]

    with Batcher(session, workers=workers, max_queue=64) as batcher, ThreadPoolExecutor(callers) as pool:
        calls = [pool.submit(call, batcher, seed) for seed in range(callers)]
        answers = [answer for done in calls for answer in done.result()]
    for row, choice, got in answers:
        expect(got, session.run(row, choice))
    stats = batcher.stats()
    assert stats.rows == callers * each
    assert stats.mean_rows == stats.rows / stats.batches
    assert stats.mean_rows > (2 if kind == "tokens" else 1)
    assert 0.0 < stats.padding < 0.3 if kind == "tokens" else stats.padding == 0.0
    assert (stats.waiting, stats.cancelled, stats.failed, stats.refused) == (0, 0, 0, 0)


@pytest.mark.parametrize("choice", [None, "two", {"keeps": 0.5}], ids=str)
def test_a_row_that_is_padded_answers_as_alone(tokens: Path, choice: Any) -> None:
    session = load(tokens)
    short, long = texts(1, 0, most=4)[0], texts(1, 1, most=2)[0]
    long = {name: np.resize(array, (1, 16)) for name, array in long.items()}
    with Batcher(session, max_batch=2, max_wait_ms=LONG * 1000) as batcher:
        futures = [batcher.submit(short, choice), batcher.submit(long, "five")]
        got = [future.result(LONG) for future in futures]
    assert batcher.stats().batches == 1
    assert batcher.stats().padding == pytest.approx((16 - short["input_ids"].shape[1]) / 32)
    expect(got[0], session.run(short, choice))
    expect(got[1], session.run(long, "five"))


def test_a_row_alone_has_the_very_bits(tokens: Path) -> None:
    session = load(tokens, threads=1)
    with Batcher(session, max_wait_ms=0) as batcher:
        for row, choice in zip(texts(6, 3), CHOICES["tokens"], strict=True):
            expect(batcher.submit(row, choice).result(LONG), session.run(row, choice), tolerance=0)
    assert batcher.stats().mean_rows == 1.0


def test_a_row_that_hides_tokens_of_its_own_answers_as_alone(tokens: Path) -> None:
    session = load(tokens)
    rows = [{name: array[:, :14].copy() for name, array in row.items()} for row in texts(4, 2) if row]
    rows = [{name: np.resize(array, (1, 14)) for name, array in row.items()} for row in rows]
    for row, hidden in zip(rows, (14, 5, 1, 0), strict=True):
        row["attention_mask"][:, 14 - hidden :] = 0
    longer = texts(1, 9, most=2)[0]
    rows.append({name: np.resize(array, (1, 16)) for name, array in longer.items()})
    with Batcher(session, max_wait_ms=50) as batcher:
        futures = [batcher.submit(row, "two") for row in rows]
        for row, future in zip(rows, futures, strict=True):
            expect(future.result(LONG), session.run(row, "two"))


def test_without_a_mask_only_equal_shapes_share_a_run(
    session: Session, headed: TinyBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, shapes = session.run, []

    def seen(fed: Any, adapter: Any = None) -> Any:
        shapes.append(fed["x"].shape)
        return run(fed, adapter)

    monkeypatch.setattr(session, "run", seen)
    rows = [inputs(1, sequence=5 + index % 2, seed=index) for index in range(8)]
    with Batcher(session, max_batch=4, max_wait_ms=LONG * 1000) as batcher:
        futures = [batcher.submit(row, "spam" if index % 3 else None) for index, row in enumerate(rows)]
        for index, (row, future) in enumerate(zip(rows, futures, strict=True)):
            expected = headed.expected(row["x"][0], "spam" if index % 3 else None)
            for name, array in future.result(LONG).items():
                np.testing.assert_allclose(array[0], expected[name], atol=TOLERANCE)
    assert sorted(shapes) == [(4, 5, 4), (4, 6, 4)]
    assert batcher.stats().padding == 0.0


def test_equal_adapters_are_beside_each_other(session: Session, gatekeeper: Gatekeeper) -> None:
    """However they came, so that few stacks are made."""
    with Batcher(session, max_batch=4, max_wait_ms=LONG * 1000) as batcher:
        gatekeeper.open.set()
        for order in (["spam", None, "short", "spam"], ["short", "spam", "spam", None]):
            futures = [batcher.submit(inputs(1), name) for name in order]
            assert all(future.result(LONG) for future in futures)
    assert gatekeeper.runs == [[None, "short", "spam", "spam"]] * 2


def test_answers_are_the_callers_own(session: Session) -> None:
    with Batcher(session, max_batch=2, max_wait_ms=LONG * 1000) as batcher:
        blend = {"short": 0.5}
        futures = [batcher.submit(inputs(1), blend), batcher.submit(inputs(1), "spam")]
        blend["short"] = 5.0
        first, second = (future.result(LONG) for future in futures)
    expect(first, session.run(inputs(1), {"short": 0.5}))
    second["logits"][:] = 0
    expect(first, session.run(inputs(1), {"short": 0.5}))
    assert first["hidden"].base is None  # the batch isn't kept for a row of it


def test_what_is_wrong_is_refused_before_it_waits(session: Session, headless: TinyBundle) -> None:
    with Batcher(session) as batcher:
        with pytest.raises(InputError, match=r"x: got float64, expected float32"):
            batcher.submit({"x": inputs(1)["x"].astype(np.float64)})
        with pytest.raises(InputError, match=r"A request is one row: got a batch of 3"):
            batcher.submit(inputs(3), "spam")
        with pytest.raises(AdapterError, match=r"There is no adapter 'spamm' \(did you mean 'spam'\?\)"):
            batcher.submit(inputs(1), "spamm")
        with pytest.raises(AdapterError, match="There is no adapter 'tone'"):
            batcher.submit(inputs(1), {"spam": 1.0, "tone": 1.0})
        wrong: Any
        for wrong in ({"spam": float("nan")}, {}, {"none": 1.0}, 3, ["spam"]):
            with pytest.raises(ConfigError):
                batcher.submit(inputs(1), wrong)
        assert batcher.stats().refused == 9
    with Batcher(load(headless.path)) as batcher, pytest.raises(AdapterError, match="The base has no classifier"):
        batcher.submit(inputs(1))


def test_no_adapter_is_read_by_who_submits(
    session: Session, gatekeeper: Gatekeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store.AdapterStore, "record", lambda *_: pytest.fail("an adapter was read"))
    with Batcher(session) as batcher:
        batcher.submit(inputs(1), {"spam": 0.5, "short": 1.0})
        assert session.stats().loaded == 0
        gatekeeper.open.set()
    assert session.stats().loaded == 2


def test_a_damaged_adapter_fails_the_rows_that_chose_it_and_no_others(own: TinyBundle) -> None:
    (own.path / "adapters" / "spam" / "weights.onnx_adapter").write_bytes(b"")
    session = load(own.path)
    choices: list[Any] = ["spam", None, "short", {"spam": 0.5, "short": 1.0}, "polite", "short", "spam", None]
    rows = [inputs(1, seed=seed) for seed in range(8)]
    with Batcher(session, max_batch=8, max_wait_ms=LONG * 1000) as batcher:
        futures = [batcher.submit(row, choice) for row, choice in zip(rows, choices, strict=True)]
        for row, choice, future in zip(rows, choices, futures, strict=True):
            if choice == "spam" or isinstance(choice, dict):
                with pytest.raises(BundleError, match=r"weights\.onnx_adapter: has 0 bytes"):
                    future.result(LONG)
            else:
                expect(future.result(LONG), session.run(row, choice))
    stats = batcher.stats()
    assert (stats.rows, stats.failed) == (5, 3)


def test_what_fails_at_the_run_fails_alone(tokens: Path) -> None:
    """A token that the model has no embedding for, and an adapter that is removed meanwhile."""
    session = load(tokens)
    rows = [{name: np.resize(array, (1, 9)) for name, array in row.items()} for row in texts(4, 5)]
    rows[1]["input_ids"][0, 4] = 100_000
    with Batcher(session, max_batch=5, max_wait_ms=LONG * 1000) as batcher:
        futures = [batcher.submit(row, "two") for row in rows[:3]]
        futures.append(batcher.submit(rows[3], "five"))
        session.remove_adapter("five")
        futures.append(batcher.submit(rows[0], "keeps"))
        for index in (0, 2):
            expect(futures[index].result(LONG), session.run(rows[index], "two"))
        expect(futures[4].result(LONG), session.run(rows[0], "keeps"))
        with pytest.raises(Exception, match="indices element out of data bounds"):
            futures[1].result(LONG)
        with pytest.raises(AdapterError, match="There is no adapter 'five'"):
            futures[3].result(LONG)


def test_a_bundle_that_generates_is_refused(session: Session) -> None:
    session.manifest = replace(session.manifest, task="text-generation", generation=GenerationRecord((2,), None, None))
    with pytest.raises(UnsupportedError, match=r"A bundle for text-generation writes token by token.*\n.*generate\("):
        Batcher(session)


def test_numbers_without_a_meaning_are_refused_all_at_once(session: Session) -> None:
    with pytest.raises(ConfigError) as caught:
        Batcher(session, max_batch=0, max_wait_ms=-1, max_queue=True, workers=1.5)  # type: ignore[arg-type]
    for text in ("max_batch: got 0", "max_wait_ms: got -1", "max_queue: got True", "workers: got 1.5"):
        assert text in str(caught.value)
    assert issubclass(BusyError, EdgeAdaptError) and issubclass(ClosedError, EdgeAdaptError)

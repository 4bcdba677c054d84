"""Generating with adapters that texts begin with: rows in turns, switches, positions, and what is refused."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgeadapt
from edgeadapt import bundle as bundles
from edgeadapt.adapter import Array
from edgeadapt.errors import AdapterError, EdgeAdaptError, InputError, UnsupportedError
from edgeadapt.exporter import assemble
from edgeadapt.runtime import Session, load
from tests import tiny
from tests.exporter.starts import KINDS, TASK, all_kinds

PROMPTS = [[20, 30, 40, 50], [70, 80], [100, 110, 120]]
NAMES = ["projected", None, "prompt"]


@pytest.fixture(scope="module", params=["llama", "bloom", "gpt_neo"])
def decoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Session:
    """A decoder that writes into its cache where it lies, and two whose cache grows, one of them with a window."""
    from edgeadapt.exporter.pipeline import export

    folder = tmp_path_factory.mktemp(request.param)
    window: dict[str, Any] = {"attention_types": [[["global", "local"], 1]], "window_size": 4}
    base = tiny.base(folder / "base", request.param, TASK, **(window if request.param == "gpt_neo" else {}))
    return load(export(base, all_kinds(base, folder, request.param), folder / "bundle").path)


def test_rows_are_what_they_are_alone_whenever_the_others_end(decoder: Session) -> None:
    alone = [
        decoder.generate([prompt], adapter=name, max_new_tokens=12, eos=[])[0].tolist()
        for prompt, name in zip(PROMPTS, NAMES, strict=True)
    ]
    ends = [alone[0][3], alone[2][6]]

    together = decoder.generate(PROMPTS, adapter=NAMES, max_new_tokens=12, eos=ends)

    for got, whole in zip(together, alone, strict=True):
        first = next((place for place, token in enumerate(whole) if token in ends), len(whole) - 1)
        assert got.tolist() == whole[: first + 1]


def test_tokens_that_come_in_turns_are_those_that_come_at_once(decoder: Session) -> None:
    turns = decoder.begin(3, NAMES)
    turns.feed(np.array([[20, 30], [0, 70], [0, 100]]), np.array([[1, 1], [0, 1], [0, 1]]))
    turns.feed(np.array([[0, 0, 40], [0, 80, 81], [110, 120, 130]]), np.array([[0, 0, 1], [0, 1, 1], [1, 1, 1]]))
    got = turns.feed(np.array([[50], [90], [140]]))

    rows = [[20, 30, 40, 50], [70, 80, 81, 90], [100, 110, 120, 130, 140]]
    assert turns.rows == rows
    assert turns.virtual == [9, 0, 3]
    for row, tokens, name in zip(got, rows, NAMES, strict=True):
        np.testing.assert_allclose(row, decoder.begin(1, name).feed(np.array([tokens]))[0], atol=2e-5)


@pytest.mark.parametrize("name", KINDS)
def test_a_switch_begins_the_cache_anew(name: str, decoder: Session) -> None:
    ids, mask = np.array([[20, 30], [0, 70]]), np.array([[1, 1], [0, 1]])
    chat = decoder.begin(2, "lora")
    chat.feed(ids, mask)

    with pytest.raises(AdapterError, match="would mix both"):
        chat.switch([name, "lora"])
    switched = chat.switch([name, "lora"], prefill=True)

    fresh = decoder.begin(2, [name, "lora"])
    expected = fresh.feed(ids, mask)
    assert switched is not None
    np.testing.assert_allclose(switched, expected, atol=1e-5)
    following = np.array([[5], [6]])
    np.testing.assert_allclose(chat.feed(following), fresh.feed(following), atol=1e-5)
    back = chat.switch(None, prefill=True)
    assert chat.virtual == [0, 0]
    whole = decoder.begin(2).feed(np.array([[20, 30, 5], [0, 70, 6]]), np.array([[1, 1, 1], [0, 1, 1]]))
    assert back is not None
    np.testing.assert_allclose(back, whole, atol=1e-5)


def test_drawn_rows_are_what_they_are_alone(decoder: Session) -> None:
    options: dict[str, Any] = {"temperature": 0.9, "seed": 5, "max_new_tokens": 8, "eos": []}

    together = decoder.generate(PROMPTS, adapter=NAMES, **options)

    for got, prompt, name in zip(together, PROMPTS, NAMES, strict=True):
        np.testing.assert_array_equal(got, decoder.generate([prompt], adapter=name, **options)[0])


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Session:
    from edgeadapt.exporter.pipeline import export

    folder = tmp_path_factory.mktemp("gpt2")
    base = tiny.base(folder / "base", "gpt2", TASK)
    return load(export(base, all_kinds(base, folder, "gpt2"), folder / "bundle").path)


def test_a_prompt_has_room_for_what_comes_before_it(gpt2: Session) -> None:
    with pytest.raises(InputError, match=r"row 1: the prompt has 124 tokens and 5 virtual ones before it, and the mod"):
        gpt2.generate([[5], [5] * 124], adapter=[None, "prefix"], max_new_tokens=1)
    with pytest.raises(InputError, match=r"row 0: 110 tokens and 9 virtual ones(.|\n)*max_new_tokens can be 9"):
        gpt2.generate([[5] * 110, [5] * 110], adapter=["projected", None], max_new_tokens=12)
    assert len(gpt2.generate([[5] * 110], adapter="projected", max_new_tokens=9, eos=[])[0]) == 9
    chat = gpt2.begin(1, "prefix")
    chat.feed(np.full((1, 123), 5))
    with pytest.raises(InputError, match="A row would have 124 tokens and 5 virtual ones before them"):
        chat.feed(np.array([[5]]))
    with pytest.raises(InputError, match="A row would have 123 tokens and 9 virtual ones before them"):
        chat.switch("projected", prefill=True)
    assert chat.adapter == "prefix"


def test_a_pipeline_checks_every_row_with_its_own_adapter_before_any_is_run(gpt2: Session) -> None:
    write = edgeadapt.pipeline(gpt2)
    text = "you " * 100

    with pytest.raises(InputError, match=r"row 1: 102 tokens and 9 virtual ones"):
        write([text, text], adapter=[None, "projected"], max_new_tokens=20)
    assert len(write([text, text], adapter=[None, "lora"], max_new_tokens=20)) == 2


def test_a_run_that_is_given_its_cache_is_refused(gpt2: Session) -> None:
    inputs: dict[str, Array] = {
        "input_ids": np.array([[5, 6]]),
        "attention_mask": np.ones((1, 2), np.int64),
        "position_ids": np.array([[0, 1]]),
        "kept_positions": np.array([[1]]),
        **{
            tensor.name: np.zeros((1, 4, 0, 8), np.float32)
            for tensor in gpt2.manifest.inputs
            if tensor.name.startswith(bundles.PAST)
        },
    }

    assert gpt2.run(inputs, "lora")["logits"][0].shape[0] == 1
    for choice in ("prefix", ["prompt"], {"prefix": 0.5, "lora": 0.5}):
        with pytest.raises(UnsupportedError, match="takes the cache that it is given"):
            gpt2.run(inputs, choice)


def test_a_blend_with_it_is_refused(gpt2: Session) -> None:
    for blend in ({"prefix": 0.5}, {"lora": 1.0, "prompt": 1.0}):
        with pytest.raises(UnsupportedError, match=r"begin with a cache of their own, and caches don't add up"):
            gpt2.generate([[5]], adapter=blend)


def without_a_layer(arrays: dict[str, Array]) -> dict[str, Array]:
    return {name: array for name, array in arrays.items() if not name.endswith("1.value")}


def of_fewer_heads(arrays: dict[str, Array]) -> dict[str, Array]:
    return {name: array[:, :2] for name, array in arrays.items()}


def of_two_lengths(arrays: dict[str, Array]) -> dict[str, Array]:
    return {name: array[:, :, : 4 if name.endswith("0.key") else 5] for name, array in arrays.items()}


def with_nan(arrays: dict[str, Array]) -> dict[str, Array]:
    return {name: array * np.float32(np.nan) for name, array in arrays.items()}


BAD: dict[str, tuple[Any, dict[str, Any], str]] = {
    "a layer is missing": (without_a_layer, {}, r"past_key_values\.1\.value: missing"),
    "heads": (of_fewer_heads, {}, r"past_key_values\.0\.key: got \(1, 2, 5, 8\), expected \(1, 4, n, 8\)"),
    "two lengths": (of_two_lengths, {}, "4 tokens in past_key_values.0.key, 5 tokens in past_key_values.0.value"),
    "NaN": (with_nan, {}, r"past_key_values\.0\.key: holds NaN or infinity"),
    "another rank": (None, {"past_key_values": {"prefix": {"rank": 6}}}, "rank 6 in adapter.json, 5 tokens in its"),
    "a record that says nothing": (None, {"wte": {}}, "of which sites.past_key_values in adapter.json says nothing"),
    "nothing but a record": (lambda _: {}, {}, r"past_key_values\.0\.key: missing"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_folder_whose_cache_does_not_fit_is_refused(case: str, gpt2: Session, tmp_path: Path) -> None:
    change, sites, words = BAD[case]
    folder = Path(shutil.copytree(gpt2.path / "adapters" / "prefix", tmp_path / "bad"))
    record = bundles.read_adapter(folder)
    arrays = dict(gpt2.adapter("prefix").cache)
    (folder / assemble.WEIGHTS).unlink()
    assemble.write_weights(folder / assemble.WEIGHTS, arrays if change is None else change(arrays))
    files = {**record.files, **bundles.record_files(folder, (assemble.WEIGHTS,))}
    bundles.write_adapter(folder, replace(record, files=files, sites=sites or record.sites))

    with pytest.raises(EdgeAdaptError, match=words):
        gpt2.add_adapter(folder, "bad")

    assert "bad" not in gpt2.adapters

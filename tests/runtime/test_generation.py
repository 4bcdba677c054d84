"""Generating on a tiny decoder: rows that end apart, adapters that change, and what is refused before any work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeadapt.errors import AdapterError, ConfigError, EdgeAdaptError, InputError, UnsupportedError
from edgeadapt.runtime import Session, load
from tests import tiny

PROMPTS = [[20, 30, 40, 50], [70, 80], [100, 110, 120]]


@pytest.fixture(scope="module", params=["llama", "bloom"])
def decoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Session:
    """A decoder with two adapters: one that writes into its cache where it lies, and one whose cache grows."""
    from edgeadapt.exporter.pipeline import export

    folder = tmp_path_factory.mktemp(request.param)
    base = tiny.base(folder / "base", request.param, "text-generation")
    adapters = {
        name: tiny.lora_adapter(base, folder / name, "text-generation", seed, "all-linear", seed=seed)
        for name, seed in (("tales", 2), ("news", 3))
    }
    return load(export(base, adapters, folder / "bundle").path)


def test_a_row_is_what_it_is_alone_whenever_the_others_end(decoder: Session) -> None:
    alone = [
        decoder.generate([prompt], adapter=name, max_new_tokens=12, eos=[])[0].tolist()
        for prompt, name in zip(PROMPTS, ("tales", None, "news"), strict=True)
    ]
    ends = [alone[0][3], alone[2][6]]

    together = decoder.generate(PROMPTS, adapter=["tales", None, "news"], max_new_tokens=12, eos=ends)

    for got, whole in zip(together, alone, strict=True):
        first = next((place for place, token in enumerate(whole) if token in ends), len(whole) - 1)
        assert got.tolist() == whole[: first + 1]
    assert len({len(got) for got in together}) > 1


def test_what_has_ended_is_told_in_a_stream(decoder: Session) -> None:
    whole = decoder.generate(PROMPTS[:2], max_new_tokens=6, eos=[])
    end = int(whole[0][1])

    steps = list(decoder.stream(PROMPTS[:2], max_new_tokens=6, eos=end))

    assert [int(step[0]) for step in steps[:2]] == whole[0][:2].tolist()
    assert all(step[0] == -1 for step in steps[2:])
    assert len(steps) > 2 or end in whole[1][:2]


def test_sequences_and_functions_end_a_row(decoder: Session) -> None:
    whole = decoder.generate([PROMPTS[0]], max_new_tokens=10, eos=[])[0].tolist()

    by_sequence = decoder.generate([PROMPTS[0]], max_new_tokens=10, eos=[], stop=[whole[2:4]])[0].tolist()
    by_function = decoder.generate([PROMPTS[0]], max_new_tokens=10, eos=[], stop=lambda new: len(new) == 3)[0].tolist()

    assert by_sequence == whole[: len(by_sequence)]
    assert by_sequence[-2:] == whole[2:4]
    assert by_function == whole[:3]


def test_a_drawn_row_is_what_it_is_alone(decoder: Session) -> None:
    options: dict[str, Any] = {"temperature": 0.9, "top_k": 40, "seed": 5, "max_new_tokens": 8, "eos": []}

    together = decoder.generate(PROMPTS, adapter=["tales", "news", None], **options)

    for got, prompt, name in zip(together, PROMPTS, ("tales", "news", None), strict=True):
        np.testing.assert_array_equal(got, decoder.generate([prompt], adapter=name, **options)[0])
    assert decoder.generate([PROMPTS[0]], **{**options, "seed": 6})[0].tolist() != together[2].tolist()


def test_arrays_padded_on_the_left_are_the_same_prompts(decoder: Session) -> None:
    ids = np.array([[20, 30, 40, 50], [9, 9, 70, 80]])
    mask = np.array([[1, 1, 1, 1], [0, 0, 1, 1]])

    padded = decoder.generate(ids, mask, max_new_tokens=5, eos=[])

    for got, expected in zip(padded, decoder.generate(PROMPTS[:2], max_new_tokens=5, eos=[]), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_going_on_with_another_adapter_is_refused_or_runs_all_again(decoder: Session) -> None:
    chat = decoder.begin(2, "tales")
    chat.feed(np.array([[20, 30], [0, 70]]), np.array([[1, 1], [0, 1]]))
    chat.feed(np.array([[40], [80]]))

    with pytest.raises(AdapterError, match=r"3 tokens that were run with 'tales'; going on with 'news' would mix both"):
        chat.switch("news")
    assert chat.adapter == "tales"
    switched = chat.switch("news", prefill=True)

    fresh = decoder.begin(2, "news")
    expected = fresh.feed(np.array([[20, 30, 40], [0, 70, 80]]), np.array([[1, 1, 1], [0, 1, 1]]))
    assert switched is not None
    np.testing.assert_allclose(switched, expected, atol=1e-5)
    np.testing.assert_allclose(chat.feed(np.array([[5], [6]])), fresh.feed(np.array([[5], [6]])), atol=1e-5)
    assert decoder.begin(1, "tales").switch("news") is None  # nothing is there to be mixed


def test_a_cache_grows_as_it_must(decoder: Session) -> None:
    tokens = np.arange(5, 65)[None]
    stepwise = decoder.begin(1, "tales")
    for token in tokens[0]:
        logits = stepwise.feed(np.array([[token]]))

    np.testing.assert_allclose(logits, decoder.begin(1, "tales").feed(tokens), atol=2e-5)


REFUSED: dict[str, tuple[dict[str, Any], type[EdgeAdaptError], str]] = {
    "no rows": ({"input_ids": []}, InputError, "got no rows"),
    "an empty prompt": ({"input_ids": [[5], []]}, InputError, "row 1: the prompt is empty"),
    "an empty row of an array": (
        {"input_ids": np.array([[5], [0]]), "attention_mask": np.array([[1], [0]])},
        InputError,
        "row 1: the prompt is empty",
    ),
    "no tokens": ({"input_ids": [[0.5]]}, InputError, "row 0: got list of float64, expected whole numbers"),
    "a negative token": ({"input_ids": [[3, -2]]}, InputError, "row 0: -2 is no token"),
    "a text": ({"input_ids": "hello"}, InputError, "got str, expected an array or a list of rows"),
    "padding on the right": (
        {"input_ids": np.array([[5, 6, 0]]), "attention_mask": np.array([[1, 1, 0]])},
        InputError,
        "row 0: the mask has padding on the right; pad on the left",
    ),
    "holes": (
        {"input_ids": np.array([[5, 6, 7]]), "attention_mask": np.array([[1, 0, 1]])},
        InputError,
        "row 0: the mask has holes",
    ),
    "an unknown adapter in a row": (
        {"input_ids": [[5], [6]], "adapter": ["tales", "tails"]},
        AdapterError,
        r"no adapter 'tails' \(did you mean 'tales'\?\)",
    ),
    "too few adapters": ({"input_ids": [[5], [6]], "adapter": ["tales"]}, InputError, "got 1 for a batch of 2"),
    "no new tokens": ({"max_new_tokens": 0}, ConfigError, "max_new_tokens: got 0, expected a number of 1 or more"),
    "an empty sequence to stop at": ({"stop": [[]]}, ConfigError, "stop: holds an empty sequence"),
    "sampling out of range": (
        {"temperature": -1.0, "top_p": 2.0, "top_k": 0},
        ConfigError,
        r"temperature: got -1\.0(.|\n)*top_k: got 0(.|\n)*top_p: got 2\.0",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cant_be_generated_is_refused_before_any_work(name: str, decoder: Session) -> None:
    options, error, words = REFUSED[name]

    with pytest.raises(error, match=words):
        decoder.stream(**{"input_ids": [[5]], **options})


def test_more_than_the_model_has_positions_for_is_refused_with_what_fits(tmp_path: Path) -> None:
    from edgeadapt.exporter.pipeline import export

    base = tiny.base(tmp_path / "base", "gpt2", "text-generation")
    session = load(export(base, {}, tmp_path / "bundle", task="text-generation").path)

    with pytest.raises(InputError, match="row 0: the prompt has 130 tokens, and the model has 128 positions"):
        session.generate([[5] * 130])
    with pytest.raises(InputError, match=r"row 0: 120 tokens and 20 new ones(.|\n)*max_new_tokens can be 8"):
        session.generate([[5] * 120])
    assert len(session.generate([[5] * 120], max_new_tokens=8, eos=[])[0]) == 8
    chat = session.begin()
    chat.feed(np.full((1, 128), 5))
    with pytest.raises(InputError, match="A row would have 129 tokens"):
        chat.feed(np.array([[5]]))


def test_a_classifier_generates_nothing(session: Session) -> None:
    with pytest.raises(UnsupportedError, match=r"generates no text\.\nExport its base for the task text-generation"):
        session.generate([[5]])

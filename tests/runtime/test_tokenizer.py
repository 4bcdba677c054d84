from __future__ import annotations

import builtins
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeadapt.bundle import TokenizerRecord
from edgeadapt.errors import BundleError, ConfigError, InputError, UnsupportedError
from edgeadapt.runtime.tokenizer import TextTokenizer
from tests.tasks.reference import TEXTS, byte_level, word_pieces

NAMES = ("input_ids", "attention_mask", "token_type_ids")
PAIR = ("What is rather long?", "The film was rather long, and they changed the price of it twice. " * 4)


@pytest.fixture(scope="module", params=["word pieces", "byte level"])
def tokenizers(request: Any, tmp_path_factory: Any) -> tuple[TextTokenizer, Any]:
    folder = tmp_path_factory.mktemp("tokenizer")
    live = word_pieces(folder) if request.param == "word pieces" else byte_level(folder)
    record = TokenizerRecord("tokenizer.json", 64, "right", live.pad_token_id, live.pad_token, 0, live.mask_token)
    return TextTokenizer(folder / record.file, record), live


def test_a_batch_is_that_of_transformers(tokenizers: tuple[TextTokenizer, Any]) -> None:
    ours, live = tokenizers
    texts = [*TEXTS, " ".join(TEXTS * 5)]
    expected = live(
        texts, padding=True, truncation=True, max_length=64, return_tensors="np", return_token_type_ids=True
    )
    got = ours.batch(ours.tokens(texts), NAMES)
    assert list(got) == list(NAMES)
    for name in NAMES:
        assert got[name].dtype == np.int64
        np.testing.assert_array_equal(got[name], expected[name])


def test_a_batch_of_pairs_is_that_of_transformers(tokenizers: tuple[TextTokenizer, Any]) -> None:
    ours, live = tokenizers
    pairs = [("hello", "our phone"), PAIR, (PAIR[1], PAIR[0])]
    expected = live(*zip(*pairs, strict=True), padding=True, truncation=True, max_length=64, return_token_type_ids=True)
    got = ours.batch(ours.tokens(pairs), NAMES)
    for name in NAMES:
        assert got[name].tolist() == expected[name]


def test_only_the_named_inputs_are_given(tokenizers: tuple[TextTokenizer, Any]) -> None:
    ours, _ = tokenizers
    assert list(ours.batch(ours.tokens(TEXTS), ["input_ids"])) == ["input_ids"]
    with pytest.raises(BundleError, match="'position_ids', which no tokenizer gives"):
        ours.batch(ours.tokens(TEXTS), ["input_ids", "position_ids"])


@pytest.mark.parametrize("side", ["right", "left"])
def test_rows_are_padded_on_the_side_of_the_record(tmp_path: Path, side: Any) -> None:
    live = word_pieces(tmp_path)
    live.padding_side = side
    ours = TextTokenizer(tmp_path / "tokenizer.json", TokenizerRecord("tokenizer.json", 64, side, 0, "[PAD]", 0, None))
    assert ours.batch(ours.tokens(TEXTS), NAMES)["input_ids"].tolist() == live(TEXTS, padding=True)["input_ids"]


def test_tokens_say_where_they_are_from(tokenizers: tuple[TextTokenizer, Any]) -> None:
    ours, live = tokenizers
    (got,) = ours.tokens([("hello our phone", "never late")])
    expected = live("hello our phone", "never late", return_offsets_mapping=True, return_special_tokens_mask=True)
    assert list(got.offsets) == expected["offset_mapping"]
    assert [int(flag) for flag in got.special] == expected["special_tokens_mask"]
    assert list(got.words) == expected.word_ids()
    assert list(got.sequences) == expected.sequence_ids()


@pytest.mark.parametrize(
    ("text", "shorten"), [(PAIR, "only_second"), (PAIR[::-1], "only_first"), (PAIR[1], "longest_first")]
)
@pytest.mark.parametrize(("length", "stride"), [(64, 8), (40, 0), (40, 5)])
def test_windows_are_those_of_transformers(
    tokenizers: tuple[TextTokenizer, Any], text: Any, shorten: Any, length: int, stride: int
) -> None:
    ours, live = tokenizers
    halves = (text,) if isinstance(text, str) else text
    expected = live(
        *halves, truncation=shorten, max_length=length, stride=stride, return_overflowing_tokens=True, padding=False
    )
    windows = ours.windows(text, length, stride, shorten)
    assert len(windows) > 1
    assert [window.ids.tolist() for window in windows] == expected["input_ids"]


def test_what_fits_is_one_window(tokenizers: tuple[TextTokenizer, Any]) -> None:
    ours, _ = tokenizers
    (window,) = ours.windows(("who?", "you"), 40, 39, "only_second")
    assert window.ids.tolist() == ours.tokens([("who?", "you")])[0].ids.tolist()


@pytest.mark.parametrize(
    ("text", "length", "stride", "error", "message"),
    [
        (PAIR, 65, 0, ConfigError, "Windows of 65 tokens: the model takes 1 to 64"),
        (PAIR, 0, 0, ConfigError, "Windows of 0 tokens"),
        (PAIR, 64, 60, ConfigError, "An overlap of 60 tokens"),
        (PAIR, 64, -1, ConfigError, "An overlap of -1 tokens"),
        (PAIR[::-1], 64, 0, InputError, "a window takes 64"),
    ],
)
def test_windows_without_room_are_refused(
    tokenizers: tuple[TextTokenizer, Any], text: Any, length: int, stride: int, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        tokenizers[0].windows(text, length, stride, "only_second")


def test_a_long_text_is_refused_where_it_may_not_be_cut(tokenizers: tuple[TextTokenizer, Any]) -> None:
    ours, _ = tokenizers
    with pytest.raises(InputError, match=r"at most 64 tokens:\n  input 1: \d+ tokens\nShorten"):
        ours.tokens(["hello", " ".join(TEXTS * 5)], truncation=False)
    assert len(ours.tokens(["hello " * 10], truncation=False)[0]) <= 64


def test_the_vocabulary_is_that_of_transformers(tokenizers: tuple[TextTokenizer, Any]) -> None:
    ours, live = tokenizers
    (row,) = ours.tokens(TEXTS[:1])
    ids = row.ids.tolist()
    assert [ours.token(token_id) for token_id in ids] == live.convert_ids_to_tokens(ids)
    assert ours.join(live.convert_ids_to_tokens(ids)) == live.convert_tokens_to_string(live.convert_ids_to_tokens(ids))
    for skip in (True, False):
        assert ours.decode(ids, skip) == live.decode(ids, skip_special_tokens=skip)
    assert ours.cls_id == live.cls_token_id
    assert ours.id(live.mask_token) == live.mask_token_id
    assert ours.id("quixotry") is None
    assert ours.first_id("hello our") == live("hello our", add_special_tokens=False)["input_ids"][0]
    assert ours.first_id("") is None


def test_unknown_and_continued_words_are_told_by_the_model(tmp_path: Path) -> None:
    record = TokenizerRecord("tokenizer.json", 64, "right", 0, "[PAD]", 0, None)
    live = word_pieces(tmp_path)
    ours = TextTokenizer(tmp_path / "tokenizer.json", record)
    assert (ours.unknown_id, ours.subword_prefix) == (live.unk_token_id, "##")
    byte_level(tmp_path)
    ours = TextTokenizer(tmp_path / "tokenizer.json", record)
    assert not ours.unknown_id and not ours.subword_prefix


def test_the_unknown_token_of_a_unigram_model_is_found(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models

    Tokenizer(models.Unigram([("<pad>", 0.0), ("<unk>", 0.0), ("a", -1.0)], unk_id=1)).save(str(tmp_path / "t.json"))
    ours = TextTokenizer(tmp_path / "t.json", TokenizerRecord("t.json", 64, "right", 0, "<pad>", 0, None))
    assert ours.unknown_id == 1 and ours.tokens(["b"])[0].ids.tolist() == [1]
    assert ours.cls_id is None


def test_a_token_that_only_begins_a_text_does_not_stand_for_it(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, processors

    tokenizer = Tokenizer.from_str(word_pieces(tmp_path).backend_tokenizer.to_str())
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", 2)])
    tokenizer.save(str(tmp_path / "t.json"))
    ours = TextTokenizer(tmp_path / "t.json", TokenizerRecord("t.json", 64, "right", 0, "[PAD]", 0, None))
    assert ours.cls_id is None


def test_truncation_and_padding_of_the_file_do_not_matter(
    tokenizers: tuple[TextTokenizer, Any], tmp_path: Path
) -> None:
    from tokenizers import Tokenizer

    ours, live = tokenizers
    stateful = Tokenizer.from_str(live.backend_tokenizer.to_str())
    stateful.enable_truncation(3)
    stateful.enable_padding(length=100)
    stateful.save(str(tmp_path / "t.json"))
    other = TextTokenizer(tmp_path / "t.json", ours._record)
    assert [row.ids.tolist() for row in other.tokens(TEXTS)] == [row.ids.tolist() for row in ours.tokens(TEXTS)]


def test_threads_share_a_tokenizer(tokenizers: tuple[TextTokenizer, Any]) -> None:
    ours, _ = tokenizers
    fresh = TextTokenizer(ours._file, replace(ours._record))

    def work(index: int) -> tuple[list[int], int]:
        length = 30 + 2 * (index % 4)
        return [len(row) for row in fresh.tokens(TEXTS)], max(map(len, fresh.windows(PAIR, length, 1, "only_second")))

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(work, range(64)))
    assert all(lengths == [len(row) for row in ours.tokens(TEXTS)] for lengths, _ in results)
    assert [longest for _, longest in results] == [30 + 2 * (index % 4) for index in range(64)]


def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(BundleError, match="can't be read as a tokenizer"):
        TextTokenizer(tmp_path / "tokenizer.json", TokenizerRecord("t", 64, "right", 0, "[PAD]", 0, None))


def test_without_tokenizers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    original = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] == "tokenizers":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UnsupportedError, match=r'pip install "edgeadapt\[pipeline\]"'):
        TextTokenizer(tmp_path / "t.json", TokenizerRecord("t", 64, "right", 0, "[PAD]", 0, None))

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgeadapt.errors import CheckpointError, UnsupportedError
from edgeadapt.exporter import preprocess
from tests import tiny
from tests.runtime.test_images import processor
from tests.tasks.reference import byte_level, transformers, word_pieces


def config(model_type: str = "bert", **options: Any) -> Any:
    return transformers.AutoConfig.for_model(model_type, **{**tiny.FAMILIES[model_type], **options})


def test_a_tokenizer_is_written_without_truncation_and_padding(tmp_path: Path) -> None:
    live = word_pieces(tmp_path / "base")
    live(["a", "a b"], padding=True, truncation=True, max_length=3)
    record = preprocess.tokenizer_record(live, config(), tmp_path)
    written = json.loads((tmp_path / record.file).read_text())
    assert written["truncation"] is None and written["padding"] is None
    assert (record.max_length, record.padding_side) == (128, "right")
    assert (record.pad_id, record.pad_token, record.pad_type_id, record.mask_token) == (0, "[PAD]", 0, "[MASK]")


def test_the_same_tokenizer_gives_the_same_bytes(tmp_path: Path) -> None:
    live = word_pieces(tmp_path / "base")
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        preprocess.tokenizer_record(live, config(), tmp_path / folder)
        live(["a", "a b"], padding=True, truncation=True, max_length=3)
    assert (tmp_path / "one/tokenizer.json").read_bytes() == (tmp_path / "two/tokenizer.json").read_bytes()


@pytest.mark.parametrize(
    ("model_type", "options", "said", "expected"),
    [
        ("bert", {}, 64, 64),
        ("bert", {}, int(1e30), 128),
        ("roberta", {"pad_token_id": 1}, int(1e30), 128),
        ("roberta", {"pad_token_id": 0}, int(1e30), 129),
        ("mpnet", {"pad_token_id": 1}, 512, 128),
    ],
)
def test_the_longest_text_is_what_both_take(
    tmp_path: Path, model_type: str, options: dict[str, Any], said: int, expected: int
) -> None:
    live = word_pieces(tmp_path)
    live.model_max_length = said
    assert preprocess.tokenizer_record(live, config(model_type, **options), tmp_path).max_length == expected


@pytest.mark.parametrize("model_type", sorted(preprocess._OFFSET_POSITIONS & set(tiny.FAMILIES)))
def test_a_model_with_offset_positions_takes_the_longest_text(tmp_path: Path, model_type: str) -> None:
    import torch

    settings = config(model_type, pad_token_id=1, vocab_size=50)
    live = word_pieces(tmp_path)
    live.model_max_length = int(1e30)
    length = preprocess.tokenizer_record(live, settings, tmp_path).max_length
    model = transformers.AutoModel.from_config(settings).eval()
    model(torch.full((1, length), 5))
    with pytest.raises((IndexError, RuntimeError)):
        model(torch.full((1, length + 1), 5))


def test_a_model_without_positions_takes_texts_of_any_length(tmp_path: Path) -> None:
    live = word_pieces(tmp_path)
    live.model_max_length = int(1e30)
    assert preprocess.tokenizer_record(live, transformers.T5Config(), tmp_path).max_length == 2**31 - 1


def test_the_models_own_padding_counts(tmp_path: Path) -> None:
    live = word_pieces(tmp_path)
    record = preprocess.tokenizer_record(live, config(pad_token_id=3), tmp_path)
    assert (record.pad_id, record.pad_token) == (3, "[SEP]")
    assert preprocess.tokenizer_record(live, config(pad_token_id=None), tmp_path).pad_id == 0
    assert preprocess.tokenizer_record(live, config(pad_token_id=-1), tmp_path).pad_id == 0


def test_without_any_padding_token_it_is_refused(tmp_path: Path) -> None:
    live = word_pieces(tmp_path)
    live.pad_token = None
    with pytest.raises(UnsupportedError, match="neither a padding token nor an end token"):
        preprocess.tokenizer_record(live, config(pad_token_id=None), tmp_path)


def test_a_tokenizer_in_python_is_refused(tmp_path: Path) -> None:
    live = transformers.CanineTokenizer()
    with pytest.raises(UnsupportedError, match="CanineTokenizer exists in Python only"):
        preprocess.tokenizer_record(live, config(), tmp_path)


def test_cutting_at_the_start_is_refused(tmp_path: Path) -> None:
    live = word_pieces(tmp_path)
    live.truncation_side = "left"
    with pytest.raises(UnsupportedError, match="cuts long texts on the left"):
        preprocess.tokenizer_record(live, config(), tmp_path)


def test_a_tokenizer_that_does_more_than_its_file_is_refused(tmp_path: Path) -> None:
    live = byte_level(tmp_path)

    class Shouting:
        is_fast, truncation_side, padding_side = True, "right", "right"

        def __getattr__(self, name: str) -> Any:
            return getattr(live, name)

        def __call__(self, text: str, *pair: str, **options: Any) -> Any:
            return live(text.upper(), *pair, **options)

    with pytest.raises(UnsupportedError, match=r"does more than its tokenizer\.json says:\n  text: "):
        preprocess.tokenizer_record(Shouting(), config(), tmp_path)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("vit", {"do_pad": True}, "do_pad: not done by the runtime"),
        ("vit", {"do_resize": False}, "do_resize: off"),
        ("vit", {"size": {"shortest_edge": 224}}, "size: shortest_edge without do_center_crop"),
        ("vit", {"size": {"shortest_edge": 224, "longest_edge": 300}}, "size: got"),
    ],
)
def test_steps_that_the_runtime_lacks_are_refused_by_name(name: str, changes: dict[str, Any], message: str) -> None:
    live = processor(name)
    settings = {**live.to_dict(), **changes}

    class Changed:
        def to_dict(self) -> dict[str, Any]:
            return settings

    with pytest.raises(UnsupportedError, match=message):
        preprocess.image_record(Changed())


def test_a_processor_that_computes_otherwise_is_refused() -> None:
    name = "ConvNextImageProcessor"
    live = (getattr(transformers, f"{name}Pil", None) or getattr(transformers, name))(size={"shortest_edge": 224})
    with pytest.raises(UnsupportedError):
        preprocess.image_record(live)
    levit = "LevitImageProcessor"
    live = (getattr(transformers, f"{levit}Pil", None) or getattr(transformers, levit))()
    with pytest.raises(UnsupportedError, match=r"otherwise than its settings say"):
        preprocess.image_record(live)


def test_what_a_folder_has_is_opened(tmp_path: Path) -> None:
    text, image, empty = (tmp_path / name for name in ("text", "image", "empty"))
    tiny.base(text)
    tiny.base(image, "vit")
    empty.mkdir()
    assert preprocess.load_preprocessing(text).is_fast  # type: ignore[union-attr]
    assert "ViTImageProcessor" in type(preprocess.load_preprocessing(image)).__name__
    assert preprocess.load_preprocessing(empty) is None
    assert preprocess.load_preprocessing("no-one/no-such-model") is None


def test_a_file_that_can_not_be_opened_is_said(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(CheckpointError, match="can't be opened"):
        preprocess.load_preprocessing(tmp_path)


def test_records_are_those_of_the_kind(tmp_path: Path) -> None:
    assert preprocess.records(None, config(), tmp_path) == (None, None)
    tokenizer, image = preprocess.records(word_pieces(tmp_path), config(), tmp_path)
    assert tokenizer is not None and image is None
    tokenizer, image = preprocess.records(processor("vit"), config("vit"), tmp_path)
    assert tokenizer is None and image is not None and (image.height, image.width) == (224, 224)

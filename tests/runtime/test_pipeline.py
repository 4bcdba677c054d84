from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import edgeadapt
from edgeadapt.bundle import Slot
from edgeadapt.errors import BundleError, UnsupportedError
from tests.tasks.reference import TEXTS, TorchSession, assert_same, model, pipeline, word_pieces

TASK = "text-classification"


def session(folder: Path, inputs: list[str] | None = None, side: str = "right") -> TorchSession:
    tokenizer = word_pieces(folder)
    tokenizer.padding_side = side
    return TorchSession(folder, TASK, tokenizer, {None: model(TASK, num_labels=3)}, inputs)


@pytest.mark.parametrize(("batch_size", "batches"), [(1, [1] * 8), (3, [3, 3, 2]), (8, [8]), (100, [8])])
def test_long_lists_are_run_in_batches_in_their_order(tmp_path: Path, batch_size: int, batches: list[int]) -> None:
    fake = session(tmp_path)
    ours = edgeadapt.pipeline(fake)
    results = ours(TEXTS * 2, batch_size=batch_size)
    assert fake.batches == batches
    assert_same(results, pipeline(TASK, fake.models[None], word_pieces(tmp_path))(TEXTS * 2))


def test_without_a_mask_only_rows_of_one_length_share_a_batch(tmp_path: Path) -> None:
    fake = session(tmp_path, inputs=["input_ids"])
    texts = ["hello", "never", "our phone is late", "no", "call me", "good film"]
    results = edgeadapt.pipeline(fake)(texts)
    assert fake.batches == [2, 1, 1, 2]
    assert_same(results, pipeline(TASK, fake.models[None], word_pieces(tmp_path))(texts))


def test_padding_on_the_left_which_would_move_positions_is_avoided(tmp_path: Path) -> None:
    fake = session(tmp_path, side="left")
    results = edgeadapt.pipeline(fake)(["hello", "never", *TEXTS])
    assert fake.batches == [2, 1, 1, 1, 1]
    assert_same(results, pipeline(TASK, fake.models[None], word_pieces(tmp_path))(["hello", "never", *TEXTS]))


@pytest.mark.parametrize("method", ["gated_lora", "module-0f"])
def test_adapters_that_look_at_padding_get_none(tmp_path: Path, method: str) -> None:
    fake = session(tmp_path)
    fake.manifest = replace(fake.manifest, slots=(Slot("s.p", method, "s", "p", "float32", ("rows", 1), "stored"),))
    results = edgeadapt.pipeline(fake)(["hello", "never", *TEXTS])
    assert fake.batches == [2, 1, 1, 1, 1]
    assert_same(results, pipeline(TASK, fake.models[None], word_pieces(tmp_path))(["hello", "never", *TEXTS]))


def test_a_bundle_without_tokenizer_has_no_pipeline(tmp_path: Path) -> None:
    fake = session(tmp_path)
    fake.manifest = replace(fake.manifest, tokenizer=None)
    with pytest.raises(BundleError, match=r"has no tokenizer.*\nRun it with edgeadapt\.load"):
        edgeadapt.pipeline(fake)


def test_a_bundle_without_image_settings_has_no_pipeline(tmp_path: Path) -> None:
    fake = session(tmp_path)
    pixels = replace(fake.manifest.inputs[0], name="pixel_values")
    fake.manifest = replace(fake.manifest, task="image-classification", inputs=(pixels,))
    with pytest.raises(BundleError, match="has no image settings"):
        edgeadapt.pipeline(fake)


def test_a_task_of_a_later_version_is_refused_by_name(tmp_path: Path) -> None:
    fake = session(tmp_path)
    fake.manifest = replace(fake.manifest, task="summarization")
    with pytest.raises(UnsupportedError, match="no task 'summarization'"):
        edgeadapt.pipeline(fake)


def test_a_tokenizer_that_can_not_be_read_shows_at_once(tmp_path: Path) -> None:
    fake = session(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(BundleError, match="can't be read as a tokenizer"):
        edgeadapt.pipeline(fake)


def test_the_pipeline_imports_nothing_heavy() -> None:
    program = """
import sys
import edgeadapt
edgeadapt.pipeline, __import__("edgeadapt.tasks").tasks.get("question-answering")
heavy = {"torch", "transformers", "onnx", "onnx_ir", "yaml", "click", "tokenizers", "PIL"} & set(sys.modules)
sys.exit(f"imports {heavy}" if heavy else 0)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr

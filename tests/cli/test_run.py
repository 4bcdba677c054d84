"""`edgeadapt run`: as many lines out as inputs in, in their order, the same as the pipeline's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import edgeadapt
from edgeadapt.exporter.pipeline import export
from tests import tiny
from tests.cli.conftest import Invoke


def lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def alike(answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns labels and scores that compare with those of a batch in which other rows stood."""
    return [{"label": answer["label"], "score": pytest.approx(answer["score"], abs=1e-5)} for answer in answers]


@pytest.mark.parametrize(
    ("texts", "options", "adapters"),
    [
        (["you won a prize"], ["--adapter", "spam"], ["spam"]),
        (["a", "good film", "very late"], ["--adapter", "intents"], ["intents"] * 3),
        (
            ["a", "good film", "very late"],
            ["--adapter=spam", "--adapter=intents", "--adapter=spam"],
            ["spam", "intents", "spam"],
        ),
    ],
)
def test_texts_with_one_adapter_or_one_each(
    texts: Sequence[str], options: list[str], adapters: list[str], tiny_bundle: Path, invoke: Invoke
) -> None:
    result = invoke("run", tiny_bundle, *(f"--text={text}" for text in texts), *options)
    expected = edgeadapt.pipeline(tiny_bundle)(list(texts), adapter=adapters)
    assert lines(result.stdout) == alike(expected)


def test_a_file_has_a_line_out_for_each_line_in(tiny_bundle: Path, tmp_path: Path, invoke: Invoke) -> None:
    rows = [{"text": f"play song {number}", **({"adapter": "spam"} if number % 3 else {})} for number in range(150)] + [
        {"text": "good film", "text_pair": "bad film", "adapter": {"intents": 0.5}}
    ]
    path = tmp_path / "texts.jsonl"
    path.write_text(
        "\n".join(json.dumps(row) for row in rows[:70]) + "\n\n" + "\n".join(json.dumps(row) for row in rows[70:])
    )
    result = invoke("run", tiny_bundle, "--input", path, "--adapter", "intents")
    values = [
        row["text"] if "text_pair" not in row else {key: row[key] for key in ("text", "text_pair")} for row in rows
    ]
    expected = edgeadapt.pipeline(tiny_bundle)(values, adapter=[row.get("adapter", "intents") for row in rows])
    assert lines(result.stdout) == alike(expected)


def test_standard_input_is_a_file_too(tiny_bundle: Path, invoke: Invoke) -> None:
    result = invoke("run", tiny_bundle, "--input", "-", stdin='{"text": "hello", "adapter": "spam"}\n')
    assert [set(answer) for answer in lines(result.stdout)] == [{"label", "score"}]
    assert invoke("run", tiny_bundle, "--input", "-", stdin="").stdout == ""


def test_top_k_gives_so_many_answers(tiny_bundle: Path, invoke: Invoke) -> None:
    result = invoke("run", tiny_bundle, "--text", "a", "--adapter", "intents", "--top-k", "3")
    assert [len(answer) for answer in lines(result.stdout)] == [3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Give --text, --image or --audio, once or more, or --input FILE"),
        (("--text", "a", "--image", "b"), "Give --text, --image or --audio"),
        (("--text", "a"), "The base has no classifier of its own; choose an adapter: intents, spam."),
        (("--text", "a", "--adapter", "none"), "The base has no classifier"),
        (("--text", "a", "--adapter", "spma"), "There is no adapter 'spma' (did you mean 'spam'?)"),
        (("--text=a", "--text=b", "--text=c", "--adapter=spam", "--adapter=spam"), "Got 2 adapters for 3 inputs"),
        (("--text=a", "--text=b", "--adapter=x", "--adapter=y"), "--text 2: There is no adapter 'y'"),
        (("--image", "a.png", "--adapter", "spam"), "--image 1: got image, and text-classification takes text or"),
        (("--input", "no-such-file", "--adapter", "spam"), "no-such-file"),
        (("--text", "a", "--adapter", "spam", "--top-k", "0"), "--top-k"),
        (("--text", "a", "--adapter", "spam", "--provider", "tpu"), "--provider"),
    ],
)
def test_wrong_arguments_are_refused(
    arguments: tuple[str, ...], message: str, tiny_bundle: Path, invoke: Invoke
) -> None:
    assert message in invoke("run", tiny_bundle, *arguments, code=2).stderr


def test_wrong_lines_are_refused_all_at_once_before_anything_is_run(tiny_bundle: Path, invoke: Invoke) -> None:
    text = "\n".join(
        (
            '{"text": "fine", "adapter": "spam"}',
            '{"text": "not JSON"',
            '{"txet": "x"}',
            '["text"]',
            '{"text": 3}',
            '{"text": "x", "adapter": ["spam"]}',
            '{"text": "x", "image": "y"}',
        )
    )
    told = invoke("run", tiny_bundle, "--input", "-", stdin=text, code=2).stderr.splitlines()
    assert told[0].endswith("has lines that can't be run:")
    assert [line.split(":")[0].strip() for line in told[1:7]] == [f"line {number}" for number in range(2, 8)]
    assert "txet (did you mean 'text'?)" in told[2]
    assert "expected an object" in told[3]
    assert "text: expected text" in told[4]
    assert "expected a name, null or a blend" in told[5]
    assert "got the keys text, image" in told[6]


def test_many_wrong_lines_are_counted(tiny_bundle: Path, invoke: Invoke) -> None:
    told = invoke("run", tiny_bundle, "--input", "-", stdin="x\n" * 50, code=2).stderr.splitlines()
    assert len(told) == 23
    assert told[21] == "  and 30 more"


def test_what_rows_ask_for_is_checked_before_anything_is_run(tiny_bundle: Path, invoke: Invoke) -> None:
    rows = [{"text": "x", "adapter": name} for name in ("spam", "a", "b", "a", "none")]
    told = invoke("run", tiny_bundle, "--input", "-", stdin="\n".join(map(json.dumps, rows)), code=2).stderr
    assert "line 2, line 4: There is no adapter 'a'" in told
    assert "line 3: There is no adapter 'b'" in told
    assert "line 5: The base has no classifier" in told
    assert "line 1" not in told


def test_more_than_one_adapter_beside_a_file_is_refused(tiny_bundle: Path, invoke: Invoke) -> None:
    told = invoke("run", tiny_bundle, "--input", "-", "--adapter=a", "--adapter=b", stdin="", code=2).stderr
    assert "give --adapter once at most" in told


def test_bytes_that_are_no_text_are_refused(tiny_bundle: Path, tmp_path: Path, invoke: Invoke) -> None:
    (tmp_path / "latin1").write_bytes('{"text": "é"}'.encode("latin-1"))
    assert "is not UTF-8 text" in invoke("run", tiny_bundle, "--input", tmp_path / "latin1", code=2).stderr


def test_cuda_without_cuda_is_refused(tiny_bundle: Path, invoke: Invoke) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime may have a GPU")
    told = invoke("run", tiny_bundle, "--text=a", "--adapter=spam", "--provider=cuda", code=2).stderr
    assert "built without CUDA" in told


def test_a_bundle_that_was_changed_is_refused(bundle: Path, invoke: Invoke) -> None:
    with (bundle / "tokenizer.json").open("a") as file:
        file.write(" ")
    assert "tokenizer.json" in invoke("run", bundle, "--text=a", "--adapter=spam", code=2).stderr


@pytest.fixture(scope="module")
def question_answering(tmp_path_factory: pytest.TempPathFactory) -> Path:
    parent = tmp_path_factory.mktemp("question-answering")
    base = tiny.base(parent / "base", task="question-answering")
    return export(base, {}, parent / "bundle", task="question-answering").path


@pytest.fixture(scope="module")
def features(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tiny_base, {}, tmp_path_factory.mktemp("features") / "bundle", task="feature-extraction").path


class TestOtherTasks:
    """A base with a head of its own, run without adapters."""

    @pytest.mark.parametrize("count", [1, 2])
    def test_questions_come_from_a_file(self, count: int, question_answering: Path, invoke: Invoke) -> None:
        pair = {"question": "who won?", "context": "the customer won a prize of the village"}
        result = invoke("run", question_answering, "--input", "-", stdin=f"{json.dumps(pair)}\n" * count)
        expected = edgeadapt.pipeline(question_answering)(pair)
        assert [answer["answer"] for answer in lines(result.stdout)] == [expected["answer"]] * count

    @pytest.mark.parametrize("count", [1, 2])
    def test_questions_with_choices_come_from_a_file(self, count: int, tmp_path: Path, invoke: Invoke) -> None:
        base = tiny.base(tmp_path / "base", task="multiple-choice")
        bundle = export(base, {}, tmp_path / "bundle", task="multiple-choice").path
        row = {"question": "who won?", "choices": ["the customer", "a village.", "it was late"]}
        stdin = f"{json.dumps(row)}\n" * count
        expected = edgeadapt.pipeline(bundle)(row, top_k=2)
        got = lines(invoke("run", bundle, "--input", "-", "--top-k", "2", stdin=stdin).stdout)
        assert [[each["choice"] for each in answers] for answers in got] == [[e["choice"] for e in expected]] * count
        stdin = '{"question": "who?", "choices": "me"}\n{"question": "who?", "choices": ["a", 3]}\n{"text": "a"}'
        told = invoke("run", bundle, "--input", "-", stdin=stdin, code=2).stderr
        assert told.count("choices: expected a list of texts") == 2
        told = invoke("run", bundle, "--text", "hello", code=2).stderr
        assert "--text 1: got text, and multiple-choice takes question and choices" in told
        told = invoke("run", bundle, "--input", "-", stdin='{"question": "who?", "choices": ["a"]}', code=2).stderr
        assert "got 1 choice, expected 2 or more" in told

    def test_a_text_is_no_question(self, question_answering: Path, invoke: Invoke) -> None:
        told = invoke("run", question_answering, "--text", "hello", code=2).stderr
        assert "--text 1: got text, and question-answering takes question and context" in told

    @pytest.mark.parametrize("count", [1, 2])
    def test_features_are_nested_lists(self, count: int, features: Path, invoke: Invoke) -> None:
        result = invoke("run", features, *["--text=good film"] * count)
        answers = lines(result.stdout)
        assert len(answers) == count
        assert len(answers[0][0][0]) == tiny.HIDDEN

    def test_top_k_has_no_meaning_for_features(self, features: Path, invoke: Invoke) -> None:
        told = invoke("run", features, "--text", "a", "--top-k", "2", code=2).stderr
        assert "--top-k has no meaning for feature-extraction" in told

    def test_images_are_files(self, tmp_path: Path, invoke: Invoke) -> None:
        from PIL import Image

        base = tiny.base(tmp_path / "base", "vit", task="image-classification", num_labels=4)
        bundle = export(base, {}, tmp_path / "bundle", task="image-classification").path
        for name, colour in (("red.png", "red"), ("blue.png", "blue")):
            Image.new("RGB", (40, 50), colour).save(tmp_path / name)
        paths = [str(tmp_path / "red.png"), str(tmp_path / "blue.png")]
        result = invoke("run", bundle, *(f"--image={path}" for path in paths), "--top-k", "2")
        stdin = "\n".join(json.dumps({"image": path}) for path in paths)
        assert invoke("run", bundle, "--input", "-", "--top-k", "2", stdin=stdin).stdout == result.stdout
        assert [len(answer) for answer in lines(result.stdout)] == [2, 2]
        assert "takes image" in invoke("run", bundle, "--text", paths[0], code=2).stderr
        assert "no-such.png" in invoke("run", bundle, "--image", "no-such.png", code=2).stderr

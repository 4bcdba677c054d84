"""Sounds are written down as Whisper of transformers does it with PEFT's adapters."""

from __future__ import annotations

import json
import shutil
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import edgeadapt
from edgeadapt.adapter import Array
from edgeadapt.bundle import EncoderDecoderRecord, read_manifest
from edgeadapt.cli.commands import commands
from edgeadapt.errors import AdapterError, ConfigError, EdgeAdaptError, InputError, UnsupportedError
from edgeadapt.exporter.merging import merge
from edgeadapt.exporter.pipeline import Exported, export
from edgeadapt.runtime.speech import log_mel
from edgeadapt.tasks._samples import SOUNDS, sound
from tests import tiny
from tests.tasks.reference import transformers

TASK = "automatic-speech-recognition"
NEW = 10
LANGUAGES = {"<|en|>": 90, "<|de|>": 91, "<|ja|>": 92}
TASKS = {"transcribe": 93, "translate": 94}
SILENT = len(tiny.vocabulary()) - 1
"""The last token: those behind it are times, to transformers."""
SAID = {"no_timestamps_token_id": SILENT, "suppress_tokens": [20, 21, 22], "begin_suppress_tokens": [30, 3]}
MULTILINGUAL = {"lang_to_id": LANGUAGES, "task_to_id": TASKS, "is_multilingual": True}


def base(folder: Path, said: dict[str, Any]) -> Path:
    """Writes a tiny Whisper with its feature extractor and a tokenizer, and what its generation is held to."""
    tiny.base(folder, "whisper", TASK)
    transformers.WhisperFeatureExtractor().save_pretrained(folder)
    settings = json.loads((folder / "generation_config.json").read_text())
    settings.pop("_from_model_config", None)  # with it, transformers leaves out what only Whisper knows
    (folder / "generation_config.json").write_text(json.dumps({**settings, **said}))
    return folder


@dataclass(frozen=True)
class Setup:
    """A bundle with the adapters `calls` and `notes`, its pipeline, and the tokens that transformers writes."""

    exported: Exported
    ours: Any
    tokens: Callable[..., list[int]]
    tokenizer: Any
    extractor: Any

    def expected(self, samples: Array, adapter: str | None = None, **options: Any) -> dict[str, str]:
        """Returns what is said in a sound."""
        return {"text": self.tokenizer.decode(self.tokens(samples, adapter, **options), skip_special_tokens=True)}


@pytest.fixture(scope="module", params=["one language", "three languages"])
def setup(request: Any, tmp_path_factory: Any) -> Setup:
    import peft

    folder = tmp_path_factory.mktemp("hearing")
    several = request.param == "three languages"
    base(folder / "base", {**SAID, **(MULTILINGUAL if several else {"is_multilingual": False})})
    adapters = {
        name: tiny.lora_adapter(folder / "base", folder / name, TASK, rank, "all-linear", seed=rank)
        for name, rank in (("calls", 4), ("notes", 2))
    }
    exported = export(folder / "base", adapters, folder / "bundle")
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder / "base")
    models: dict[str | None, Any] = {}
    with tiny.quiet():
        for name in (None, "calls", "notes"):
            model = transformers.AutoModelForSpeechSeq2Seq.from_pretrained(folder / "base").eval()
            if name is not None:
                model = peft.PeftModel.from_pretrained(model, str(adapters[name])).merge_and_unload().eval()
            models[name] = model

    def tokens(samples: Array, adapter: str | None = None, **options: Any) -> list[int]:
        features = extractor(samples, sampling_rate=16000, return_tensors="pt")["input_features"]
        given = {"max_new_tokens": NEW, "do_sample": False, **options}
        if several:
            given.setdefault("task", "transcribe")
        with tiny.quiet():
            found: list[int] = models[adapter].generate(input_features=features, **given)[0].tolist()
        # Some versions give the beginning too, some the end alone.
        begun = 4 if several else 2
        return found[begun:] if found[0] == 3 and SILENT in found[:begun] else found

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "base")
    return Setup(exported, edgeadapt.pipeline(exported.path), tokens, tokenizer, extractor)


def test_what_is_heard_is_what_the_extractor_gives(setup: Setup) -> None:
    generation = read_manifest(setup.exported.path).generation
    assert isinstance(generation, EncoderDecoderRecord) and generation.speech is not None
    for samples in (*SOUNDS, sound(7, 30.0)):
        expected = setup.extractor(samples, sampling_rate=16000, return_tensors="np")["input_features"][0]
        got = log_mel(samples, generation.speech)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, expected, atol=1e-4)  # with torch, it computes in float32
        exact = setup.extractor._np_extract_fbank_features(
            np.pad(samples, (0, 480000 - samples.size))[None], device="cpu"
        )[0]
        np.testing.assert_allclose(got, exact, atol=2e-6)


def test_adapters_say_what_peft_says(setup: Setup, tmp_path: Path) -> None:
    assert [report.name for report in setup.exported.reports] == ["none", "calls", "notes", "mixed rows"]
    for report in setup.exported.reports:
        assert report.max_abs_error <= 1e-5
        assert report.name == "none" or report.max_abs_error < 0.001 * report.effect
    (folded,) = merge(setup.exported.path, ["calls"], tmp_path / "calls.onnx", mode="fold")
    assert folded.max_abs_error <= 1e-5
    assert (tmp_path / "calls.encoder.onnx").is_file()


@pytest.mark.parametrize("adapter", [None, "calls", "notes"])
def test_sounds_are_written_down_as_transformers_does(setup: Setup, adapter: str | None) -> None:
    for samples in SOUNDS:
        assert setup.ours(samples, adapter=adapter, max_new_tokens=NEW) == setup.expected(samples, adapter)


def test_languages_and_tasks_are_begun_with(setup: Setup) -> None:
    if len(setup.ours._runner._speech[1].languages) == 0:
        with pytest.raises(UnsupportedError, match="The base has no language 'en'"):
            setup.ours(SOUNDS[0], language="en")
        return
    for options in ({"language": "de"}, {"language": "ja", "task": "translate"}, {"task": "translate"}):
        found = setup.ours(list(SOUNDS), adapter="calls", max_new_tokens=NEW, **options)
        assert found == [setup.expected(samples, "calls", **options) for samples in SOUNDS]
    with pytest.raises(UnsupportedError, match="The base has no language 'fr'"):
        setup.ours(SOUNDS[0], language="fr")
    with pytest.raises(UnsupportedError, match="The base has no task 'transcibe' \\(did you mean 'transcribe'"):
        setup.ours(SOUNDS[0], task="transcibe")


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_a_list_has_an_adapter_for_each(setup: Setup, batch_size: int) -> None:
    adapters = ["calls", None, "notes", "calls"]
    found = setup.ours(list(SOUNDS), adapter=adapters, max_new_tokens=NEW, batch_size=batch_size)
    assert found == [setup.expected(samples, name) for samples, name in zip(SOUNDS, adapters, strict=True)]
    assert setup.ours([]) == []


def test_a_text_ends_with_the_decoder_s_positions(setup: Setup) -> None:
    found = setup.ours(SOUNDS[0], adapter="notes")
    assert found == setup.expected(
        SOUNDS[0], "notes", max_new_tokens=60 if setup.ours._runner._speech[1].languages else 62
    )


@pytest.mark.parametrize(("width", "channels"), [(1, 1), (2, 1), (2, 2), (4, 1)])
def test_wav_files_are_sounds(setup: Setup, width: int, channels: int, tmp_path: Path) -> None:
    path = written(tmp_path / "sound.wav", SOUNDS[1], width, channels)
    largest = 2 ** (8 * width - 1)
    # As the file has it: rounded to its bits.
    samples = (np.round(SOUNDS[1].astype(np.float64) * (largest - 1)) / largest).astype(np.float32)
    found = setup.ours(str(path), adapter="calls", max_new_tokens=NEW)
    assert found == setup.expected(samples, "calls") == setup.ours(path, adapter="calls", max_new_tokens=NEW)
    asked = ["run", str(setup.exported.path), "--audio", str(path), "--adapter", "calls", "--max-new-tokens", str(NEW)]
    result = CliRunner().invoke(commands, asked)
    assert result.exit_code == 0 and json.loads(result.stdout) == found


def written(path: Path, samples: Array, width: int, channels: int, rate: int = 16000) -> Path:
    """Writes a WAV file whose channels are all alike."""
    largest = 2 ** (8 * width - 1)
    numbers = np.round(samples.astype(np.float64) * (largest - 1)) + (128 if width == 1 else 0)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        kind = {1: "u1", 2: "<i2", 4: "<i4"}[width]
        file.writeframes(np.repeat(numbers, channels).astype(kind).tobytes())
    return path


WRONG: list[tuple[Any, dict[str, Any], type[EdgeAdaptError], str]] = [
    (3, {}, InputError, "input 0: A sound is the path of a WAV file or an array of floats .* got int"),
    ([SOUNDS[0], np.zeros((2, 5))], {}, InputError, r"input 1: .* got float64 \(2, 5\)"),
    (np.zeros(0, np.float32), {}, InputError, "input 0: A sound is empty"),
    (np.zeros(480001, np.float32), {}, InputError, "is 30.0 s long, and 30 s are heard at most"),
    ("nowhere.wav", {}, InputError, "nowhere.wav can't be read as a WAV file"),
    (SOUNDS[0], {"adapter": "cals"}, AdapterError, r"There is no adapter 'cals' \(did you mean 'calls'\?\)"),
    (SOUNDS[0], {"max_new_tokens": 0}, ConfigError, "max_new_tokens: got 0"),
    (SOUNDS[0], {"max_new_tokens": 64}, InputError, r"max_new_tokens can be 6\d"),
    (SOUNDS[0], {"batch_size": 0}, ConfigError, "batch_size: got 0"),
]


@pytest.mark.parametrize(("inputs", "options", "error", "message"), WRONG, ids=[each[3] for each in WRONG])
def test_what_is_wrong_is_said(setup: Setup, inputs: Any, options: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        setup.ours(inputs, **options)


def test_a_file_of_another_rate_or_width_is_refused(setup: Setup, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has 8000 samples a second, expected 16000"):
        setup.ours(written(tmp_path / "slow.wav", SOUNDS[2], 2, 1, 8000))


def test_a_session_takes_features(setup: Setup) -> None:
    session: Any = edgeadapt.load(setup.exported.path)
    for given, message in (
        (np.zeros((1, 80, 2999), np.float32), r"got float32 \(1, 80, 2999\), expected float32 \(batch, 80, 3000\)"),
        ([[3]], "got list, expected float32"),
    ):
        with pytest.raises(InputError, match=message):
            session.generate(given)


@pytest.mark.parametrize("said", [{"no_speech_threshold": 0.6}, {"return_timestamps": True}])
def test_what_a_device_does_not_do_is_refused_by_name(setup: Setup, said: Any, tmp_path: Path) -> None:
    folder = setup.exported.path.parent
    changed = Path(shutil.copytree(folder / "base", tmp_path / "base"))
    settings = json.loads((changed / "generation_config.json").read_text())
    (changed / "generation_config.json").write_text(json.dumps({**settings, **said}))
    with pytest.raises(UnsupportedError, match=f"asks for what a device doesn't do:\n  {next(iter(said))}"):
        export(changed, {"calls": folder / "calls"}, tmp_path / "bundle")

"""Asking for CUDA and getting the CPU is an error that says why; these tests run where there is no GPU."""

from __future__ import annotations

import ctypes
import logging
import re
from pathlib import Path
from typing import Any, NoReturn

import onnxruntime as ort
import pytest

from edgeadapt.errors import ConfigError, ProviderError
from edgeadapt.runtime import load, provider
from tests.runtime.tiny_bundle import TinyBundle

without_cuda = pytest.mark.skipif(
    provider.CUDA in ort.get_available_providers(), reason="this onnxruntime is built with CUDA"
)


@without_cuda
def test_cuda_with_the_cpus_wheel(headed: TinyBundle) -> None:
    with pytest.raises(ProviderError, match=r"built without CUDA[^$]*onnxruntime-gpu\[cuda,cudnn\]"):
        load(headed.path, "cuda")


@without_cuda
def test_auto_takes_the_cpu_and_says_so(headed: TinyBundle, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "edgeadapt"):
        assert load(headed.path, "auto", provider_options={"device_id": 0}).provider == "cpu"
    assert "provider 'auto' takes the CPU: The installed onnxruntime" in caplog.text


def test_an_unknown_provider(headed: TinyBundle) -> None:
    with pytest.raises(ProviderError, match=r"no provider 'cud' \(did you mean 'cuda'\?\)"):
        load(headed.path, "cud")  # type: ignore[arg-type]


class FallenBack:
    """A session that was asked for CUDA and has the CPU."""

    def get_providers(self) -> list[str]:
        return [provider.CPU]


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An onnxruntime that lists CUDA, as the wheel for it does with no GPU too."""
    monkeypatch.setattr(ort, "get_available_providers", lambda: [provider.CUDA, provider.CPU])


@without_cuda
def test_cuda_that_falls_back(listed: None, headed: TinyBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider, "_opened", lambda *_: FallenBack())
    monkeypatch.setattr(ctypes, "CDLL", _missing)
    with pytest.raises(ProviderError, match=r"fell back to the CPU: there is no NVIDIA driver\.\nInstall it"):
        load(headed.path, "cuda")


def _missing(name: str) -> NoReturn:
    raise OSError(f"{name}: cannot open shared object file")


class Driver:
    """An NVIDIA driver whose start gives `code`."""

    def __init__(self, code: int) -> None:
        self._code = code

    def cuInit(self, flags: int) -> int:  # noqa: N802  # the driver's own name
        return self._code


@pytest.mark.parametrize(
    ("code", "reason"),
    [(100, r"finds no GPU it can use \(cuInit gives 100\)"), (0, "a library is missing: libcudnn.so.9: cannot open")],
)
def test_why_cuda_does_not_work(monkeypatch: pytest.MonkeyPatch, code: int, reason: str) -> None:
    def open_library(name: str) -> Driver:
        return _missing("libcudnn.so.9") if "providers" in name else Driver(code)

    monkeypatch.setattr(ctypes, "CDLL", open_library)
    assert re.search(reason, provider._obstacle())


@without_cuda
def test_a_model_that_cuda_cant_open(listed: None, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with (
        pytest.warns(UserWarning, match="not in available provider names"),
        pytest.raises(ProviderError, match="can't open"),
    ):
        provider.open_model(tmp_path / "model.onnx", provider.Opening("cuda"))


def test_numbers_are_not_rounded_to_tf32_unless_asked_for(
    listed: None, headed: TinyBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def open_on(path: Path, opening: provider.Opening, providers: list[Any], growing: bool) -> FallenBack:
        asked.extend(providers)
        return FallenBack()

    monkeypatch.setattr(provider, "_opened", open_on)
    for options in ({"device_id": 1}, {"use_tf32": "1"}):
        with pytest.raises(ProviderError):
            load(headed.path, "cuda", provider_options=options)
    assert asked[0] == (provider.CUDA, {"use_tf32": "0", "device_id": 1})
    assert asked[2] == (provider.CUDA, {"use_tf32": "1"})


def test_a_replay_of_other_runs_is_refused(headed: TinyBundle) -> None:
    with pytest.raises(ConfigError, match="enable_cuda_graph replays a run on the addresses of its first one"):
        load(headed.path, "auto", provider_options={"enable_cuda_graph": "1"})

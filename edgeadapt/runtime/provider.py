"""Opens the model on the device that was asked for, and says why where that is not to be had."""

from __future__ import annotations

import contextlib
import ctypes
import io
import logging
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
import onnxruntime as ort

from edgeadapt.errors import BundleError, ConfigError, ProviderError, listed, nearest

if TYPE_CHECKING:
    from edgeadapt.runtime.filling import Array

ProviderName: TypeAlias = Literal["cpu", "cuda", "auto", "tensorrt", "directml", "coreml", "openvino", "qnn", "webgpu"]
MemoryMode: TypeAlias = Literal["fast", "low"]

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
OTHERS: Mapping[str, str] = {
    "tensorrt": "TensorrtExecutionProvider",
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "qnn": "QNNExecutionProvider",
    "webgpu": "WebGpuExecutionProvider",
}
"""Providers that can be asked for and that edgeadapt is not tested on; `edgeadapt verify` tells what one is worth."""
_LOG = logging.getLogger("edgeadapt")
WHEELS = ("onnxruntime", "onnxruntime-gpu")
_ERRORS, _INFO = 3, 1  # ONNX Runtime's log severities
# CUDA's default rounds float32 products to TF32, 10 bits of mantissa; PyTorch's does not, and numbers are to be equal.
_CUDA_OPTIONS = {"use_tf32": "0"}


@dataclass(frozen=True, slots=True)
class Opening:
    """How a model is opened.

    Attributes:
        provider: `"auto"` is CUDA where it works, else the CPU, said in the log.
        threads: How many threads share one operator on the CPU; None leaves it to ONNX Runtime.
        options: ONNX Runtime's options for the provider, such as `{"device_id": 1}`; they go over the defaults here.
        memory: `"low"` leaves weights where they lie in the file, mapped, and makes no copy for faster products.
    """

    provider: ProviderName = "cpu"
    threads: int | None = None
    options: Mapping[str, Any] | None = None
    memory: MemoryMode = "fast"

    def check(self) -> None:
        """Refuses options without a meaning.

        Raises:
            ConfigError: `threads` is no positive number, `memory` no mode, or `options` come with the CPU.
            ProviderError: There is no such provider.
        """
        names = get_args(ProviderName)
        if self.provider not in names:
            raise ProviderError(f"There is no provider {self.provider!r}{nearest(str(self.provider), names)}.")
        if self.threads is not None and (not isinstance(self.threads, int) or self.threads < 1):
            raise ConfigError(f"threads: got {self.threads!r}, expected a number of 1 or more, or None.")
        if self.memory not in get_args(MemoryMode):
            modes = get_args(MemoryMode)
            raise ConfigError(
                f"memory: got {self.memory!r}, expected 'fast' or 'low'{nearest(str(self.memory), modes)}."
            )
        if self.options and str(self.options.get("enable_cuda_graph", "0")).lower() not in ("0", "false"):
            raise ConfigError(
                "enable_cuda_graph replays a run on the addresses of its first one, and adapters, inputs and the "
                "length of a text change between runs: the answers would be another run's.\nLeave it out."
            )
        if self.provider == "cpu" and self.options:
            raise ConfigError(
                "provider_options are for a GPU or another device, and the provider is 'cpu'.\nLeave them out."
            )


@dataclass(frozen=True, slots=True)
class Device:
    """Where arrays are kept that runs bind, `cpu`, or `cuda` with the number of the GPU, and what runs the model."""

    kind: Literal["cpu", "cuda"]
    index: int = 0
    other: ProviderName | None = None

    @property
    def provider(self) -> ProviderName:
        """What runs the model."""
        return self.other or self.kind

    def value(self, array: Array) -> ort.OrtValue:
        """Returns `array` on this device; on the CPU in the same memory, which the value keeps alive."""
        whole = array if array.flags.c_contiguous else np.ascontiguousarray(array)
        return ort.OrtValue.ortvalue_from_numpy(whole, self.kind, self.index)


HOST = Device("cpu")
"""Where callers' arrays are."""


def open_model(path: Path, opening: Opening, *, growing: bool = False) -> tuple[ort.InferenceSession, Device]:
    """Opens the ONNX model at `path`; its external data lies beside it.

    Args:
        path: The model.
        opening: How.
        growing: Every run has longer inputs than the last one, as a decoder's: ONNX Runtime doesn't plan its memory
            anew for each length then, which costs a twentieth of a step.

    Raises:
        ConfigError: As `Opening.check`.
        ProviderError: There is no such provider, or it was asked for and does not work here.
        BundleError: ONNX Runtime can't open the model.
    """
    opening.check()
    if opening.provider == "cpu":
        return _opened(path, opening, [CPU], growing), Device("cpu")
    if opening.provider in OTHERS:
        return _opened_elsewhere(path, opening, growing)
    try:
        return _opened_on_cuda(path, opening, growing)
    except ProviderError as error:
        if opening.provider == "cuda":
            raise
        _LOG.info("provider 'auto' takes the CPU: %s", error)
        return _opened(path, opening, [CPU], growing), Device("cpu")


def _opened(path: Path, opening: Opening, providers: list[Any], growing: bool) -> ort.InferenceSession:
    settings = ort.SessionOptions()
    settings.log_severity_level = _INFO if _LOG.isEnabledFor(logging.DEBUG) else _ERRORS
    settings.enable_mem_pattern = not growing
    if opening.memory == "low":
        settings.add_session_config_entry("session.disable_prepacking", "1")
        settings.enable_cpu_mem_arena = False
    if opening.threads is not None:
        settings.intra_op_num_threads = opening.threads
    start = time.perf_counter()
    try:
        # Without this, a failing GPU makes the session print a line and carry on with the CPU.
        model = ort.InferenceSession(str(path), settings, providers=providers, enable_fallback=0)
    except Exception as error:  # ONNX Runtime's exceptions have no root of their own
        raise BundleError(
            f"ONNX Runtime {ort.__version__} can't open {path}: {error}\nExport the bundle again."
        ) from error
    _LOG.info("opened %s on %s in %.0f ms", path, model.get_providers()[0], (time.perf_counter() - start) * 1000)
    return model


def _opened_elsewhere(path: Path, opening: Opening, growing: bool) -> tuple[ort.InferenceSession, Device]:
    name = OTHERS[opening.provider]
    if name not in (there := ort.get_available_providers()):
        raise ProviderError(
            f"The installed onnxruntime {ort.__version__} is built without {name}; it has {listed(there)}.\n"
            "Install the build for that device in its place; they own the same folder."
        )
    _LOG.warning("provider %r is not among those that edgeadapt is tested on: run `edgeadapt verify`", opening.provider)
    try:
        model = _opened(path, opening, [(name, dict(opening.options or {})), CPU], growing)
    except BundleError as error:
        raise ProviderError(f"{opening.provider} was asked for, and can't open the model.\n{error}") from error
    if name not in model.get_providers():
        raise ProviderError(f"{opening.provider} was asked for, and ONNX Runtime fell back to the CPU.\nSee its log.")
    return model, Device("cpu", other=opening.provider)


def _opened_on_cuda(path: Path, opening: Opening, growing: bool) -> tuple[ort.InferenceSession, Device]:
    _check_wheels()
    if CUDA not in ort.get_available_providers():
        raise ProviderError(
            f"The installed onnxruntime {ort.__version__} is built without CUDA.\n"
            "It and onnxruntime-gpu own the same folder, so put one in the place of the other: "
            "pip uninstall onnxruntime, then pip install 'onnxruntime-gpu[cuda,cudnn]'."
        )
    # The libraries that pip installs lie where the loader does not look; ONNX Runtime reports by printing.
    with contextlib.redirect_stdout(io.StringIO()) as report, contextlib.suppress(AttributeError):
        ort.preload_dlls()
    if report.getvalue():
        _LOG.debug("preload_dlls: %s", report.getvalue().strip())
    options = {**_CUDA_OPTIONS, **(opening.options or {})}
    try:
        model = _opened(path, opening, [(CUDA, options), CPU], growing)
    except BundleError as error:
        raise ProviderError(f"CUDA was asked for, and ONNX Runtime can't open the model on it.\n{error}") from error
    # It is listed with no GPU too, and dropped with no more than a line in the log.
    if CUDA not in model.get_providers():
        raise ProviderError(f"CUDA was asked for, and ONNX Runtime fell back to the CPU: {_obstacle()}")
    return model, Device("cuda", int(options.get("device_id", 0)))


def _check_wheels() -> None:
    """Refuses two wheels of ONNX Runtime in one environment: each overwrote files of the other."""
    found = [name for name in WHEELS if _is_installed(name)]
    if len(found) > 1:
        raise ProviderError(
            f"{listed(found)} are both installed, and they own the same folder: parts of one are parts of the other.\n"
            f"pip uninstall {' '.join(found)}, then install the one you want."
        )


def _is_installed(name: str) -> bool:
    from importlib import metadata  # slow, and only a GPU asks

    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _obstacle() -> str:
    """Returns what keeps CUDA from working, found by taking the steps that ONNX Runtime takes."""
    windows = sys.platform == "win32"
    try:
        driver = ctypes.CDLL("nvcuda.dll" if windows else "libcuda.so.1")
    except OSError:
        return "there is no NVIDIA driver.\nInstall it, or in a container hand the GPU in (docker run --gpus all)."
    if code := driver.cuInit(0):
        return f"the NVIDIA driver finds no GPU it can use (cuInit gives {code}).\nLook at what nvidia-smi says."
    name = "onnxruntime_providers_cuda.dll" if windows else "libonnxruntime_providers_cuda.so"
    try:
        ctypes.CDLL(str(Path(ort.__file__).parent / "capi" / name))
    except OSError as error:
        return f"a library is missing: {error}.\nInstall CUDA's and cuDNN's: pip install 'onnxruntime-gpu[cuda,cudnn]'."
    return "ONNX Runtime's log above has the reason.\nMost often driver and CUDA version don't go together."

"""Opens the model on the device that was asked for, and says why where that is not to be had."""

from __future__ import annotations

import contextlib
import ctypes
import io
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import onnxruntime as ort

from edgeadapt.errors import BundleError, ConfigError, ProviderError, nearest

if TYPE_CHECKING:
    from edgeadapt.runtime.filling import Array

ProviderName: TypeAlias = Literal["cpu", "cuda", "auto"]

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_LOG = logging.getLogger("edgeadapt")
_ERRORS, _INFO = 3, 1  # ONNX Runtime's log severities
# CUDA's default rounds float32 products to TF32, 10 bits of mantissa; PyTorch's does not, and numbers are to be equal.
_CUDA_OPTIONS = {"use_tf32": "0"}


@dataclass(frozen=True, slots=True)
class Device:
    """Where the model runs: `cpu`, or `cuda` with the number of the GPU."""

    kind: Literal["cpu", "cuda"]
    index: int = 0

    def value(self, array: Array) -> ort.OrtValue:
        """Returns `array` on this device; on the CPU in the same memory, which the value keeps alive."""
        whole = array if array.flags.c_contiguous else np.ascontiguousarray(array)
        return ort.OrtValue.ortvalue_from_numpy(whole, self.kind, self.index)


def open_model(
    path: Path,
    provider: ProviderName,
    threads: int | None,
    options: Mapping[str, Any] | None,
    *,
    growing: bool = False,
) -> tuple[ort.InferenceSession, Device]:
    """Opens the ONNX model at `path` on `provider`.

    Args:
        path: The model; its external data lies beside it.
        provider: `"auto"` is CUDA where it works, else the CPU, said in the log.
        threads: How many threads share one operator on the CPU; None leaves it to ONNX Runtime.
        options: ONNX Runtime's options for CUDA, such as `{"device_id": 1}`; they go over the defaults here.
        growing: Every run has longer inputs than the last one, as a decoder's: ONNX Runtime doesn't plan its memory
            anew for each length then, which costs a twentieth of a step.

    Raises:
        ConfigError: `threads` is no positive number, or `options` come with the CPU.
        ProviderError: There is no such provider, or CUDA was asked for and does not work here.
        BundleError: ONNX Runtime can't open the model.
    """
    if provider not in ("cpu", "cuda", "auto"):
        raise ProviderError(f"There is no provider {provider!r}{nearest(str(provider), ['cpu', 'cuda', 'auto'])}.")
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise ConfigError(f"threads: got {threads!r}, expected a number of 1 or more, or None.")
    if provider == "cpu" and options:
        raise ConfigError("provider_options are for CUDA, and the provider is 'cpu'.\nLeave them out.")
    if provider == "cpu":
        return _opened(path, threads, [CPU], growing), Device("cpu")
    try:
        return _opened_on_cuda(path, threads, {**_CUDA_OPTIONS, **(options or {})}, growing)
    except ProviderError as error:
        if provider == "cuda":
            raise
        _LOG.info("provider 'auto' takes the CPU: %s", error)
        return _opened(path, threads, [CPU], growing), Device("cpu")


def _opened(path: Path, threads: int | None, providers: list[Any], growing: bool) -> ort.InferenceSession:
    settings = ort.SessionOptions()
    settings.log_severity_level = _INFO if _LOG.isEnabledFor(logging.DEBUG) else _ERRORS
    settings.enable_mem_pattern = not growing
    if threads is not None:
        settings.intra_op_num_threads = threads
    try:
        # Without this, a failing GPU makes the session print a line and carry on with the CPU.
        return ort.InferenceSession(str(path), settings, providers=providers, enable_fallback=0)
    except Exception as error:  # ONNX Runtime's exceptions have no root of their own
        raise BundleError(
            f"ONNX Runtime {ort.__version__} can't open {path}: {error}\nExport the bundle again."
        ) from error


def _opened_on_cuda(
    path: Path, threads: int | None, options: dict[str, Any], growing: bool
) -> tuple[ort.InferenceSession, Device]:
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
    try:
        model = _opened(path, threads, [(CUDA, options), CPU], growing)
    except BundleError as error:
        raise ProviderError(f"CUDA was asked for, and ONNX Runtime can't open the model on it.\n{error}") from error
    # It is listed with no GPU too, and dropped with no more than a line in the log.
    if CUDA not in model.get_providers():
        raise ProviderError(f"CUDA was asked for, and ONNX Runtime fell back to the CPU: {_obstacle()}")
    return model, Device("cuda", int(options.get("device_id", 0)))


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

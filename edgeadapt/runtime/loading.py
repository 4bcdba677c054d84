"""Opens a bundle: everything that can be wrong with it is found here, before the first run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from edgeadapt.errors import BundleError, ConfigError, nearest
from edgeadapt.runtime.adapters import NONE, read_base
from edgeadapt.runtime.memory import bytes_of
from edgeadapt.runtime.provider import MemoryMode, Opening, ProviderName, open_model
from edgeadapt.runtime.reading import known_in
from edgeadapt.runtime.session import Session
from edgeadapt.runtime.signature import check_signature, check_version
from edgeadapt.runtime.store import AdapterStore

if TYPE_CHECKING:
    from edgeadapt.bundle import Manifest

Verify: TypeAlias = Literal["all", "adapters", "none"]

_LARGE = 16 << 20
"""Files of more bytes than this are a base's weights: `verify="adapters"` does not hash them."""


def load(
    path: str | Path,
    provider: ProviderName = "cpu",
    *,
    threads: int | None = None,
    verify: Verify = "all",
    provider_options: Mapping[str, Any] | None = None,
    adapter_memory: int | str | None = None,
    memory: MemoryMode = "fast",
) -> Session:
    """Opens the bundle at `path`. Its adapters are known by then, and each is read and checked when it is first used.

    Args:
        path: The bundle's folder.
        provider: `"cpu"`, `"cuda"`, or `"auto"`: CUDA where it works, else the CPU, said in the log.
        threads: How many threads share one operator on the CPU; None leaves it to ONNX Runtime.
        verify: `"all"` checks every file's size and sha256, and that none is a link: the bundle's now, an adapter's
            before it is read (`Session.check` does it for all); `"adapters"` leaves out the sha256 of the bundle's
            large files (over 16 MiB), and nothing else; `"none"` checks no files.
        provider_options: ONNX Runtime's options for CUDA, such as `{"device_id": 1}`.
        adapter_memory: The most bytes that adapters, their stacks and blends may take together, such as `"256MB"`: the
            least recently used are evicted, and read again when they are wanted. None keeps all that were used.
        memory: `"fast"` lets ONNX Runtime keep a second copy of weights in the order that its products read them;
            `"low"` leaves them in the file, mapped, which a small device pays for with slower runs of few tokens. From
            a model in ORT format they are read whole in any case.

    Raises:
        BundleError: The bundle is unsafe, damaged, made by a newer edgeadapt, or ONNX Runtime is too old for it.
        AdapterError: The base's own arrays do not fit the model, all reasons.
        ProviderError: There is no such provider, or CUDA was asked for and does not work here.
        ConfigError: An option has no meaning, or `"low"` is given for weights of 4 bits, which it makes larger.

    Example:
        >>> session = load("bundle")  # doctest: +SKIP
        >>> session.run({"input_ids": ids, "attention_mask": mask}, adapter="spam")  # doctest: +SKIP
    """
    # Here and not at the top, as in all of this package: it takes a sixth of the time that importing onnxruntime takes.
    from edgeadapt.bundle import (
        ADAPTERS,
        EncoderDecoderRecord,
        adapter_names,
        read_adapter,
        read_manifest,
        verify_files,
    )

    if verify not in ("all", "adapters", "none"):
        choices = ["all", "adapters", "none"]
        raise ConfigError(
            f"verify: got {verify!r}, expected 'all', 'adapters' or 'none'{nearest(str(verify), choices)}."
        )
    opening = Opening(provider, threads, provider_options, memory)
    opening.check()
    budget = bytes_of(adapter_memory, "adapter_memory")
    folder = Path(path)
    manifest = read_manifest(folder)
    check_version(manifest.model.onnxruntime)
    if memory == "low" and manifest.model.precision == "int4":
        raise ConfigError(
            "memory='low' is for weights that are read as they lie in the file. Those of int4 are small, and as they "
            "lie they are made whole again in every run: more memory and much more time.\nLeave memory='fast'."
        )
    names = adapter_names(folder)
    adapters = folder / ADAPTERS
    home = adapters / NONE
    if NONE not in names:
        raise BundleError(f"{folder} lacks {ADAPTERS}/{NONE}, the base as an adapter.\nCopy the bundle again.")
    record = read_adapter(home)
    if verify != "none":
        _verify(folder, manifest, hash_large=verify == "all")
        verify_files(home, record.files)
    model, device = open_model(folder / manifest.model.file, opening, growing=manifest.generation is not None)
    encoder = None
    if isinstance(manifest.generation, EncoderDecoderRecord):
        opening = replace(opening, provider=device.provider, options=None if device.kind == "cpu" else provider_options)
        encoder, _ = open_model(folder / manifest.generation.encoder.file, opening)
    check_signature(model, manifest, encoder)
    base = read_base(folder, home, record, manifest, device)
    known = known_in(adapters, (name for name in names if name != NONE))
    return Session(
        folder, manifest, model, device, AdapterStore(base, manifest, known, budget, verify=verify != "none"), encoder
    )


def _verify(folder: Path, manifest: Manifest, *, hash_large: bool) -> None:
    from edgeadapt.bundle import verify_files

    if hash_large:
        verify_files(folder, manifest.files)
    else:
        verify_files(folder, manifest.files, hashes=False)
        verify_files(folder, {name: record for name, record in manifest.files.items() if record.bytes <= _LARGE})

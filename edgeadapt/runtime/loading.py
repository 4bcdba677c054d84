"""Opens a bundle: everything that can be wrong with it is found here, before the first run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from edgeadapt.errors import BundleError, ConfigError, EdgeAdaptError, nearest
from edgeadapt.runtime.adapters import NONE, read_base, read_loaded
from edgeadapt.runtime.provider import ProviderName, open_model
from edgeadapt.runtime.session import Session
from edgeadapt.runtime.signature import check_signature, check_version

if TYPE_CHECKING:
    from edgeadapt.bundle import Manifest

T = TypeVar("T")
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
) -> Session:
    """Opens the bundle at `path`.

    Args:
        path: The bundle's folder.
        provider: `"cpu"`, `"cuda"`, or `"auto"`: CUDA where it works, else the CPU, said in the log.
        threads: How many threads share one operator on the CPU; None leaves it to ONNX Runtime.
        verify: `"all"` checks every file's size and sha256, and that none is a link; `"adapters"` leaves out the sha256
            of the bundle's large files (over 16 MiB), and nothing else; `"none"` checks no files.
        provider_options: ONNX Runtime's options for CUDA, such as `{"device_id": 1}`.

    Raises:
        BundleError: The bundle is unsafe, damaged, made by a newer edgeadapt, or ONNX Runtime is too old for it.
        AdapterError: An adapter does not fit the model, all reasons.
        ProviderError: There is no such provider, or CUDA was asked for and does not work here.
        ConfigError: `threads`, `verify` or `provider_options` have no meaning.

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
    folder = Path(path)
    manifest = read_manifest(folder)
    check_version(manifest.model.onnxruntime)
    names = adapter_names(folder)
    if NONE not in names:
        raise BundleError(f"{folder} lacks {ADAPTERS}/{NONE}, the base as an adapter.\nCopy the bundle again.")
    homes = {name: folder / ADAPTERS / name for name in names}
    records = _each(names, lambda name: read_adapter(homes[name]))
    if verify != "none":
        _verify(folder, manifest, hash_large=verify == "all")
        _each(names, lambda name: verify_files(homes[name], records[name].files))
    growing = manifest.generation is not None
    model, device = open_model(folder / manifest.model.file, provider, threads, provider_options, growing=growing)
    encoder = None
    if isinstance(manifest.generation, EncoderDecoderRecord):
        encoder, _ = open_model(folder / manifest.generation.encoder.file, device.kind, threads, provider_options)
    check_signature(model, manifest, encoder)
    base = read_base(folder, homes[NONE], records[NONE], manifest, device)
    adapters = _each(
        [name for name in names if name != NONE],
        lambda name: read_loaded(homes[name], records[name], name, base, manifest),
    )
    return Session(folder, manifest, model, device, {NONE: base, **adapters}, encoder)


def _verify(folder: Path, manifest: Manifest, *, hash_large: bool) -> None:
    from edgeadapt.bundle import verify_files

    if hash_large:
        verify_files(folder, manifest.files)
    else:
        verify_files(folder, manifest.files, hashes=False)
        verify_files(folder, {name: record for name, record in manifest.files.items() if record.bytes <= _LARGE})


def _each(names: Iterable[str], read: Callable[[str], T]) -> dict[str, T]:
    """Returns what `read` makes of every adapter, or raises one error that has those of all."""
    made: dict[str, T] = {}
    errors: list[EdgeAdaptError] = []
    for name in names:
        try:
            made[name] = read(name)
        except EdgeAdaptError as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        problems = [str(error).replace("\n", "\n  ") for error in errors]
        raise type(errors[0]).collect(f"{len(errors)} adapters of the bundle can't be used:", problems)
    return made

"""A bundle's models in ONNX Runtime's own format, which reduced builds of it read: optimised once, here.

Source: `onnxruntime.tools.convert_onnx_models_to_ort`, whose style Fixed this is; that script needs onnx, and this
doesn't.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import onnxruntime as ort

from edgeadapt import bundle
from edgeadapt.bundle import EncoderDecoderRecord, Manifest
from edgeadapt.errors import BundleError, ConfigError, UnsupportedError
from edgeadapt.exporter import foreign_logging

SUFFIX = ".ort"
"""How a name must end for ONNX Runtime to take a file for its own format."""

OPERATORS = "required_operators_and_types.config"
"""What a reduced build is told to hold, under the name that ONNX Runtime's converter gives it."""

MOST_BYTES = (1 << 31) - 1
"""A FlatBuffer's offsets are signed numbers of 32 bits: ONNX Runtime writes no whole model that is larger."""

# It gives convolutions the layout of the processor that converts, and the model goes to others.
_OF_THIS_PROCESSOR = ["NchwcTransformer"]
_ERRORS = 3  # ONNX Runtime's log severity


def check(manifest: Manifest) -> None:
    """Refuses what can't be converted, before anything is written.

    Raises:
        ConfigError: The models are in ORT format already.
        UnsupportedError: They are too large for it.
    """
    names = bundle.models(manifest)
    if any(name.endswith(SUFFIX) for name in names):
        raise ConfigError(f"{' and '.join(names)}: in ORT format already.\nLeave --ort-format out.")
    weights = {name: file.bytes for name, file in manifest.files.items() if bundle.part(name, manifest) == "model"}
    if sum(weights.values()) > MOST_BYTES:
        raise UnsupportedError.collect(
            "ORT format holds a model and its weights in one file of less than 2 GiB, and here are:",
            [f"{name}: {size} bytes" for name, size in weights.items()],
            "Package it without --ort-format: ONNX keeps its weights in a file of their own, of any size.",
        )


def convert(folder: Path, manifest: Manifest, target: Path) -> Manifest:
    """Writes a bundle's models in ORT format, and which operators they need.

    Args:
        folder: The bundle.
        manifest: What it says.
        target: The folder to write into; a model lies there as in the bundle, and its name ends in `.ort`.

    Returns:
        The manifest that names them, with the ONNX Runtime that wrote them as the oldest that reads them. Its `files`
        are those of the bundle still.

    Raises:
        BundleError: ONNX Runtime can't convert a model.
    """
    made = {name: str(Path(name).with_suffix(SUFFIX).as_posix()) for name in bundle.models(manifest)}
    for name, converted in made.items():
        (target / converted).parent.mkdir(parents=True, exist_ok=True)
        _convert(folder / name, target / converted)
    _write_operators([target / converted for converted in made.values()], target / OPERATORS)
    generation = manifest.generation
    if isinstance(generation, EncoderDecoderRecord):
        generation = replace(generation, encoder=replace(generation.encoder, file=made[generation.encoder.file]))
    newest = ".".join(ort.__version__.split(".")[:2])
    model = replace(manifest.model, file=made[manifest.model.file], onnxruntime=f">={newest}")
    return replace(manifest, model=model, generation=generation)


def _convert(source: Path, target: Path) -> None:
    settings = ort.SessionOptions()
    settings.log_severity_level = _ERRORS
    # All levels, as a session takes for an ONNX model: so a converted one computes the same in the same order.
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    settings.optimized_model_filepath = str(target)
    settings.add_session_config_entry("session.save_model_format", "ORT")
    # What is optimised anew for ARM's products of int8 would be another model on x86.
    settings.add_session_config_entry("session.qdqisint8allowed", "0")
    try:
        ort.InferenceSession(
            str(source), settings, providers=["CPUExecutionProvider"], disabled_optimizers=_OF_THIS_PROCESSOR
        )
    except Exception as error:  # ONNX Runtime's exceptions have no root of their own
        raise BundleError(
            f"ONNX Runtime {ort.__version__} can't write {source.name} in ORT format: {error}\n"
            "See that the disk has room for it, or package it without --ort-format."
        ) from error


def _write_operators(converted: Sequence[Path], target: Path) -> None:
    """Writes which operators, and which types of each, models use: what `--include_ops_by_config` takes."""
    with foreign_logging.kept_out():
        from onnxruntime.tools.ort_format_model import create_config_from_models

    create_config_from_models(converted, target, enable_type_reduction=True)
    lines = target.read_text(encoding="utf-8").splitlines(keepends=True)
    # Its comments name the files that it read, by paths of this machine.
    made_of = [f"# {path.name}\n" for path in converted]
    target.write_text("".join([*made_of, *(line for line in lines if not line.startswith("#"))]), encoding="utf-8")

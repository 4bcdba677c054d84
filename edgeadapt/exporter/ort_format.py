"""A bundle's models in ONNX Runtime's own format, which reduced builds of it read: optimised once, here.

Source: `onnxruntime.tools.convert_onnx_models_to_ort`, whose style Fixed this is; that script needs onnx, and this
doesn't.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import onnxruntime as ort

from edgeadapt import bundle
from edgeadapt.bundle import EncoderDecoderRecord, Manifest
from edgeadapt.errors import BundleError, ConfigError, UnsupportedError

SUFFIX = ".ort"
"""How a name must end for ONNX Runtime to take a file for its own format."""

OPERATORS = "required_operators_and_types.config"
"""What a reduced build is told to hold, under the name that ONNX Runtime's converter gives it."""

MOST_BYTES = (1 << 31) - 1
"""A FlatBuffer's offsets are signed numbers of 32 bits: ONNX Runtime writes no whole model that is larger."""

# It gives convolutions the layout of the processor that converts, and the model goes to others.
_OF_THIS_PROCESSOR = ["NchwcTransformer"]
_ERRORS = 3  # ONNX Runtime's log severity

_TELL_OPERATORS = """\
import sys
from pathlib import Path
from onnxruntime.tools.ort_format_model import create_config_from_models
target, *models = map(Path, sys.argv[1:])
create_config_from_models(models, target, enable_type_reduction=True)
"""
"""In a process of its own: that module sets up logging and paths for whoever imports it, and imports torch."""


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
        UnsupportedError: A model is in 4 bits, and onnx_ir, which rewrites it, is not installed.
    """
    made = {name: str(Path(name).with_suffix(SUFFIX).as_posix()) for name in bundle.models(manifest)}
    for name, converted in made.items():
        (target / converted).parent.mkdir(parents=True, exist_ok=True)
        if manifest.model.precision == "int4":
            _convert_int4(folder / name, target / converted)
        else:
            _convert(folder / name, target / converted)
    _write_operators(target, made.values())
    generation = manifest.generation
    if isinstance(generation, EncoderDecoderRecord):
        generation = replace(generation, encoder=replace(generation.encoder, file=made[generation.encoder.file]))
    newest = ".".join(ort.__version__.split(".")[:2])
    model = replace(manifest.model, file=made[manifest.model.file], onnxruntime=f">={newest}")
    return replace(manifest, model=model, generation=generation)


def _convert_int4(source: Path, target: Path) -> None:
    """Converts a model whose tables of tokens the format has no type for, and which are held otherwise first."""
    try:
        import onnx_ir as ir
    except ImportError as error:
        raise UnsupportedError(
            "A model in 4 bits is rewritten for ORT format: pip install 'edgeadapt[export]', or package it without "
            "--ort-format."
        ) from error
    from edgeadapt.graph.quantised import in_bytes

    model = ir.load(source)
    in_bytes(model)
    with tempfile.TemporaryDirectory(prefix=".", dir=target.parent) as made:
        ir.save(model, Path(made) / source.name, external_data=f"{source.name}.data")
        _convert(Path(made) / source.name, target)


def _convert(source: Path, target: Path) -> None:
    settings = ort.SessionOptions()
    settings.log_severity_level = _ERRORS
    # All levels, as a session takes for an ONNX model: so a converted one computes the same in the same order.
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    settings.optimized_model_filepath = str(target)
    settings.add_session_config_entry("session.save_model_format", "ORT")
    try:
        ort.InferenceSession(
            str(source), settings, providers=["CPUExecutionProvider"], disabled_optimizers=_OF_THIS_PROCESSOR
        )
    except Exception as error:  # ONNX Runtime's exceptions have no root of their own
        raise BundleError(
            f"ONNX Runtime {ort.__version__} can't write {source.name} in ORT format: {error}\n"
            "See that the disk has room for it, and that it is below 2 GiB when it is optimised.\n"
            "Or package it without --ort-format."
        ) from error


def _write_operators(folder: Path, names: Iterable[str]) -> None:
    """Writes which operators, and which types of each, a folder's models use: what `--include_ops_by_config` takes.

    Raises:
        BundleError: ONNX Runtime's tool can't read a model.
    """
    command = [sys.executable, "-I", "-c", _TELL_OPERATORS, OPERATORS, *names]
    # In the folder, since the tool writes the models' paths down, and another machine's mean nothing.
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BundleError(
            f"ONNX Runtime {ort.__version__} can't tell the operators of a model that it wrote: {done.stderr[-2000:]}\n"
            "Package it without --ort-format."
        )

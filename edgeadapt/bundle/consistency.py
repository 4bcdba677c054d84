"""The rules between the fields of a record, which no field's type can say."""

from __future__ import annotations

from collections.abc import Iterable

from edgeadapt.bundle.names import CACHE, CROSS, ENCODED, NONE, PAST, PRESENT
from edgeadapt.bundle.records import (
    ENCODER_FORMAT,
    AdapterRecord,
    EncoderDecoderRecord,
    EncoderRecord,
    ImageRecord,
    Manifest,
    Neutral,
    Slot,
)

WEIGHTS = "weights.onnx_adapter"


def manifest_problems(manifest: Manifest) -> list[str]:
    """Returns what is wrong between the fields of a manifest, one line each with its JSON path."""
    problems = _listed("$.model.file", manifest.model.file, manifest.files)
    if manifest.model.neutrals:
        problems += _listed("$.model.neutrals", manifest.model.neutrals, manifest.files)
    elif any(slot.neutral == "stored" for slot in manifest.slots):
        problems.append("$.model.neutrals: is null, and slots have stored neutrals")
    if manifest.tokenizer:
        problems += _listed("$.tokenizer.file", manifest.tokenizer.file, manifest.files)
    for path in manifest.files:
        if path == "edgeadapt.json":
            problems.append("$.files: lists edgeadapt.json, which can't hold its own sha256")
        if path.split("/")[0] == "adapters":
            problems.append(f"$.files: lists {path}, which belongs into that adapter's adapter.json")
    if not manifest.outputs:
        problems.append("$.outputs: is empty")
    problems += _twice("$.outputs", [output.name for output in manifest.outputs])
    fed = [tensor.name for tensor in manifest.inputs] + [slot.name for slot in manifest.slots]
    problems += _twice("$.inputs and $.slots", fed)
    for index, slot in enumerate(manifest.slots):
        problems += [f"$.slots[{index}] ({slot.name}): {problem}" for problem in _slot_problems(slot)]
    if manifest.image:
        problems += _image_problems(manifest.image)
    if manifest.generation:
        problems += _cache_problems(manifest)
    encoded = isinstance(manifest.generation, EncoderDecoderRecord)
    if encoded != (manifest.format == ENCODER_FORMAT):
        problems.append(f"$.format: {ENCODER_FORMAT!r} is for a generation with an encoder, and for nothing else")
    if isinstance(manifest.generation, EncoderDecoderRecord):
        problems += _encoder_problems(manifest, manifest.generation.encoder)
    elif manifest.generation and manifest.generation.chat:
        problems += _listed("$.generation.chat.file", manifest.generation.chat.file, manifest.files)
        problems += [] if manifest.tokenizer else ["$.generation.chat: is there, and $.tokenizer is null"]
    return problems


def adapter_problems(record: AdapterRecord) -> list[str]:
    """Returns what is wrong between the fields of an adapter's record, one line each with its JSON path."""
    problems = (
        ["$.files: lists adapter.json, which can't hold its own sha256"] if "adapter.json" in record.files else []
    )
    if (record.name == NONE) != (record.method == NONE):
        problems.append(
            f"$.method: expected 'none' for the adapter 'none' alone, got {record.method!r} for {record.name!r}"
        )
    if record.name == record.method == NONE and record.sites:
        problems.append("$.sites: expected {} for the adapter 'none', which is the base itself")
    if record.sites:
        problems += _listed("$.sites", WEIGHTS, record.files)
    if CACHE in record.sites and [set(facts) for facts in record.sites[CACHE].values()] != [{"rank"}]:
        problems.append(f"$.sites.{CACHE}: expected one method with a rank, how many tokens the cache begins with")
    return problems


def _listed(path: str, file: str, files: Iterable[str]) -> list[str]:
    return [] if file in files else [f"{path}: {file} is not in $.files"]


def _twice(path: str, names: list[str]) -> list[str]:
    return [f"{path}: the name {name} stands twice" for name in dict.fromkeys(names) if names.count(name) > 1]


def _slot_problems(slot: Slot) -> list[str]:
    problems = []
    if not slot.shape or slot.shape[0] not in ("rows", 1):
        problems.append(f"expected 'rows' or 1 as the first dimension, got {list(slot.shape)}")
    if "rows" in slot.shape[1:]:
        problems.append(f"expected 'rows' only as the first dimension, got {list(slot.shape)}")
    if isinstance(slot.neutral, Neutral) and not problems:
        expected = [1 if size == "rows" else size for size in slot.shape]
        fits = len(expected) == len(slot.neutral.shape) and all(
            isinstance(size, str) or size == got for size, got in zip(expected, slot.neutral.shape, strict=True)
        )
        if not fits:
            problems.append(f"its neutral has the shape {list(slot.neutral.shape)}, expected {expected}")
    return problems


def _cache_problems(manifest: Manifest) -> list[str]:
    """Returns which part of a decoder's cache enters and doesn't leave, or the other way round."""
    enters = {tensor.name.removeprefix(PAST) for tensor in manifest.inputs if tensor.name.startswith(PAST)}
    leaves = {tensor.name.removeprefix(PRESENT) for tensor in manifest.outputs if tensor.name.startswith(PRESENT)}
    problems = [f"$.outputs: lacks {PRESENT}{name}" for name in sorted(enters - leaves)]
    problems += [f"$.inputs: lacks {PAST}{name}" for name in sorted(leaves - enters)]
    return problems if enters | leaves else ["$.generation: is there, and no input begins with past_key_values."]


def _encoder_problems(manifest: Manifest, encoder: EncoderRecord) -> list[str]:
    """Returns what is wrong with an encoder: its names, and what it gives that its decoder doesn't take."""
    path = "$.generation.encoder"
    problems = _listed(f"{path}.file", encoder.file, manifest.files)
    slots = [slot.name for slot in manifest.slots]
    problems += _twice(f"{path}.inputs and $.slots", [tensor.name for tensor in encoder.inputs] + slots)
    gives = {tensor.name.removeprefix(ENCODED) for tensor in encoder.outputs if tensor.name.startswith(ENCODED)}
    takes = {tensor.name.removeprefix(CROSS) for tensor in manifest.inputs if tensor.name.startswith(CROSS)}
    problems += [f"{path}.outputs: lacks {ENCODED}{name}" for name in sorted(takes - gives)]
    problems += [f"$.inputs: lacks {CROSS}{name}" for name in sorted(gives - takes)]
    return problems if gives | takes else [*problems, f"{path}.outputs: none begins with {ENCODED}"]


def _image_problems(image: ImageRecord) -> list[str]:
    if len(image.mean) == len(image.std) in (1, 3, 4):
        return []
    return [
        f"$.image: expected a mean and a std for each of 1, 3 or 4 channels, got {len(image.mean)} and {len(image.std)}"
    ]

"""What each file of a bundle is there for, told by the manifest and by its name: a device needs some of them."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from edgeadapt.bundle.consistency import WEIGHTS
from edgeadapt.bundle.documents import ADAPTER
from edgeadapt.bundle.records import EncoderDecoderRecord, GenerationRecord, Manifest

Part: TypeAlias = Literal["documents", "model", "neutrals", "texts", "adapters", "parity", "tools", "genai"]
"""What files are for: `tools` convert adapters, `genai` is for onnxruntime-genai, and a device needs neither."""

PARTS: tuple[Part, ...] = get_args(Part)

PARITY = "parity.npz"
"""An adapter's case: inputs, and the outputs that PyTorch gave for them."""

SITES = "sites.json"
"""Where slots can be added to the base."""

GENAI_CONFIG, GENAI_TOKENIZER = "genai_config.json", "tokenizer_config.json"
"""What onnxruntime-genai reads beside its graph, whose name begins with `genai`."""


def models(manifest: Manifest) -> tuple[str, ...]:
    """Returns the files of a bundle's models: of one, or of an encoder and its decoder."""
    if isinstance(manifest.generation, EncoderDecoderRecord):
        return manifest.generation.encoder.file, manifest.model.file
    return (manifest.model.file,)


def part(name: str, manifest: Manifest) -> Part:
    """Returns what a file that the manifest lists is for.

    What neither the manifest names nor a tool is counted to the model, which may refer to it as external data.
    """
    generation = manifest.generation
    chat = generation.chat if isinstance(generation, GenerationRecord) else None
    if name in models(manifest):
        return "model"
    if name == manifest.model.neutrals:
        return "neutrals"
    if name in {record.file for record in (manifest.tokenizer, chat) if record is not None}:
        return "texts"
    graph = name.endswith(".onnx")
    if name in (GENAI_CONFIG, GENAI_TOKENIZER) or (graph and name.startswith("genai")):
        return "genai"
    return "tools" if graph or name == SITES else "model"


def adapter_part(name: str) -> Part:
    """Returns what a file of an adapter's folder is for."""
    if name == ADAPTER:
        return "documents"
    if name == WEIGHTS:
        return "adapters"
    return "parity" if name == PARITY else "tools"

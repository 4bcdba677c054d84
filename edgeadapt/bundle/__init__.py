"""A bundle on disk: its records, reading and writing them, and checking its files. Standard library only.

Each name brings in its module when it is first used: the runtime needs a few names, and the rest to open a bundle.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeadapt.bundle.contents import (
        GENAI_CONFIG,
        GENAI_TOKENIZER,
        PARITY,
        PARTS,
        SITES,
        Part,
        adapter_part,
        models,
        part,
    )
    from edgeadapt.bundle.documents import (
        ADAPTER,
        ADAPTERS,
        MANIFEST,
        adapter_names,
        read_adapter,
        read_manifest,
        write_adapter,
        write_manifest,
    )
    from edgeadapt.bundle.files import record_files, verify_files
    from edgeadapt.bundle.folders import new_folder, replace_file
    from edgeadapt.bundle.index import INDEX, has_index, write_index
    from edgeadapt.bundle.names import (
        CACHE,
        CROSS,
        ENCODED,
        KEPT,
        NONE,
        PAST,
        PRESENT,
        check_adapter_name,
        encoder_file,
    )
    from edgeadapt.bundle.records import (
        ENCODER_FORMAT,
        FORMAT,
        AdapterRecord,
        ChatRecord,
        EncoderDecoderRecord,
        EncoderRecord,
        FileRecord,
        GenerationRecord,
        ImageRecord,
        Manifest,
        ModelRecord,
        Neutral,
        ParityRecord,
        ProblemType,
        RulesRecord,
        Slot,
        SpeechRecord,
        TensorRecord,
        TokenizerRecord,
    )

__all__ = [
    "ADAPTER",
    "ADAPTERS",
    "CACHE",
    "CROSS",
    "ENCODED",
    "ENCODER_FORMAT",
    "FORMAT",
    "GENAI_CONFIG",
    "GENAI_TOKENIZER",
    "INDEX",
    "KEPT",
    "MANIFEST",
    "NONE",
    "PARITY",
    "PARTS",
    "PAST",
    "PRESENT",
    "SITES",
    "AdapterRecord",
    "ChatRecord",
    "EncoderDecoderRecord",
    "EncoderRecord",
    "FileRecord",
    "GenerationRecord",
    "ImageRecord",
    "Manifest",
    "ModelRecord",
    "Neutral",
    "ParityRecord",
    "Part",
    "ProblemType",
    "RulesRecord",
    "Slot",
    "SpeechRecord",
    "TensorRecord",
    "TokenizerRecord",
    "adapter_names",
    "adapter_part",
    "check_adapter_name",
    "encoder_file",
    "has_index",
    "models",
    "new_folder",
    "part",
    "read_adapter",
    "read_manifest",
    "record_files",
    "replace_file",
    "verify_files",
    "write_adapter",
    "write_index",
    "write_manifest",
]

_MODULES = ("names", "records", "folders", "files", "documents", "contents", "index")
"""What is quick to import comes first."""


def __getattr__(name: str) -> Any:
    for module in _MODULES if name in __all__ else ():
        found = vars(importlib.import_module(f"{__name__}.{module}"))
        if name in found:
            globals()[name] = found[name]
            return found[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

"""A bundle on disk: its records, reading and writing them, and checking its files. Standard library only."""

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
from edgeadapt.bundle.names import KEPT, NONE, PAST, PRESENT, check_adapter_name
from edgeadapt.bundle.records import (
    FORMAT,
    AdapterRecord,
    FileRecord,
    GenerationRecord,
    ImageRecord,
    Manifest,
    ModelRecord,
    Neutral,
    ParityRecord,
    ProblemType,
    Slot,
    TensorRecord,
    TokenizerRecord,
)

__all__ = [
    "ADAPTER",
    "ADAPTERS",
    "FORMAT",
    "KEPT",
    "MANIFEST",
    "NONE",
    "PAST",
    "PRESENT",
    "AdapterRecord",
    "FileRecord",
    "GenerationRecord",
    "ImageRecord",
    "Manifest",
    "ModelRecord",
    "Neutral",
    "ParityRecord",
    "ProblemType",
    "Slot",
    "TensorRecord",
    "TokenizerRecord",
    "adapter_names",
    "check_adapter_name",
    "new_folder",
    "read_adapter",
    "read_manifest",
    "record_files",
    "replace_file",
    "verify_files",
    "write_adapter",
    "write_manifest",
]

"""What is wrong with a bundle's files, with its model, and with its folders."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.conformance.faults import MANIFEST, SPAM, Document, Fault, edit, relist
from tests.conformance.faults_of_documents import emptied, linked, shared, told
from tests.runtime.tiny_bundle import HEAD_WEIGHT, NEUTRALS, arrays, write_arrays

MODEL = "model.onnx"


def damage(path: Path) -> None:
    """Changes one bit and keeps the size."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def lengthen(path: Path) -> None:
    """Puts a byte behind a file."""
    path.write_bytes(path.read_bytes() + b"\0")


def into_folder(folder: Path) -> None:
    """Puts the model into a folder, whose place a link to it takes."""
    (folder / "real").mkdir()
    (folder / MODEL).rename(folder / "real" / MODEL)
    (folder / "graph").symlink_to("real")

    def change(manifest: Document) -> None:
        manifest["files"][f"graph/{MODEL}"] = manifest["files"].pop(MODEL)
        manifest["model"]["file"] = f"graph/{MODEL}"

    edit(folder / MANIFEST, change)


def into_place(folder: Path, name: str, content: bytes) -> None:
    """Puts other bytes into a file's place, and lists them."""
    (folder / name).write_bytes(content)
    relist(folder / MANIFEST, [name])


def stored(folder: Path, names: tuple[str, ...]) -> None:
    """Writes stored neutrals anew, and lists them."""
    made = arrays(1, 1, labels=3)
    write_arrays(folder / NEUTRALS, {name: made[name] for name in names})
    relist(folder / MANIFEST, [NEUTRALS])


def slot(**changed: object) -> dict[str, object]:
    """Returns a slot that the model has not."""
    own = {"name": "encoder.fc.ia3", "method": "ia3", "site": "encoder.fc", "param": "ia3", "dtype": "float32"}
    return {**own, "shape": ["rows", 1, 6], "neutral": {"shape": [1, 1, 6], "fill": 1.0}, **changed}


FILES = [
    Fault("a file is missing", "model.onnx: is missing", lambda folder: (folder / MODEL).unlink()),
    Fault("a file of another size", "model.onnx: has .* bytes, expected", lambda folder: lengthen(folder / MODEL)),
    Fault("a file of another sha256", "model.onnx: has the sha256", lambda folder: damage(folder / MODEL)),
    Fault(
        "neutrals of another sha256",
        "neutrals.onnx_adapter: has the sha256",
        lambda folder: damage(folder / NEUTRALS),
    ),
    Fault("a file is a symbolic link", "model.onnx: is a symbolic link", lambda folder: linked(folder / MODEL)),
    Fault("a file is a hard link", "model.onnx: is a hard link", lambda folder: shared(folder / MODEL)),
    Fault("a file behind a link", "lies behind the symbolic link graph", into_folder),
    Fault(
        "a file is a folder",
        "model.onnx: is not a regular file",
        lambda folder: emptied(folder / MODEL),
    ),
]

MODELS = [
    Fault("a model that is none", "can't open", lambda folder: into_place(folder, MODEL, b"no model")),
    Fault(
        "a slot that the model has not",
        "encoder.fc.ia3: the model has no such input",
        told(lambda told: told["slots"].append(slot())),
    ),
    Fault(
        "a slot that the manifest has not",
        "encoder.fc.bias_delta: an input that the manifest has not",
        told(lambda told: told["slots"].pop(2)),
    ),
    Fault(
        "a slot of another dtype",
        "bias_delta: the model has float32, the manifest float16",
        told(lambda told: told["slots"][2].update(dtype="float16")),
    ),
    Fault(
        "a slot of another number of dimensions",
        "bias_delta: the model has .* the manifest",
        told(lambda told: told["slots"][2].update(shape=["rows", 6], neutral={"shape": [1, 6], "fill": 0.0})),
    ),
    Fault(
        "an input that the manifest has not",
        "x: an input that the manifest has not",
        told(lambda told: told.update(inputs=[])),
    ),
    Fault(
        "an input that the model has not",
        "mask: the model has no such input",
        told(lambda told: told["inputs"].append({"name": "mask", "dtype": "int64", "shape": ["batch", "sequence"]})),
    ),
    Fault(
        "an input of another dtype",
        "x: the model has float32, the manifest int64",
        told(lambda told: told["inputs"][0].update(dtype="int64")),
    ),
    Fault(
        "an input of another number of dimensions",
        "x: the model has .* the manifest",
        told(lambda told: told["inputs"][0].update(shape=["batch", "sequence"])),
    ),
    Fault(
        "an output that the manifest has not",
        "hidden: an output that the manifest has not",
        told(lambda told: told["outputs"].pop(0)),
    ),
    Fault(
        "an output that the model has not",
        "scores: the model has no such output",
        told(lambda told: told["outputs"][1].update(name="scores")),
    ),
    Fault(
        "an output of another dtype",
        "logits: the model has float32, the manifest float64",
        told(lambda told: told["outputs"][1].update(dtype="float64")),
    ),
]

BASES = [
    Fault("no base", "lacks adapters/none", lambda folder: shutil.rmtree(folder / "adapters" / "none")),
    Fault("no adapters", "lacks adapters/none", lambda folder: shutil.rmtree(folder / "adapters")),
    Fault(
        "a changed file of the base",
        "parity.npz: has the sha256",
        lambda folder: damage(folder / "adapters" / "none" / "parity.npz"),
    ),
    Fault(
        "a base with a method",
        r"\$.method: expected 'none' for the adapter 'none' alone",
        lambda folder: edit(folder / "adapters/none/adapter.json", lambda told: told.update(method="lora")),
    ),
    Fault(
        "an adapter in the base's place",
        "holds the adapter 'spam', and not the base",
        lambda folder: edit(
            folder / "adapters/none/adapter.json", lambda told: told.update(name="spam", method="lora")
        ),
    ),
    Fault(
        "another base",
        "fingerprint of the base: got",
        lambda folder: edit(
            folder / "adapters/none/adapter.json", lambda told: told.update(fingerprint=f"sha256:{'6' * 64}")
        ),
        "AdapterError",
    ),
    Fault(
        "stored neutrals that are no container",
        "can't read .*neutrals",
        lambda folder: into_place(folder, NEUTRALS, b"nothing" * 9),
    ),
    Fault(
        "a stored neutral is missing",
        "classifier.bias: missing",
        lambda folder: stored(folder, (HEAD_WEIGHT,)),
        "AdapterError",
    ),
]

FOLDERS = [
    Fault(
        "an adapter with a space in its name", "'bad name' is not 1 to 64", lambda folder: called(folder, "bad name")
    ),
    Fault("an adapter with a dash first", "'-x' is not 1 to 64", lambda folder: called(folder, "-x")),
    Fault("an adapter with a dot last", "ends with a dot", lambda folder: called(folder, "spam.")),
    Fault("an adapter with letters beyond ASCII", "is not 1 to 64", lambda folder: called(folder, "sp\u00e4m")),
    Fault("an adapter with 65 characters", "is not 1 to 64", lambda folder: called(folder, "x" * 65)),
    Fault("an adapter called as a device", "is a device", lambda folder: called(folder, "Aux.2")),
    Fault("an adapter called None", "only in case", lambda folder: called(folder, "None")),
    Fault(
        "two adapters whose names differ in case",
        "differs from .* only in case",
        lambda folder: shutil.copytree(folder / SPAM, folder / "adapters" / "Spam"),
    ),
    Fault("an adapter is a link", "spam: is a link", lambda folder: linked_folder(folder / SPAM)),
    Fault("the folder of adapters is a link", "adapters is a link", lambda folder: linked_folder(folder / "adapters")),
]


def called(folder: Path, name: str) -> None:
    """Gives an adapter another name."""
    (folder / SPAM).rename(folder / "adapters" / name)


def linked_folder(path: Path) -> None:
    """Puts a link in a folder's place, and the folder beside the bundle's other files."""
    home = path.parent.parent if path.parent.name == "adapters" else path.parent
    path.rename(home / "real")
    path.symlink_to("../real" if path.parent.name == "adapters" else "real")


BUNDLES = [*FILES, *MODELS, *BASES, *FOLDERS]

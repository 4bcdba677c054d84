"""What is wrong with `edgeadapt.json`: as a file, as JSON, and by the rules of the format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgeadapt.bundle.documents import MOST_BYTES
from tests.conformance.faults import MANIFEST, Document, Fault, edit, replace


def told(change: Callable[[Document], object]) -> Callable[[Path], object]:
    """Returns what makes the manifest say something else."""
    return lambda folder: edit(folder / MANIFEST, change)


def spelled(old: str, new: str) -> Callable[[Path], object]:
    """Returns what changes the manifest's text in one place."""
    return lambda folder: replace(folder / MANIFEST, old, new)


def content(make: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    """Returns what puts other bytes into the manifest's place."""
    return lambda folder: (folder / MANIFEST).write_bytes(make((folder / MANIFEST).read_bytes()))


def oversized(path: Path) -> None:
    """Makes a document one byte too large that would be good JSON: white space follows it."""
    text = path.read_bytes()
    with path.open("wb") as file:
        file.write(text)
        file.write(b" " * (MOST_BYTES + 1 - len(text)))


def listed(path: str) -> Callable[[Path], object]:
    """Returns what adds a path to the manifest's list of files."""
    return told(lambda manifest: manifest["files"].update({path: {"bytes": 0, "sha256": "0" * 64}}))


def linked(path: Path) -> None:
    """Puts a symbolic link in the place of a file, and the file beside it."""
    path.rename(path.with_name(f"{path.name}.real"))
    path.symlink_to(f"{path.name}.real")


def emptied(path: Path) -> None:
    """Puts a folder in the place of a file."""
    path.unlink()
    path.mkdir()


def shared(path: Path) -> None:
    """Gives a file a second name."""
    path.with_name(f"{path.name}.again").hardlink_to(path)


FILE = [
    Fault("no manifest", "holds no edgeadapt.json", lambda folder: (folder / MANIFEST).unlink()),
    Fault("the manifest is a symbolic link", "is a link or no", lambda folder: linked(folder / MANIFEST)),
    Fault("the manifest is a hard link", "is a link or no", lambda folder: shared(folder / MANIFEST)),
    Fault(
        "the manifest is a folder",
        "is a link or no",
        lambda folder: emptied(folder / MANIFEST),
    ),
]

JSON = [
    Fault("empty", "is not JSON", content(lambda text: b"")),
    Fault("cut off", "is not JSON", content(lambda text: text[: len(text) // 2])),
    Fault("text after the document", "Extra data", content(lambda text: text + b"{}")),
    Fault("a comma too many", "is not JSON", spelled('"image": null,', '"image": null,,')),
    Fault("a comma before the end", "is not JSON", content(lambda text: text.rstrip()[:-1] + b",}")),
    Fault("a comment", "is not JSON", content(lambda text: b"// ours\n" + text)),
    Fault("NaN", "NaN is not a JSON number", spelled('"opset": 21', '"opset": NaN')),
    Fault("infinity", "-Infinity is not a JSON number", spelled('"opset": 21', '"opset": -Infinity')),
    Fault("a number beyond a double", "1e999 is too large", spelled('"opset": 21', '"opset": 1e999')),
    Fault("a number with a zero before it", "is not JSON", spelled('"opset": 21', '"opset": 021')),
    Fault("a number with a plus", "is not JSON", spelled('"opset": 21', '"opset": +21')),
    Fault("single quotes", "is not JSON", spelled('"image": null', "'image': null")),
    Fault("a line break in text", "is not JSON", spelled('"maybe"', '"may\nbe"')),
    Fault("an escape that there is not", "is not JSON", spelled('"maybe"', '"may\\be\\x"')),
    Fault("half of a surrogate pair", "half of a surrogate", spelled('"maybe"', '"\\ud83e"')),
    Fault("halves of a pair the wrong way round", "half of a surrogate", spelled('"maybe"', '"\\udd37\\ud83e"')),
    Fault("a key twice", "'image' stands twice", spelled('"image": null', '"image": null, "image": null')),
    Fault(
        "a key twice, once escaped", "'image' stands twice", spelled('"image": null', '"image": null, "\\u0069mage": 1')
    ),
    Fault("a byte order mark", "is not JSON", content(lambda text: b"\xef\xbb\xbf" + text)),
    Fault("not UTF-8", "is not UTF-8", content(lambda text: text.replace(b"maybe", b"m\xe4ybe"))),
    Fault("UTF-8 of too many bytes", "is not UTF-8", content(lambda text: text.replace(b"maybe", b"\xc0\xafbe"))),
    Fault("a surrogate in UTF-8", "is not UTF-8", content(lambda text: text.replace(b"maybe", b"\xed\xa0\x80"))),
    Fault("nested too deeply", "nested too deeply", content(lambda text: b"[" * 200_000 + b"]" * 200_000)),
    Fault("a list", "no bundle format", content(lambda text: b"[" + text + b"]")),
]

FORMAT = [
    Fault("a newer major version", "newer edgeadapt", told(lambda told: told.update(format="2.0", news=1))),
    Fault("a newer minor version", "newer edgeadapt", told(lambda told: told.update(format="1.2", news=1))),
    Fault(
        "a version for encoders alone", "for a generation with an encoder", told(lambda told: told.update(format="1.1"))
    ),
    Fault("a version that never was", "never released", told(lambda told: told.update(format="0.9"))),
    Fault("a version with a third number", "no bundle format", told(lambda told: told.update(format="1.0.0"))),
    Fault("a version that is a number", "no bundle format", told(lambda told: told.update(format=1.0))),
    Fault("an unknown key", r"\$.notes: unknown key", told(lambda told: told.update(notes=""))),
    Fault("an unknown key of a slot", "unknown key", told(lambda told: told["slots"][0].update(notes=""))),
    Fault("a missing key", r"\$.image: missing", told(lambda told: told.pop("image"))),
    Fault("a missing key of a slot", r"neutral: missing", told(lambda told: told["slots"][0].pop("neutral"))),
    Fault("text for a number", "opset: expected a whole number", told(lambda told: told["model"].update(opset="21"))),
    Fault("a fraction", "opset: expected a whole number", told(lambda told: told["model"].update(opset=21.0))),
    Fault("true for a number", "opset: expected a whole number", told(lambda told: told["model"].update(opset=True))),
    Fault("a number for null", r"\$.image: expected", told(lambda told: told.update(image=0))),
    Fault("null for text", r"\$.task: expected text", told(lambda told: told.update(task=None))),
    Fault("empty text", r"\$.task: expected text", told(lambda told: told.update(task=""))),
    Fault("an unknown problem type", r"\$.problem_type: expected", told(lambda told: told.update(problem_type="sort"))),
    Fault("no labels in the list", "one label or more", told(lambda told: told.update(labels=[]))),
    Fault("no outputs", r"\$.outputs: is empty", told(lambda told: told.update(outputs=[]))),
    Fault("an unknown dtype", "dtype: expected one of", told(lambda told: told["slots"][0].update(dtype="bfloat16"))),
    Fault("a size below zero", "shape", told(lambda told: told["inputs"][0].update(shape=["batch", "sequence", -4]))),
    Fault(
        "a fingerprint in capitals",
        r"\$.fingerprint: expected",
        told(lambda told: told.update(fingerprint=f"sha256:{'A' * 64}")),
    ),
    Fault(
        "a version of ONNX Runtime without >=",
        r"\$.model.onnxruntime: expected",
        told(lambda told: told["model"].update(onnxruntime="1.23")),
    ),
    Fault("a slot twice", "encoder.fc.lora_A stands twice", told(lambda told: told["slots"].append(told["slots"][0]))),
    Fault("a slot called as an input", "name x stands twice", told(lambda told: told["slots"][2].update(name="x"))),
    Fault(
        "a slot whose first dimension is 2",
        "expected 'rows' or 1 as the first",
        told(lambda told: told["slots"][2].update(shape=[2, 1, 6], neutral={"shape": [2, 1, 6], "fill": 0.0})),
    ),
    Fault(
        "rows as the second dimension",
        "'rows' only as the first",
        told(lambda told: told["slots"][2].update(shape=["rows", "rows", 6])),
    ),
    Fault(
        "a neutral of another shape",
        "its neutral has the shape",
        told(lambda told: told["slots"][2].update(neutral={"shape": [1, 1, 7], "fill": 0.0})),
    ),
    Fault(
        "a neutral with a dimension of 0",
        "a number of 1 or more",
        told(lambda told: told["slots"][0].update(neutral={"shape": [1, 4, 0], "fill": 0.0})),
    ),
    Fault(
        "stored neutrals without a file",
        "is null, and slots have stored",
        told(lambda told: told["model"].update(neutrals=None)),
    ),
    Fault("a model that is not listed", "model.onnx is not in", told(lambda told: told["files"].pop("model.onnx"))),
    Fault("the manifest in its own list", "lists edgeadapt.json", listed("edgeadapt.json")),
    Fault("an adapter's file in the manifest's list", "adapters/spam/x", listed("adapters/spam/x")),
    Fault(
        "a sha256 in capitals",
        "64 lowercase hex digits",
        told(lambda told: told["files"]["model.onnx"].update(sha256="A" * 64)),
    ),
    Fault(
        "a file of less than no bytes",
        "a number of 0 or more",
        told(lambda told: told["files"]["model.onnx"].update(bytes=-1)),
    ),
    Fault("a path with ..", "relative path", listed("../outside")),
    Fault("a path with .. in its middle", "relative path", listed("graph/../../outside")),
    Fault("an absolute path", "relative path", listed("/etc/hostname")),
    Fault("a path with a backslash", "relative path", listed("graph\\x")),
    Fault("a path with a drive", "relative path", listed("C:x")),
    Fault("a path with a device", "relative path", listed("graph/NUL.txt")),
    Fault("a path with two slashes", "relative path", listed("graph//x")),
    Fault("a path with a dot alone", "relative path", listed("./x")),
    Fault("a path that ends with a dot", "relative path", listed("graph./x")),
    Fault("a path that ends with a space", "relative path", listed("x ")),
    Fault("a path with a control character", "relative path", listed("x\u0001")),
    Fault("an empty path", "relative path", listed("")),
    Fault(
        "a newer ONNX Runtime",
        r"needs onnxruntime >=99\.1",
        told(lambda told: told["model"].update(onnxruntime=">=99.1")),
    ),
    # Versions are compared number by number: as text this one is older than 1.20, and the second of the next is 0.
    Fault(
        "a newer ONNX Runtime with a number of four digits",
        r"needs onnxruntime >=1\.1000",
        told(lambda told: told["model"].update(onnxruntime=">=1.1000")),
    ),
    Fault(
        "a newer ONNX Runtime with a first number of 3",
        r"needs onnxruntime >=3\.0",
        told(lambda told: told["model"].update(onnxruntime=">=3.0")),
    ),
]

DOCUMENTS = [*FILE, *JSON, *FORMAT]

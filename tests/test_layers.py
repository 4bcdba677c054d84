"""The law of the layers: who may import whom, and what a device and `edgeadapt add` do without."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "edgeadapt"


@dataclass(frozen=True, slots=True)
class Law:
    """What a room may import.

    Attributes:
        rooms: Other rooms of the package; `errors` is everyone's.
        libraries: Third-party libraries, beside the standard one.
        late: Libraries that it imports inside of functions alone, because a caller may lack them.
    """

    rooms: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    late: tuple[str, ...] = ()


FRAMEWORKS = ("torch", "transformers", "optimum", "peft")

LAWS = {
    "__init__": Law(rooms=("exporter", "runtime")),
    "errors": Law(),
    "bundle": Law(),
    "parity": Law(rooms=("bundle",), libraries=("numpy",)),
    "adapter": Law(libraries=("numpy",)),
    "tasks": Law(libraries=("numpy",)),
    "methods": Law(rooms=("adapter",), libraries=("numpy", "onnx_ir")),
    "graph": Law(rooms=("adapter", "methods", "bundle"), libraries=("numpy", "onnx_ir")),
    "runtime": Law(
        rooms=("bundle", "parity", "tasks"), libraries=("numpy", "onnxruntime"), late=("tokenizers", "PIL", "jinja2")
    ),
    "exporter": Law(
        rooms=("adapter", "graph", "methods", "tasks", "bundle", "parity", "runtime"),
        libraries=(*FRAMEWORKS, "numpy", "onnx_ir", "onnxruntime", "safetensors", "ml_dtypes", "sympy", "yaml"),
        late=("PIL", "tokenizers"),
    ),
    # It asks a task only what one input of it is.
    "cli": Law(rooms=("exporter", "runtime", "bundle", "parity", "tasks"), libraries=("click",), late=("rich",)),
}
"""Room, the first name below `edgeadapt`, to its law. A room that is not here may import nothing but the errors."""


@dataclass(frozen=True, slots=True)
class Import:
    """One import: its line, the dotted module, and whether it runs when its file is imported."""

    line: int
    module: str
    early: bool


def imports(source: str, package: str) -> Iterator[Import]:
    """Yields the imports of a file in `package`, those for type checkers too: an arrow in a type is one."""
    tree = ast.parse(source)
    late: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or _is_type_checking(node):
            late.update(ast.walk(node))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node.lineno, alias.name, node not in late)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: -(node.level - 1) or None] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                # `from edgeadapt import bundle` imports a room.
                yield Import(
                    node.lineno, f"{module}.{alias.name}" if module == "edgeadapt" else module, node not in late
                )


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def offences(source: str, path: str) -> list[str]:
    """Returns the imports of a file that its room's law forbids, one line each."""
    parts = Path(path).with_suffix("").parts
    room = parts[1]
    law = LAWS.get(room, Law())
    found = []
    for each in imports(source, ".".join(parts[:-1])):
        top, _, rest = each.module.partition(".")
        if top == "edgeadapt":
            other = rest.partition(".")[0]
            # What is no room is a name of the front door, such as __version__.
            allowed = other in (room, "errors", *law.rooms) or not _is_room(other)
            if not allowed:
                found.append(_told(path, each, room, listed(["errors", *law.rooms])))
        elif top in law.late:
            if each.early:
                found.append(
                    f"{path}:{each.line} imports {each.module} at its top; {room} may do so inside of functions"
                )
        elif top not in sys.stdlib_module_names and top not in law.libraries:
            found.append(_told(path, each, room, listed([*law.libraries, *law.late]) or "the standard library"))
    return found


def _is_room(name: str) -> bool:
    return (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file()


def _told(path: str, each: Import, room: str, allowed: str) -> str:
    return f"{path}:{each.line} imports {each.module}; {room} may import {allowed}"


def listed(names: list[str]) -> str:
    return ", ".join(names)


def test_every_import_keeps_the_law() -> None:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        found += offences(path.read_text(encoding="utf-8"), str(path.relative_to(PACKAGE.parent)))
    assert not found, "\n".join(found)


def test_every_room_has_a_law() -> None:
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert rooms == set(LAWS)


@pytest.mark.parametrize(
    ("path", "source", "offence"),
    [
        ("edgeadapt/runtime/x.py", "import torch", "imports torch; runtime may import numpy, onnxruntime"),
        ("edgeadapt/runtime/x.py", "from edgeadapt.graph import sites", "imports edgeadapt.graph; runtime may import"),
        ("edgeadapt/runtime/x.py", "from edgeadapt import methods", "imports edgeadapt.methods; runtime may import"),
        ("edgeadapt/runtime/x.py", "from ..exporter import pipeline", "imports edgeadapt.exporter; runtime may import"),
        ("edgeadapt/runtime/x.py", "def f():\n    import onnx", ":2 imports onnx; runtime may import"),
        ("edgeadapt/runtime/x.py", "import tokenizers", "imports tokenizers at its top; runtime may do so inside"),
        ("edgeadapt/tasks/x.py", "import onnxruntime", "imports onnxruntime; tasks may import numpy"),
        ("edgeadapt/bundle/x.py", "import numpy", "imports numpy; bundle may import the standard library"),
        ("edgeadapt/graph/x.py", "import onnx_ir, torch", "imports torch; graph may import numpy, onnx_ir"),
        (
            "edgeadapt/errors.py",
            "from edgeadapt.bundle import names",
            "imports edgeadapt.bundle; errors may import errors",
        ),
        ("edgeadapt/cli/x.py", "from edgeadapt.graph.fold import fold", "imports edgeadapt.graph.fold; cli may import"),
        (
            "edgeadapt/graph/x.py",
            "if TYPE_CHECKING:\n    from edgeadapt.runtime import Session",
            ":2 imports edgeadapt.runtime; graph may import",
        ),
    ],
)
def test_the_law_is_noticed_when_broken(path: str, source: str, offence: str) -> None:
    (found,) = offences(source, path)
    assert found.startswith(path)
    assert offence in found


@pytest.mark.parametrize(
    "source",
    [
        "from . import rows",
        "from edgeadapt import __version__, bundle",
        "def f():\n    from PIL import Image",
        "if TYPE_CHECKING:\n    from tokenizers import Tokenizer",
        "import json\nimport numpy as np\nfrom edgeadapt.errors import BundleError",
    ],
)
def test_the_law_allows_what_it_says(source: str) -> None:
    assert offences(source, "edgeadapt/runtime/x.py") == []


BLOCKER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked or name in blocked:
            raise ImportError(f"{name} is blocked")

blocked = set(sys.argv.pop(1).split(","))
assert not blocked & set(sys.modules)
sys.meta_path.insert(0, Blocker())
"""
"""The start of a program: its first argument names modules that it can't import."""

DEVICE_LACKS = (
    *FRAMEWORKS, "onnx", "onnx_ir", "onnxscript", "yaml", "click", "rich", "safetensors", "ml_dtypes",
    "edgeadapt.exporter", "edgeadapt.graph", "edgeadapt.methods", "edgeadapt.cli",
)  # fmt: skip

RUN_A_BUNDLE = """
import numpy as np
import edgeadapt
from edgeadapt.runtime.verify import verify

folder = sys.argv[1]
session = edgeadapt.load(folder)
assert not {"tokenizers", "PIL", "jinja2"} & set(sys.modules)
adapters = list(session.adapters)
for name in (None, *adapters):
    assert verify(session, name).passed, name
batch = np.load(f"{folder}/adapters/{adapters[0]}/parity.npz")
inputs = {key[6:]: batch[key][:len(adapters)] for key in batch.files if key.startswith("input/")}
mixed = session.run(inputs, adapters)
for row, name in enumerate(adapters):
    for output, arrays in session.run({key: array[row:row + 1] for key, array in inputs.items()}, name).items():
        assert np.abs(mixed[output][row] - arrays[0]).max() < 1e-5
if session.manifest.tokenizer is not None:
    answers = edgeadapt.pipeline(session)(["good film", "play song"], adapter=adapters[:2])
    assert len(answers) == 2
print("ran", *adapters)
"""


def without(modules: tuple[str, ...], program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs a program in a process that can't import these modules."""
    command = [sys.executable, "-W", "error", "-c", BLOCKER + program, ",".join(modules), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_bundle_loads_and_runs_with_no_framework(tiny_bundle: Path) -> None:
    done = without(DEVICE_LACKS, RUN_A_BUNDLE, tiny_bundle)
    assert (done.stderr, done.stdout) == ("", "ran intents spam\n")


def test_every_golden_bundle_loads_and_runs_with_no_framework() -> None:
    manifests = sorted((PACKAGE.parent / "tests" / "golden").rglob("edgeadapt.json"))
    if not manifests:
        pytest.skip("there is no golden bundle")
    for manifest in manifests:
        done = without(DEVICE_LACKS, RUN_A_BUNDLE, manifest.parent)
        assert done.stderr == ""
        assert done.stdout.startswith("ran ")


def test_the_blocker_blocks() -> None:
    done = without(("onnx",), "import onnx.helper")
    assert done.stderr.endswith("ImportError: onnx is blocked\n")


COMMAND = "from edgeadapt.cli import main\nsys.argv[0] = 'edgeadapt'\nmain()\n"


def test_adapters_are_added_merged_and_removed_without_torch(
    tiny_bundle: Path, tiny_adapters: dict[str, Path], tmp_path: Path
) -> None:
    bundle = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    for arguments in (
        ("add", bundle, tiny_adapters["spam"], "--name", "again"),
        ("merge", bundle, "--adapter", "again", "--mode", "fold", "-o", tmp_path / "fold.onnx"),
        ("merge", bundle, "--adapter", "again", "--mode", "switch", "-o", tmp_path / "switch.onnx"),
        ("remove", bundle, "again"),
    ):
        done = without(FRAMEWORKS, COMMAND, *arguments)
        assert done.returncode == 0, done.stderr


def test_the_device_s_commands_run_with_no_framework(tiny_bundle: Path) -> None:
    lacks = tuple(name for name in DEVICE_LACKS if name not in ("click", "rich", "edgeadapt.cli", "edgeadapt.exporter"))
    for arguments in (
        ("run", tiny_bundle, "--text", "hello", "--adapter", "spam"),
        ("verify", tiny_bundle),
        ("inspect", tiny_bundle),
    ):
        done = without((*lacks, "onnx_ir"), COMMAND, *arguments)
        assert done.returncode == 0, done.stderr


def test_importing_the_runtime_imports_nothing_late() -> None:
    program = "import edgeadapt.runtime, edgeadapt.runtime.pipeline\nprint(late & set(sys.modules))"
    late = "late = {'PIL', 'tokenizers', 'jinja2'}\n"
    assert without(DEVICE_LACKS, late + program).stdout == "set()\n"


def test_importing_the_runtime_leaves_out_what_takes_long() -> None:
    slow = "slow = {'asyncio', 'importlib.metadata', 'edgeadapt.bundle.records', 'edgeadapt.bundle.documents'}\n"
    program = "import edgeadapt.runtime\nprint(slow & set(sys.modules) - before)"
    before = "import onnxruntime\nbefore = set(sys.modules)\n"
    assert without(DEVICE_LACKS, slow + before + program).stdout == "set()\n"


def test_importing_the_package_imports_no_library() -> None:
    program = "import edgeadapt\nprint(sorted({'numpy', 'onnxruntime'} & set(sys.modules)), edgeadapt.__version__)"
    assert without(DEVICE_LACKS, program).stdout.startswith("[] ")


def test_what_onnx_runtime_comes_with_is_said_where_it_is_missing() -> None:
    program = "import importlib.abc\nsys.modules['onnxruntime'] = None\nimport edgeadapt\nedgeadapt.load"
    done = without((), program)
    assert done.returncode == 1
    assert "pip install 'edgeadapt[cpu]', or 'edgeadapt[gpu]'" in done.stderr

"""A full disk or a killed process while an adapter is added: it is there whole, or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx_ir as ir
import pytest

import edgeadapt
from edgeadapt import bundle
from edgeadapt.errors import BundleError
from edgeadapt.exporter import assemble
from edgeadapt.exporter.adding import add
from tests.exporter import snapshot
from tests.exporter.classifiers import all_verify

WRITES: list[tuple[Any, str, bool]] = [
    (assemble, "write_weights", True),
    (ir, "save", True),
    (assemble, "write_switch", True),
    (assemble, "write_case", True),
    (assemble, "add_parity", True),
    (bundle, "write_manifest", False),
]


@pytest.mark.parametrize(("module", "write", "after"), WRITES, ids=[write for _, write, _ in WRITES])
def test_a_full_disk_leaves_the_bundle_as_it_was(
    module: Any, write: str, after: bool, home: Path, adapters: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(home)
    whole = getattr(module, write)

    def fail(*arguments: Any, **options: Any) -> None:
        if after:
            whole(*arguments, **options)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, write, fail)
    with pytest.raises(BundleError, match=r"The disk is full: .*new was not written"):
        add(home, adapters["embeddings"], "new")

    assert snapshot(home) == before
    assert sorted(path.name for path in (home / "adapters").iterdir()) == ["intents", "none", "spam"]


KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from edgeadapt.exporter.adding import add
source, adapter, parent = map(Path, sys.argv[1:])
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")

def until(folder, left):
    def hook(event, arguments):
        nonlocal left
        changes = event in CHANGES or event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_WRONLY
        if changes and str(arguments[0]).startswith(str(folder)):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)
    add(folder, adapter, "new")

for step in range(1, 200):
    folder = parent / str(step)
    shutil.copytree(source, folder)
    child = os.fork()
    if child == 0:
        until(folder, step)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forks")
@pytest.mark.parametrize(
    "case",
    [
        "embeddings",
        "head",
    ],
)
def test_a_process_that_is_killed_at_any_step_leaves_a_bundle_that_works(
    case: str, tiny_bundle: Path, headed: Path, adapters: dict[str, Path], tmp_path: Path
) -> None:
    """At every file or folder that `add` makes, renames or removes: the adapter is there whole, or not at all."""
    home, adapter = (headed / "bundle", headed / "brings") if case == "head" else (tiny_bundle, adapters[case])
    command = [sys.executable, "-W", "ignore", "-c", KILLED, str(home), str(adapter), str(tmp_path)]
    subprocess.run(command, check=True)
    steps = sorted(int(path.name) for path in tmp_path.iterdir())

    there = []
    for step in steps:
        assert all_verify(tmp_path / str(step))
        there.append("new" in edgeadapt.load(tmp_path / str(step)).adapters)

    assert len(steps) > 10
    assert there == sorted(there)
    assert there[-1]
    middle = len(steps) // 2
    assert not there[middle]
    add(tmp_path / str(steps[middle]), adapter, "new")
    assert all_verify(tmp_path / str(steps[middle]))


def test_what_was_killed_is_mended_by_adding_again(headed: Path, tmp_path: Path) -> None:
    """Also after the graph and the base's own head were written, and before the manifest knew of them."""
    home = Path(shutil.copytree(headed / "bundle", tmp_path / "bundle"))
    late = Path(shutil.copytree(home, tmp_path / "late"))
    add(late, headed / "brings", "brings")
    left = [path for path in late.iterdir() if path.is_file() and not (home / path.name).exists()]
    for path in left:
        shutil.copy(path, home)
    assert {path.suffix for path in left} == {".onnx", ".onnx_adapter"}

    add(home, headed / "brings", "brings")

    assert all_verify(home)

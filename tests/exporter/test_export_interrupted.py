"""A process that is killed while it exports leaves a whole bundle or none, whatever it was writing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import edgeadapt
from tests.exporter.classifiers import all_verify

WATCHED = """
import json, os, sys
from pathlib import Path
from edgeadapt.exporter.pipeline import export
base, adapter, target = map(Path, sys.argv[1:])
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")
seen = []

def hook(event, arguments):
    changes = event in CHANGES or event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_WRONLY
    if changes and str(arguments[0]).startswith(str(target.parent)):
        seen.append(sorted(os.listdir(target.parent)))

sys.addaudithook(hook)
export(base, {"spam": adapter}, target)
print(json.dumps(seen))
"""


@pytest.fixture(scope="module")
def seen(
    tiny_base: Path, tiny_adapters: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[list[str]]]:
    """Returns a bundle, and what lay beside it before each file or folder that its export made, renamed or removed."""
    target = tmp_path_factory.mktemp("exported") / "bundle"
    command = [sys.executable, "-W", "ignore", "-c", WATCHED, str(tiny_base), str(tiny_adapters["spam"]), str(target)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return target, json.loads(done.stdout.splitlines()[-1])


def test_at_no_step_is_there_a_part_of_a_bundle(seen: tuple[Path, list[list[str]]]) -> None:
    """What a kill leaves is what lies there at that step: the bundle gets its name by the last one, a renaming."""
    _, steps = seen
    assert len(steps) > 10
    assert not any("bundle" in names for names in steps)
    assert all(name.startswith(".bundle.") and name.endswith(".partial") for names in steps for name in names)


def test_after_the_last_step_all_is_there(seen: tuple[Path, list[list[str]]]) -> None:
    target, _ = seen
    assert [path.name for path in target.parent.iterdir()] == ["bundle"]
    assert list(edgeadapt.load(target).adapters) == ["spam"]
    assert all_verify(target)

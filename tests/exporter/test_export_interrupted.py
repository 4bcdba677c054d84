"""A process that is killed while it exports leaves a whole bundle or none, whatever it was writing."""

from __future__ import annotations

from pathlib import Path

import pytest

import edgeadapt
from tests.exporter.classifiers import all_verify
from tests.exporter.watching import steps

EXPORTING = """
import sys
from pathlib import Path
from edgeadapt.exporter.pipeline import export
base, adapter, target = map(Path, sys.argv[1:])
export(base, {"spam": adapter}, target)
"""


@pytest.fixture(scope="module")
def seen(
    tiny_base: Path, tiny_adapters: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[list[str]]]:
    """Returns a bundle, and what lay beside it before each file or folder that its export made, renamed or removed."""
    target = tmp_path_factory.mktemp("exported") / "bundle"
    return target, steps(EXPORTING, target.parent, tiny_base, tiny_adapters["spam"], target, warnings="ignore")


def test_at_no_step_is_there_a_part_of_a_bundle(seen: tuple[Path, list[list[str]]]) -> None:
    """What a kill leaves is what lies there at that step: the bundle gets its name by the last one, a renaming."""
    _, found = seen
    assert len(found) > 10
    assert not any("bundle" in names for names in found)
    assert all(name.startswith(".bundle.") and name.endswith(".partial") for names in found for name in names)


def test_after_the_last_step_all_is_there(seen: tuple[Path, list[list[str]]]) -> None:
    target, _ = seen
    assert [path.name for path in target.parent.iterdir()] == ["bundle"]
    assert list(edgeadapt.load(target).adapters) == ["spam"]
    assert all_verify(target)

"""The README's Python and commands do what it says, on the bundle that `make demo` makes."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.real.conftest import ROOT

pytestmark = pytest.mark.real

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Returns the README's code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture
def demo(minilm_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks as `make demo` leaves the repository."""
    shutil.copytree(minilm_bundle, tmp_path / "build" / "demo-bundle")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / ".models").symlink_to(ROOT / ".models")
    (tmp_path / "export_configs").symlink_to(ROOT / "export_configs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_python_runs_as_it_stands(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks("python")

    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})

    printed = capsys.readouterr().out
    for comment in re.findall(r"^print.*#\s*(.+)$", code, flags=re.MULTILINE):
        assert comment in printed


def test_the_commands_run_as_they_stand(demo: Path) -> None:
    lines = [line for block in blocks("console") for line in block.splitlines() if line.startswith("$ edgeadapt ")]
    assert len(lines) >= 6
    for line in lines:
        words = shlex.split(line.removeprefix("$ edgeadapt "), comments=True)
        subprocess.run([Path(sys.executable).with_name("edgeadapt"), *words], check=True, capture_output=True)


def test_the_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"\bmake ([a-z0-9-]+)", README)):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target

"""Tables and stages as they come out of a pipe."""

from __future__ import annotations

import sys
import time

import numpy as np
import pytest

from edgeadapt.cli import terminal
from edgeadapt.parity import ParityReport, Tolerance


def test_a_table_shows_every_cell_whole(capsys: pytest.CaptureFixture[str]) -> None:
    path = "bert.encoder.layer.*.attention.self.query"
    terminal.show_table("sites", ("site", "count"), [(path, "12"), ("[bold]x[/bold]", "7")])
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "sites"
    assert lines[1].split() == ["site", "count"]
    assert lines[3].split() == [path, "12"]
    assert lines[4].split() == ["[bold]x[/bold]", "7"]
    assert lines[3].endswith("12")
    assert lines[4].endswith(" 7")


def test_a_table_without_column_names_has_no_head(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.show_table("base", ("", ""), [("task", "fill-mask")])
    assert [line.split() for line in capsys.readouterr().out.splitlines() if line] == [["base"], ["task", "fill-mask"]]


def test_reports_are_shown_with_their_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    reports = [ParityReport(name, error, 2.0, 1.0, None, Tolerance()) for name, error in (("a", 1e-6), ("b", 1.0))]
    terminal.show_reports("parity", reports)
    lines = capsys.readouterr().out.splitlines()
    assert lines[3].split()[0] == "a"
    assert lines[3].split()[-1] == "passed"
    assert lines[4].split()[-1] == "failed"


def test_json_takes_numpy(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.show_json({"größe": np.float32(0.5), "ids": np.arange(2)}, indent=None)
    assert capsys.readouterr().out == '{"größe": 0.5, "ids": [0, 1]}\n'


def test_a_stage_is_told_where_it_takes_longer_than_patience(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "PATIENCE_S", 0.2)
    with terminal.stages() as progress:
        progress("quick")
        progress("slow")
        deadline = time.monotonic() + 30
        told = ""
        while not told and time.monotonic() < deadline:
            time.sleep(0.01)
            told = capsys.readouterr().err
        progress("the end")
    assert told == "slow ...\n"
    time.sleep(0.3)
    assert capsys.readouterr().err == ""


def test_a_terminal_has_a_spinner_that_ends_with_the_work(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with pytest.raises(ZeroDivisionError), terminal.stages() as progress:
        progress("reading [adapters]")
        raise ZeroDivisionError
    told = capsys.readouterr().err
    assert "reading [adapters] ..." in told
    hidden, shown = told.index("\x1b[?25l"), told.index("\x1b[?25h")
    assert hidden < shown  # the cursor is back

"""What all commands have in common: help with examples that parse, errors in one message, a light start."""

from __future__ import annotations

import logging
import shlex
import subprocess
import sys

import click
import pytest

from edgeadapt import __version__, cli
from edgeadapt.cli import options
from edgeadapt.cli.commands import commands
from edgeadapt.cli.options import debug_option
from edgeadapt.errors import ConfigError
from edgeadapt.exporter import problem_types
from edgeadapt.parity import Tolerance
from tests.cli.conftest import Invoke

NAMES = ("add", "export", "inspect", "merge", "package", "remove", "run", "verify")


def examples(name: str) -> list[list[str]]:
    """Returns the example calls in a command's help, without `edgeadapt` and what a shell takes."""
    lines = (commands.commands[name].epilog or "").splitlines()
    calls = [shlex.split(line.partition(">")[0]) for line in lines if line.strip().startswith("edgeadapt ")]
    return [call[1:] for call in calls]


def test_the_commands_are_these() -> None:
    assert tuple(sorted(commands.commands)) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_help_has_examples_and_they_parse(name: str, invoke: Invoke, tmp_path_factory: pytest.TempPathFactory) -> None:
    result = invoke(name, "--help")
    assert "Example" in result.stdout
    assert examples(name)
    folder = tmp_path_factory.mktemp("examples")
    (folder / "texts.jsonl").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for call in examples(name):
            assert call[0] == name
            with commands.commands[name].make_context(name, call[1:]):
                pass


def test_help_of_the_whole_names_every_command(invoke: Invoke) -> None:
    help_text = invoke("--help").stdout
    assert all(f"\n  {name} " in help_text for name in NAMES)
    assert help_text == invoke("-h").stdout
    for call in (line for line in (commands.epilog or "").splitlines() if "edgeadapt " in line):
        assert shlex.split(call)[1] in NAMES


def test_the_version_is_the_package_s(invoke: Invoke) -> None:
    assert invoke("--version").stdout == f"edgeadapt, version {__version__}\n"


def test_help_names_the_default_tolerance(invoke: Invoke) -> None:
    for name in ("export", "add", "merge"):
        help_text = " ".join(invoke(name, "--help").stdout.split())
        assert f"[default: {Tolerance().max_abs}]" in help_text
        assert f"[default: {Tolerance().effect_fraction}]" in help_text


def test_help_names_the_problem_types() -> None:
    assert " or ".join(", ".join(problem_types.NAMES).rsplit(", ", 1)) == options.PROBLEM_TYPES


@pytest.mark.parametrize("name", NAMES)
def test_wrong_usage_exits_with_2(name: str, invoke: Invoke) -> None:
    assert "No such option" in invoke(name, "--no-such-option", code=2).stderr


def test_an_unknown_command_exits_with_2(invoke: Invoke) -> None:
    assert "exprot" in invoke("exprot", code=2).stderr


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """Makes the command `broken` raise what the list holds."""
    raised: list[BaseException] = []

    @click.command("broken")
    @debug_option
    def fail() -> None:
        raise raised[0]

    monkeypatch.setitem(commands.commands, "broken", fail)
    return raised


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ConfigError("The recipe is wrong:\n  a\nMend it."), "Error: The recipe is wrong:\n  a\nMend it.\n"),
        (OSError(28, "No space left on device", "/x/y"), "Error: the system refuses: No space left on device: /x/y\n"),
        (
            ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn"),
            "Error: this command needs torch, which is not installed.\nInstall it: pip install 'edgeadapt[export]'\n",
        ),
        (
            ModuleNotFoundError("No module named 'rich'", name="rich"),
            "Error: this command needs rich, which is not installed.\nInstall it: pip install 'edgeadapt[cli]'\n",
        ),
        (
            ZeroDivisionError("division by zero"),
            "Error: unexpected ZeroDivisionError: division by zero\nRun it again with --debug for the traceback.\n",
        ),
    ],
)
def test_an_error_is_one_message_and_exit_code_2(
    error: Exception, message: str, broken: list[BaseException], invoke: Invoke
) -> None:
    broken.append(error)
    assert invoke("broken", code=2).stderr == message


@pytest.mark.parametrize("arguments", [("--debug", "broken"), ("broken", "--debug")])
def test_debug_shows_the_traceback(arguments: tuple[str, ...], broken: list[BaseException]) -> None:
    from click.testing import CliRunner

    broken.append(ConfigError("wrong"))
    result = CliRunner().invoke(commands, arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("Traceback")
    assert "raise raised[0]" in result.stderr
    assert result.stderr.endswith("Error: wrong\n")


def test_warnings_of_the_package_are_shown_and_its_chatter_is_not(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    @click.command("chatty")
    @debug_option
    def chatty() -> None:
        log = logging.getLogger("edgeadapt")
        log.warning("%s is left out", "pooler")
        log.info("reading")

    monkeypatch.setitem(commands.commands, "chatty", chatty)
    assert invoke("chatty").stderr == "warning: pooler is left out\n"
    assert invoke("chatty", "--debug").stderr == "warning: pooler is left out\ninfo: reading\n"
    assert invoke("chatty").stderr == "warning: pooler is left out\n"


def test_without_click_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "click", None)
    monkeypatch.delitem(sys.modules, "edgeadapt.cli.commands")
    with pytest.raises(SystemExit, match=r"pip install 'edgeadapt\[cli\]'"):
        cli.main()


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["export", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys, atexit\n"
        "heavy = ('torch', 'transformers', 'onnx', 'onnx_ir', 'onnxruntime', 'numpy', 'yaml', 'rich')\n"
        "atexit.register(lambda: print([name for name in heavy if name in sys.modules], file=sys.stderr))\n"
        "sys.argv[0] = 'edgeadapt'\n"
        "from edgeadapt.cli import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: edgeadapt")
    assert done.stderr == "[]\n"

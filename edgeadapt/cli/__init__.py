"""The command line: one file a command. Each parses, calls and prints; the work is done elsewhere."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs `edgeadapt` and exits: 0 if all went well, 1 if `verify` found a failing adapter, 2 for every error."""
    try:
        from edgeadapt.cli.commands import commands
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        sys.exit("Error: the command line needs click and rich.\nInstall them: pip install 'edgeadapt[cli]'")
    commands()

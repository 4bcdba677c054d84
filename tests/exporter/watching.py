"""What lies in a folder before each change that a process makes there: what a kill at that step would leave."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

_WATCHED = """
import json, os, sys
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")
code, parent, *arguments = sys.argv[1:]
seen = []

def hook(event, arguments):
    changes = event in CHANGES or event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_WRONLY
    if changes and str(arguments[0]).startswith(parent):
        seen.append(sorted(os.listdir(parent)))

sys.argv = ["-c", *arguments]
sys.addaudithook(hook)
exec(code)
print(json.dumps(seen))
"""


def steps(code: str, parent: Path, *arguments: Path, warnings: str = "error") -> list[list[str]]:
    """Returns the names in `parent` before each file or folder in it that is made, renamed or removed.

    Args:
        code: Python, run in a process of its own.
        parent: The folder.
        arguments: What the code finds in `sys.argv[1:]`.
        warnings: What that process does with warnings.
    """
    command = [sys.executable, "-W", warnings, "-c", _WATCHED, code, str(parent), *map(str, arguments)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: list[list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found

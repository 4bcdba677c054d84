"""Writes the whole C library as one source: what an app copies beside edgeadapt.h and compiles with its own files.

`python embed/c/amalgamate.py build/embed/c/edgeadapt.c`
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_INCLUDE = re.compile(r'^#include "([^"]+)"\n', re.MULTILINE)
_SYSTEM = re.compile(r"^#include <([^>]+)>\n", re.MULTILINE)
# Headers that only some machines have: they stay with the condition that says which.
_MACHINE = re.compile(r"^#if[^\n]*\n(?:#(?:include <|define |elif )[^\n]*\n)+#endif\n", re.MULTILINE)
_HEAD = """\
/* edgeadapt in C, made of embed/c/src by embed/c/amalgamate.py: change it there.
 *
 * It needs edgeadapt.h beside it, onnxruntime_c_api.h of any ONNX Runtime from 1.20 on, and a C11 compiler:
 *     cc -c -Os edgeadapt.c -I <folder of onnxruntime_c_api.h>
 * and links with the threads and the loader of the system alone (-lpthread -ldl, where they are no part of libc). */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64
#endif
#include "edgeadapt.h"

{system}
#if defined(__GNUC__) || defined(__clang__)
#pragma GCC visibility push(hidden)
#endif
"""
_FOOT = """
#if defined(__GNUC__) || defined(__clang__)
#pragma GCC visibility pop
#endif
"""


def amalgamated(folder: Path) -> str:
    """Returns all of `folder`'s sources, each after the headers that it includes; every header stands once."""
    done: set[str] = {"../edgeadapt.h"}
    body = "".join(_expanded(path, done) for path in sorted(folder.glob("*.c")))
    # Before what is hidden: a system's functions are not.
    machine = "".join(_MACHINE.findall(body))
    body = _MACHINE.sub("", body)
    system = "\n".join(f"#include <{name}>" for name in sorted(set(_SYSTEM.findall(body))))
    return _HEAD.replace("{system}", f"{system}\n{machine}") + _SYSTEM.sub("", body) + _FOOT


def _expanded(path: Path, done: set[str]) -> str:
    def included(match: re.Match[str]) -> str:
        name = match[1]
        if name in done:
            return ""
        done.add(name)
        return _expanded(path.parent / name, done)

    return f"\n/* ---- {path.name} ---- */\n{_INCLUDE.sub(included, path.read_text(encoding='utf-8'))}"


def main() -> None:
    """Writes the source to the path in the first argument."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} FILE")
    target = Path(sys.argv[1])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(amalgamated(_HERE / "src"), encoding="utf-8")


if __name__ == "__main__":
    main()

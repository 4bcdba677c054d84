"""Which adapter names and file paths a bundle may hold: those that mean the same on every device."""

from __future__ import annotations

import re

from edgeadapt.errors import AdapterError

NONE = "none"
"""The adapter that is the base itself."""

KEPT = "kept_positions"
"""A decoder's input `(batch, kept)`: the positions of each row's sequence whose logits are computed."""

CACHE = "past_key_values"
"""A decoder's cache, as the place of what it holds before a text's first token; no module has this name."""

PAST, PRESENT = f"{CACHE}.", "present."
"""What the names of a decoder's cache begin with, as it enters and as it leaves; `0.key` and the like follow."""

CROSS, ENCODED = "encoder_key_values.", "encoded."
"""What the names of an encoder's keys and values begin with, as its decoder takes and as it gives them."""

_ADAPTER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_WINDOWS_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE | re.DOTALL)
_UNSAFE_CHARACTER = re.compile(r'[\x00-\x1f\x7f\\:*?"<>|]')


def encoder_file(model: str) -> str:
    """Returns the file of the encoder that belongs to a decoder's.

    Example:
        >>> encoder_file("model.onnx")
        'model.encoder.onnx'
    """
    return f"{model.removesuffix('.onnx')}.encoder.onnx"


def name_problem(name: str) -> str:
    """Returns why `name` can't be the name of an adapter's folder, or nothing.

    Example:
        >>> name_problem("spam-v2")
        ''
        >>> name_problem("nul")
        "'nul' is a device on Windows"
    """
    if not _ADAPTER_NAME.fullmatch(name):
        return f"{name!r} is not 1 to 64 of the characters A-Z a-z 0-9 . _ - with a letter or digit first"
    if name.endswith("."):
        return f"{name!r} ends with a dot, which Windows drops"
    if _WINDOWS_DEVICE.fullmatch(name):
        return f"{name!r} is a device on Windows"
    if name != NONE and name.lower() == NONE:
        return f"{name!r} differs from {NONE!r}, the base itself, only in case"
    return ""


def check_adapter_name(name: str) -> None:
    """Refuses a name that a user can't give to an adapter.

    Raises:
        AdapterError: The name is unsafe as a folder's name somewhere, or it is `none`, which means the base.

    Example:
        >>> check_adapter_name("spam")
    """
    problem = f"{NONE!r} means the base itself" if name == NONE else name_problem(name)
    if problem:
        raise AdapterError(f"Not a name for an adapter: {problem}.\nChoose another, such as 'spam' or 'customer-12'.")


def path_problem(path: str) -> str:
    """Returns why `path` can't stand in a record's `files`, or nothing; looks at the text alone.

    Example:
        >>> path_problem("model.onnx.data")
        ''
        >>> path_problem("../secret")
        "has a part '..'"
    """
    if not path:
        return "is empty"
    if path.startswith("/"):
        return "is absolute"
    if unsafe := _UNSAFE_CHARACTER.search(path):
        return f"has the character {unsafe.group()!r}"
    for part in path.split("/"):
        if part in ("", ".", ".."):
            return f"has a part {part!r}"
        if part[-1] in ". ":
            return f"has a part {part!r} that ends with a dot or a space, which Windows drops"
        if _WINDOWS_DEVICE.fullmatch(part):
            return f"has a part {part!r} that is a device on Windows"
    return ""

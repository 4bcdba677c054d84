"""How the tests call commands, and bundles that they may change."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from click.testing import CliRunner, Result

from edgeadapt.cli.commands import commands
from tests import tiny

Invoke: TypeAlias = Callable[..., Result]


@pytest.fixture
def invoke() -> Invoke:
    """Runs `edgeadapt` with these arguments, expects an exit code, and never a traceback."""

    def run(*arguments: object, code: int = 0, stdin: str | None = None) -> Result:
        result = CliRunner().invoke(commands, [str(argument) for argument in arguments], input=stdin)
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        if code == 2:
            assert result.stdout == ""
        return result

    return run


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy of `tiny_bundle`."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


@pytest.fixture(scope="session")
def third_adapter(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that no bundle has yet, which needs no slots but those of `tiny_bundle`."""
    folder = tmp_path_factory.mktemp("third") / "adapter"
    return tiny.lora_adapter(tiny_base, folder, rank=3, targets=["query", "value"], num_labels=3, seed=5)


@pytest.fixture(scope="session")
def still_adapter(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter without effect: its head is all there is to it, and its lora_B is zero."""
    import numpy as np
    from safetensors.numpy import load_file, save_file

    folder = tmp_path_factory.mktemp("still") / "adapter"
    tiny.lora_adapter(tiny_base, folder, num_labels=2, seed=6)
    weights = folder / "adapter_model.safetensors"
    tensors = load_file(weights)
    save_file(
        {name: np.zeros_like(tensor) if "lora_B" in name else tensor for name, tensor in tensors.items()}, weights
    )
    return folder

"""What can't be merged is refused, and nothing is written."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import Any, Literal

import onnx_ir as ir
import pytest

from edgeadapt.errors import AdapterError, BundleError, ConfigError, EdgeAdaptError, OutputExistsError, ParityError
from edgeadapt.exporter.merging import merge
from edgeadapt.parity import Tolerance
from tests.exporter import snapshot


def test_two_heads_cant_be_folded_together(tiny_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(AdapterError) as caught:
        merge(tiny_bundle, ["spam", "intents"], tmp_path / "both.onnx", mode="fold")

    assert str(caught.value).splitlines() == [
        "Adapters that replace the same module can't be folded together:",
        "  classifier: brought by 'spam' and by 'intents'",
        "Fold one of them.",
    ]
    assert list(tmp_path.iterdir()) == []


REFUSED: dict[str, tuple[list[str], str, str, type[EdgeAdaptError], str]] = {
    "into the bundle, beside others": (
        ["spam"],
        "bundle/spam.onnx",
        "fold",
        ConfigError,
        "spam can't be folded into a bundle in which intents stay switchable:\nfolding changes the base's weights, and "
        "the others were trained on the base as it is.\nWrite the folded model to a file outside the bundle.",
    ),
    "into the bundle, over its model": (["spam"], "bundle/model.onnx", "fold", ConfigError, "stay switchable"),
    "into the bundle, by another way": (["spam"], "out/../bundle/x.onnx", "fold", ConfigError, "stay switchable"),
    "into the bundle, switchable": (
        ["spam"],
        "bundle/spam.onnx",
        "switch",
        ConfigError,
        "bundle/spam.onnx lies in the bundle, which switch leaves as it is.\nWrite to a file outside of it.",
    ),
    "over a file": (["spam"], "there.onnx", "fold", OutputExistsError, "there.onnx exists already.\nRemove it"),
    "over a folder": (["spam"], "out", "fold", OutputExistsError, "out exists already."),
    "another suffix": (["spam"], "spam.bin", "fold", ConfigError, "its name must end in .onnx."),
    "unknown": (
        ["spma", "spam", "intent", "zzz"],
        "x.onnx",
        "fold",
        AdapterError,
        "The bundle has no such adapter:\n  spma (did you mean 'spam'?)\n  intent (did you mean 'intents'?)\n  zzz\n"
        "It has: intents, spam.",
    ),
    "the base": (["none"], "x.onnx", "switch", AdapterError, "The bundle has no such adapter:\n  none"),
    "twice": (["spam", "spam"], "x.onnx", "fold", ConfigError, "Name at least one adapter, and each of them once."),
    "nothing": ([], "x.onnx", "fold", ConfigError, "Name at least one adapter, and each of them once."),
    "another mode": (["spam"], "x.onnx", "flod", ConfigError, "'fold' or 'switch' (did you mean 'fold'?)."),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_what_cant_be_merged_is_refused_and_nothing_is_written(case: str, tiny_bundle: Path, tmp_path: Path) -> None:
    names, output, mode, kind, message = REFUSED[case]
    (tmp_path / "out").mkdir()
    (tmp_path / "there.onnx").write_bytes(b"mine")
    (tmp_path / "bundle").symlink_to(tiny_bundle)
    before = snapshot(tmp_path), snapshot(tiny_bundle)

    with pytest.raises(kind) as caught:
        merge(tmp_path / "bundle", names, tmp_path / output, mode=mode)  # type: ignore[arg-type]  # "another mode"

    assert type(caught.value) is kind
    assert message in str(caught.value)
    assert (snapshot(tmp_path), snapshot(tiny_bundle)) == before


@pytest.mark.parametrize("mode", ["fold", "switch"])
def test_numbers_beyond_the_tolerance_are_refused(
    mode: Literal["fold", "switch"], tiny_bundle: Path, tmp_path: Path
) -> None:
    with pytest.raises(ParityError, match=r"(?s)differs from PyTorch:.*spam: the max abs error.*Nothing was written"):
        merge(tiny_bundle, ["spam"], tmp_path / "spam.onnx", mode=mode, tolerance=Tolerance(max_abs=1e-12))

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("file", ["adapters/spam/subgraph.onnx", "adapters/spam/parity.npz", "base.onnx"])
def test_a_file_that_was_changed_is_refused(file: str, tiny_bundle: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    content = bytearray((home / file).read_bytes())
    content[len(content) // 2] ^= 1
    (home / file).write_bytes(content)

    with pytest.raises(BundleError, match=f"{Path(file).name}: has the sha256"):
        merge(home, ["spam"], tmp_path / "spam.onnx", mode="fold")

    assert not (tmp_path / "spam.onnx").exists()


@pytest.mark.parametrize("writes", [0, 1], ids=["to compare", "the output"])
def test_a_full_disk_leaves_nothing(
    writes: int, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(tiny_bundle)
    whole, calls = ir.save, []

    def save(model: ir.Model, path: Path, **options: Any) -> None:
        whole(model, path, **options)
        calls.append(path)
        if len(calls) > writes:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ir, "save", save)

    with pytest.raises((OSError, BundleError), match=r"No space left|The disk is full: .*spam.onnx was not"):
        merge(tiny_bundle, ["spam"], tmp_path / "spam.onnx", mode="fold")

    assert list(tmp_path.iterdir()) == []
    assert snapshot(tiny_bundle) == before

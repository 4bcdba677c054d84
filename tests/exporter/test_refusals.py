"""Exports that can't be done: one message that says what and why, and nothing at the target."""

from __future__ import annotations

import errno
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from edgeadapt import bundle
from edgeadapt.errors import (
    BindingError,
    BundleError,
    CheckpointError,
    ConfigError,
    EdgeAdaptError,
    OutputExistsError,
    ParityError,
    UnsupportedError,
)
from edgeadapt.exporter import assemble
from edgeadapt.exporter.pipeline import AdapterSource, export
from tests import tiny
from tests.exporter import altered, snapshot, zeroed


def refused(
    kind: type[EdgeAdaptError], base: Path, adapters: Mapping[str, Path | AdapterSource], parent: Path, **options: Any
) -> str:
    """Returns the message with which an export is refused, and sees that it leaves nothing."""
    parent.mkdir(exist_ok=True)
    before = snapshot(base)
    with pytest.raises(kind) as caught:
        export(base, adapters, parent / "bundle", **options)
    assert type(caught.value) is kind
    assert list(parent.iterdir()) == []
    assert snapshot(base) == before
    return str(caught.value)


def test_a_task_that_edgeadapt_lacks_is_refused_with_the_nearest(
    tiny_base: Path, tiny_adapters: dict[str, Path], tmp_path: Path
) -> None:
    message = refused(
        UnsupportedError, tiny_base, {"spam": tiny_adapters["spam"]}, tmp_path / "out", task="text-clasification"
    )

    assert message.startswith(
        "There is no task 'text-clasification' (did you mean 'text-classification'?).\nThere are: "
    )


@pytest.mark.parametrize(("family", "task"), [("vit", "text-classification"), ("bert", "image-classification")])
def test_a_task_that_the_model_type_lacks_is_refused(
    family: str, task: str, tiny_adapters: dict[str, Path], tmp_path: Path
) -> None:
    base = tiny.base(tmp_path / "base", family)

    message = refused(ConfigError, base, {"spam": tiny_adapters["spam"]}, tmp_path / "out", task=task)

    assert message.startswith(f"{family} has no model for {task}:\n")


def of_type(name: str) -> Callable[[Path], None]:
    def change(base: Path) -> None:
        config = json.loads((base / "config.json").read_text())
        (base / "config.json").write_text(json.dumps({**config, "model_type": name}))

    return change


BASES: dict[str, tuple[Callable[[Path], object], str]] = {
    "an unknown model type": (of_type("brtx"), "is not a model that transformers can open:\n  .*model type `brtx`"),
    "no configuration": (
        lambda base: (base / "config.json").unlink(),
        r"is not a model that transformers can open:\n  .*config\.json",
    ),
    "a broken configuration": (
        lambda base: (base / "config.json").write_text("{"),
        r"is not a model that transformers can open:\n  .*config\.json",
    ),
    "no weights": (
        lambda base: (base / "model.safetensors").unlink(),
        r"has no weights that can be read:\n  .*model\.safetensors",
    ),
    "nothing": (shutil.rmtree, r"is not a model that transformers can open:\n  "),
}


@pytest.mark.parametrize("case", sorted(BASES))
def test_a_base_that_cant_be_opened_is_refused(
    case: str, tiny_base: Path, tiny_adapters: dict[str, Path], tmp_path: Path
) -> None:
    change, message = BASES[case]
    base = Path(shutil.copytree(tiny_base, tmp_path / "base"))
    change(base)

    with pytest.raises(CheckpointError, match=f"{base} {message}"):
        export(base, {"spam": tiny_adapters["spam"]}, tmp_path / "bundle")

    assert [path.name for path in tmp_path.iterdir() if path != base] == []


def test_an_onnx_runtime_that_only_runs_bundles_is_refused(
    tiny_base: Path, tiny_adapters: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "__version__", "1.22.1")

    message = refused(UnsupportedError, tiny_base, {"spam": tiny_adapters["spam"]}, tmp_path / "out", opset=18)

    assert message.startswith("An export needs onnxruntime >=1.23, and 1.22.1 is installed.\nUpdate it")


def test_all_unsafe_names_are_refused_at_once(tiny_base: Path, tiny_adapters: dict[str, Path], tmp_path: Path) -> None:
    names = ("../x", "none", "a/b", "", "con", "fine", "Fine", "x" * 65)

    message = refused(ConfigError, tiny_base, dict.fromkeys(names, tiny_adapters["spam"]), tmp_path / "out")

    headline, *problems = [line for line in message.splitlines() if not line.startswith("Choose another")]
    assert headline == "Adapter names become folder names, and these can't:"
    wanted = ("'../x' is not", "'none' means the base", "'a/b' is not", "'' is not", "'con' is a device")
    assert len(problems) == 7
    for text in (*wanted, "'Fine' differs from 'fine' only in case", f"'{'x' * 65}' is not 1 to 64"):
        assert sum(text in line for line in problems) == 1, text


@pytest.mark.parametrize("kind", ["a bundle", "an empty folder", "a file", "a dangling link"])
def test_an_output_that_is_there_is_left_as_it_is(
    kind: str, tiny_base: Path, tiny_adapters: dict[str, Path], tiny_bundle: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out" / "bundle"
    target.parent.mkdir()
    if kind == "a bundle":
        shutil.copytree(tiny_bundle, target)
    elif kind == "an empty folder":
        target.mkdir()
    elif kind == "a file":
        target.write_bytes(b"mine")
    else:
        target.symlink_to("nowhere")
    before = snapshot(target.parent), target.lstat()

    with pytest.raises(OutputExistsError, match=f"{target} is already there, and nothing is overwritten"):
        export(tiny_base, {"spam": tiny_adapters["spam"]}, target)

    assert (snapshot(target.parent), target.lstat()) == before
    assert list(target.parent.iterdir()) == [target]


def test_everything_wrong_with_all_adapters_is_said_at_once(
    tiny_base: Path, tiny_adapters: dict[str, Path], tmp_path: Path
) -> None:
    adapters = {
        "gone": tmp_path / "gone",
        "other": altered(tiny_adapters["spam"], tmp_path / "prompts", peft_type="MULTITASK_PROMPT_TUNING"),
        "qalora": altered(tiny_adapters["spam"], tmp_path / "qalora", use_qalora=True),
        "fine": tiny_adapters["spam"],
    }

    message = refused(CheckpointError, tiny_base, adapters, tmp_path / "out")

    assert f"{tmp_path / 'gone'} is not a folder" in message
    assert f"{tmp_path / 'prompts'}: MULTITASK_PROMPT_TUNING is no change of weights" in message
    assert f"{tmp_path / 'qalora'} holds LoRA that can't be done exactly:\n  use_qalora = true" in message
    assert str(tiny_adapters["spam"]) not in message


def test_adapters_of_two_tasks_are_refused(tiny_base: Path, tiny_adapters: dict[str, Path], tmp_path: Path) -> None:
    adapters = {
        "spam": tiny_adapters["spam"],
        "other": altered(tiny_adapters["spam"], tmp_path / "other", task_type="TOKEN_CLS"),
    }

    message = refused(ConfigError, tiny_base, adapters, tmp_path / "out")

    assert message.startswith("The adapters were trained for text-classification and token-classification.\n")


HEADS = {
    "text-classification": ["classifier"],
    "fill-mask": ["cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions.decoder"],
}


@pytest.mark.parametrize("task", sorted(HEADS))
def test_weights_that_nobody_trained_are_named_and_never_shipped(task: str, tiny_base: Path, tmp_path: Path) -> None:
    """`from_pretrained` invents them: where the adapters don't bring them either, there is no such model."""
    folder = tiny.lora_adapter(tiny_base, tmp_path / "adapter", "feature-extraction")

    message = refused(BindingError, tiny_base, {"adapter": folder}, tmp_path / "out", task=task)

    assert [line for line in message.splitlines() if line.startswith("  ")] == [
        f"  {site}: the base has no weights here, and the adapter brings none (modules_to_save)" for site in HEADS[task]
    ]


def test_an_adapter_that_fails_the_gate_leaves_no_bundle(
    tiny_base: Path, tiny_adapters: dict[str, Path], tmp_path: Path
) -> None:
    adapters = {
        "spam": tiny_adapters["spam"],
        "zero": altered(tiny_adapters["intents"], tmp_path / "zero", zeroed),
    }

    message = refused(ParityError, tiny_base, adapters, tmp_path / "out")

    (problem,) = [line for line in message.splitlines() if line.startswith("  ")]
    assert problem.startswith("  zero: no effect: it moves the outputs by ")
    assert "--allow-no-effect" in problem
    assert message.endswith("Nothing was written.")


def test_an_adapter_without_effect_passes_where_it_may(
    tiny_base: Path, tiny_adapters: dict[str, Path], tmp_path: Path
) -> None:
    zero = altered(tiny_adapters["spam"], tmp_path / "zero", zeroed)

    exported = export(tiny_base, {"zero": zero}, tmp_path / "bundle", allow_no_effect=True)

    (report,) = [each for each in exported.reports if each.name == "zero"]
    assert report.no_effect
    record = bundle.read_adapter(exported.path / "adapters" / "zero").parity
    assert record is not None
    assert record.effect == 0


def test_a_full_disk_leaves_nothing(
    tiny_base: Path, tiny_adapters: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = assemble.write_base

    def full(*arguments: Any) -> None:
        whole(*arguments)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(assemble, "write_base", full)

    message = refused(BundleError, tiny_base, {"spam": tiny_adapters["spam"]}, tmp_path / "out")

    assert (
        message
        == f"The disk is full: {tmp_path / 'out' / 'bundle'} was not written.\nFree some space and run it again."
    )


KILLED = """
import os, signal, sys
from pathlib import Path
from edgeadapt.exporter import gate
from edgeadapt.exporter.pipeline import export
base, adapter, target = map(Path, sys.argv[1:])
gate.judge = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
export(base, {"spam": adapter}, target)
"""


def test_a_process_that_is_killed_half_way_leaves_no_bundle(
    tiny_base: Path, tiny_adapters: dict[str, Path], tmp_path: Path
) -> None:
    target = tmp_path / "bundle"
    command = [sys.executable, "-c", KILLED, str(tiny_base), str(tiny_adapters["spam"]), str(target)]

    done = subprocess.run(command, check=False, capture_output=True)

    assert done.returncode == -signal.SIGKILL, done.stderr
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".bundle.")
    assert left.name.endswith(".partial")
    assert (left / bundle.MANIFEST).is_file()  # it was half-way indeed

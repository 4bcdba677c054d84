"""Adapters' folders as they lie on disk: what is read, what is refused, and that a pickle runs nothing."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from peft.tuners.tuners_utils import check_target_module_exists
from safetensors.torch import load_file, save_file

from edgeadapt import methods
from edgeadapt.errors import CheckpointError, EdgeAdaptError, PickleError, UnsupportedError, listed
from edgeadapt.exporter import checkpoint as checkpoints
from tests.exporter import CONFIG, WEIGHTS, altered, snapshot

PICKLE = "adapter_model.bin"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"6" * 64 + b"\nsize 297000\n"


@pytest.fixture
def spam(tiny_adapters: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of the adapter, to change."""
    return altered(tiny_adapters["spam"], tmp_path / "spam")


def pickled(folder: Path, content: object) -> Path:
    """Turns the folder into one with a pickle in place of safetensors."""
    (folder / WEIGHTS).unlink()
    torch.save(content, folder / PICKLE)
    return folder


def refused(folder: Path, kind: type[EdgeAdaptError], allow_pickle: bool = False) -> str:
    """Returns the message with which the folder is refused, and sees that it stays as it is."""
    before = snapshot(folder)
    with pytest.raises(kind) as caught:
        checkpoints.reader(checkpoints.read(folder, allow_pickle=allow_pickle))
    assert type(caught.value) is kind
    assert snapshot(folder) == before
    return str(caught.value)


def test_an_adapter_is_read_as_it_was_saved(spam: Path) -> None:
    found = checkpoints.read(spam)

    expected = load_file(spam / WEIGHTS)
    assert found.tensors.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found.tensors[name].dtype == np.float32
        np.testing.assert_array_equal(found.tensors[name], tensor.numpy())
    assert found.config == json.loads((spam / CONFIG).read_text())
    assert found.labels is None
    assert checkpoints.reader(found)[0] == "lora"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64], ids=str)
def test_every_float_is_read_as_fp32_with_the_value_that_torch_gives_it(spam: Path, dtype: torch.dtype) -> None:
    rounded = {name: tensor.to(dtype) for name, tensor in load_file(spam / WEIGHTS).items()}
    save_file(rounded, spam / WEIGHTS)

    found = checkpoints.read(spam).tensors

    for name, tensor in rounded.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], tensor.float().numpy())


@pytest.mark.parametrize("file", [WEIGHTS, PICKLE])
def test_a_git_lfs_pointer_is_named_with_the_way_to_fetch_it(spam: Path, file: str) -> None:
    (spam / WEIGHTS).unlink()
    (spam / file).write_bytes(POINTER)

    message = refused(spam, CheckpointError)

    assert f"{spam / file} is a git-lfs pointer of {len(POINTER)} bytes, not weights." in message
    assert "git lfs pull" in message


def test_a_pickle_needs_permission(spam: Path) -> None:
    message = refused(pickled(spam, load_file(spam / WEIGHTS)), PickleError)

    assert f"{spam / PICKLE} is a pickle" in message
    assert "--allow-pickle" in message


def test_safetensors_beside_a_pickle_are_what_is_read(spam: Path) -> None:
    (spam / PICKLE).write_bytes(b"never opened")

    assert checkpoints.read(spam).tensors.keys() == load_file(spam / WEIGHTS).keys()


def test_a_pickle_with_permission_gives_the_same_arrays(spam: Path) -> None:
    tensors = load_file(spam / WEIGHTS)
    tensors = {name: tensor.bfloat16() if "lora_A" in name else tensor for name, tensor in tensors.items()}
    pickled(spam, tensors)

    found = checkpoints.read(spam, allow_pickle=True).tensors

    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], tensor.float().numpy())


class Malicious:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self.command,)


@pytest.mark.parametrize("plain", [False, True], ids=["inside a torch file", "a bare pickle"])
def test_a_malicious_pickle_runs_nothing_even_with_permission(spam: Path, tmp_path: Path, plain: bool) -> None:
    trace = tmp_path / "it ran"
    content = Malicious(f"touch '{trace}'")
    if plain:
        (spam / WEIGHTS).unlink()
        (spam / PICKLE).write_bytes(pickle.dumps(content))
    else:
        pickled(spam, {"weight": content})

    message = refused(spam, PickleError, allow_pickle=True)

    assert not trace.exists()
    assert f"{spam / PICKLE} can't be loaded as plain tensors: " in message
    pickle.loads(pickle.dumps(content))
    assert trace.exists()  # so it would have shown


def test_a_pickle_of_no_tensors_is_refused(spam: Path) -> None:
    folder = pickled(spam, {"weight": "text"})

    assert "can't be loaded as plain tensors" in refused(folder, PickleError, allow_pickle=True)


def test_a_pickle_is_read_by_another_process(spam: Path) -> None:
    pickled(spam, load_file(spam / WEIGHTS))
    script = (
        "import sys; from pathlib import Path; from edgeadapt.exporter import checkpoint\n"
        "assert checkpoint.read(Path(sys.argv[1]), allow_pickle=True).tensors\n"
        "assert 'torch' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", script, str(spam)], check=True)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda content: content[:-100],
    "header cut": lambda content: content[:20],
    "empty": lambda content: b"",
    "another format": lambda content: b"PK\x03\x04" + content,
    "header too long": lambda content: (1 << 60).to_bytes(8, "little") + content[8:],
}


@pytest.mark.parametrize("damage", sorted(DAMAGE))
def test_damaged_safetensors_are_refused(spam: Path, damage: str) -> None:
    content = (spam / WEIGHTS).read_bytes()
    (spam / WEIGHTS).write_bytes(DAMAGE[damage](content))

    message = refused(spam, CheckpointError)

    assert f"{spam / WEIGHTS} can't be read as safetensors: " in message
    assert message.endswith("Download or save it again.")


def test_all_tensors_with_nan_or_inf_are_named_and_counted(spam: Path) -> None:
    tensors = load_file(spam / WEIGHTS)
    first, second, *_ = sorted(tensors)
    tensors[first].view(-1)[:3] = torch.nan
    tensors[second].view(-1)[0] = -torch.inf
    save_file(tensors, spam / WEIGHTS)

    assert refused(spam, CheckpointError).splitlines() == [
        f"{spam} holds NaN or Inf:",
        f"  {first}: 3 of {tensors[first].numel()} values",
        f"  {second}: 1 of {tensors[second].numel()} values",
        "The training diverged; take an earlier checkpoint.",
    ]


def without(file: str) -> Callable[[Path], object]:
    return lambda folder: (folder / file).unlink()


def holding(content: str) -> Callable[[Path], object]:
    return lambda folder: (folder / CONFIG).write_text(content)


FOLDERS: list[tuple[Callable[[Path], object], str]] = [
    (without(WEIGHTS), f"holds no weights: neither {WEIGHTS} nor {PICKLE}"),
    (without(CONFIG), f"is not a PEFT adapter: it has no {CONFIG}"),
    (holding("{"), "is not JSON: "),
    (holding("[1]"), "got a JSON list, expected an object"),
]


@pytest.mark.parametrize(("change", "problem"), FOLDERS, ids=[problem for _, problem in FOLDERS])
def test_a_folder_that_is_no_adapter_is_refused(spam: Path, change: Callable[[Path], object], problem: str) -> None:
    change(spam)

    assert problem in refused(spam, CheckpointError)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere is not a folder\.\nGive the folder of a PEFT adapter"):
        checkpoints.read(tmp_path / "nowhere")


@pytest.mark.parametrize("kind", ["MULTITASK_PROMPT_TUNING", "NOT_YET_INVENTED", None])
def test_another_peft_type_is_refused_with_what_is_supported(spam: Path, kind: str | None) -> None:
    altered(spam, spam.with_name("other"), peft_type=kind)

    message = refused(spam.with_name("other"), UnsupportedError)

    supported = sorted(each for each in methods.readers() if each.isupper())
    assert f"PEFT type {kind!r} is not supported. Supported: {listed(supported)}." in message


OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"use_qalora": True}, "use_qalora = true: QALoRA pools the inputs"),
    ({"layer_replication": [[0, 2]]}, "layer_replication = [[0, 2]]: the base would need layers"),
    ({"target_parameters": ["experts.w"]}, 'target_parameters = ["experts.w"]: adapters on bare parameters'),
    ({"alora_invocation_tokens": [1, 2]}, "alora_invocation_tokens = [1, 2]: an activated LoRA"),
    ({"arrow_config": {"top_k": 3}}, 'arrow_config = {"top_k": 3}: Arrow routes'),
    ({"megatron_config": {"a": 1}}, 'megatron_config = {"a": 1}: Megatron'),
    ({"kasa_config": {"beta": 1}}, 'kasa_config = {"beta": 1}: KaSA takes the smallest singular values off'),
    ({"velora_config": {"scale": 1}}, 'velora_config = {"scale": 1}: VeLoRA keeps projections'),
    ({"monteclora_config": {"a": 1}}, 'monteclora_config = {"a": 1}: MonteCLoRA keeps a sampler'),
    ({"use_bdlora": {"nblocks": 2}}, 'use_bdlora = {"nblocks": 2}: BD-LoRA has matrices of blocks'),
    ({"use_next_years_trick": True}, "use_next_years_trick = true: edgeadapt does not know this option"),
    *(
        ({"init_lora_weights": init}, f"init_lora_weights = '{init}': this initialisation rewrites the base's weights")
        for init in ("pissa", "pissa_niter_16", "olora", "corda", "lora_ga")
    ),
    ({"init_lora_weights": "loftq"}, "init_lora_weights = 'loftq': LoftQ rewrites the base's weights, and PEFT can't"),
    ({"init_lora_weights": "next_years"}, "init_lora_weights = 'next_years': edgeadapt does not know what this does"),
    ({"rank_pattern": {"*query": 4}}, "rank_pattern: '*query' is no regular expression: nothing to repeat"),
    ({"target_modules": "(query"}, "target_modules: '(query' is no regular expression: missing )"),
    ({"alpha_pattern": ["query"]}, 'alpha_pattern = ["query"]: expected an object'),
    ({"lora_alpha": None}, "lora_alpha = null: expected a number"),
    ({"r": "8"}, 'r = "8": expected a number'),
]


@pytest.mark.parametrize(("config", "problem"), OPTIONS, ids=[problem for _, problem in OPTIONS])
def test_an_option_that_cant_be_done_exactly_is_refused_by_name(
    spam: Path, config: dict[str, Any], problem: str
) -> None:
    other = altered(spam, spam.with_name("other"), **config)

    headline, *problems = refused(other, UnsupportedError).splitlines()

    assert headline == f"{other} holds LoRA that can't be done exactly:"
    (line,) = problems
    assert line.startswith(f"  {problem}")


def test_all_refused_options_are_named_at_once(spam: Path) -> None:
    other = altered(spam, spam.with_name("other"), use_qalora=True, target_parameters=["w"], init_lora_weights="pissa")

    message = refused(other, UnsupportedError)

    assert all(option in message for option in ("use_qalora", "target_parameters", "init_lora_weights"))


@pytest.mark.parametrize(
    "config",
    [
        {"use_next_years_trick": False, "next_years_config": None, "next_years_list": []},
        {"use_dora": False, "layer_replication": None},
        {"loftq_config": {"loftq_bits": 4}, "corda_config": {"a": 1}, "lora_ga_config": {"scale": "stable"}},
        *({"init_lora_weights": init} for init in (True, False, "gaussian", "eva", "orthogonal", "mica")),
    ],
    ids=str,
)
def test_an_option_that_is_off_or_concerns_training_alone_is_no_matter(spam: Path, config: dict[str, Any]) -> None:
    other = altered(spam, spam.with_name("other"), **config)

    assert checkpoints.reader(checkpoints.read(other))[0] == "lora"


def test_every_option_of_peft_is_understood_or_off_by_default(spam: Path) -> None:
    config = {key: value for key, value in peft.LoraConfig().to_dict().items() if key != "peft_type"}

    checkpoint = checkpoints.read(altered(spam, spam.with_name("other"), **json.loads(json.dumps(config, default=str))))

    assert checkpoints.reader(checkpoint)[0] == "lora"


def test_a_folder_that_holds_adapters_below_it_names_them(spam: Path, tmp_path: Path) -> None:
    """PEFT saves every adapter but the one called `default` in a folder of its own."""
    shutil.copytree(spam, tmp_path / "several" / "formal")

    assert "There are adapters in formal below it" in refused(tmp_path / "several", CheckpointError)


def test_labels_come_in_the_order_of_their_numbers(spam: Path) -> None:
    names = {str(number): f"class {number}" for number in (10, 2, 0, 1, *range(3, 10))}
    (spam / "config.json").write_text(json.dumps({"id2label": names}))

    assert checkpoints.read(spam).labels == tuple(f"class {number}" for number in range(11))


@pytest.mark.parametrize(
    "content", ['{"id2label": {"0": "a", "2": "b"}}', '{"id2label": {"a": 0}}', '{"id2label": [1]}', "[]", "{"]
)
def test_labels_that_have_no_order_are_refused(spam: Path, content: str) -> None:
    (spam / "config.json").write_text(content)

    assert f"{spam / 'config.json'} doesn't name labels 0 to n-1: " in refused(spam, CheckpointError)


@pytest.mark.parametrize("content", ["{}", '{"id2label": null}', '{"id2label": {}}'])
def test_a_configuration_without_labels_names_none(spam: Path, content: str) -> None:
    (spam / "config.json").write_text(content)

    assert checkpoints.read(spam).labels is None


MODULES = [
    "query",
    "xquery",
    "layers.0.query",
    "layers.1.xquery",
    "bert.encoder.layer.0.attention.self.query",
    "bert.encoder.layer.1.attention.self.value",
    "bert.encoder.layer.10.output.dense",
    "bert.pooler.dense",
    "classifier",
    "classifier.dense",
    "pre_classifier",
    "swin.encoder.layers.1.blocks.0.attention.self.query",
]
SELECTIONS: list[dict[str, Any]] = [
    {"target_modules": ["query", "dense"]},
    {"target_modules": ["self.query", "layers.0.query"]},
    {"target_modules": r".*\.(query|value)"},
    {"target_modules": "query"},
    {"target_modules": ["query", "dense", "value"], "layers_to_transform": [0, 10]},
    {"target_modules": ["query", "dense", "value"], "layers_to_transform": 1},
    {"target_modules": ["query", "value"], "layers_to_transform": [0], "layers_pattern": "layer"},
    {"target_modules": ["query", "value"], "layers_to_transform": [0, 1], "layers_pattern": ["blocks", "layers"]},
    {"target_modules": ["query", "dense"], "exclude_modules": ["self.query", "pooler.dense"]},
    {"target_modules": ["query", "dense"], "exclude_modules": r"bert\..*"},
    {"target_modules": ["query", "dense", "classifier"], "modules_to_save": ["classifier", "pooler"]},
]


@pytest.mark.parametrize("selection", SELECTIONS, ids=str)
def test_a_configuration_selects_the_modules_that_peft_selects(selection: dict[str, Any]) -> None:
    config = peft.LoraConfig(**selection)

    expected = {module: bool(check_target_module_exists(config, module)) for module in MODULES}

    assert {module: checkpoints.targets(selection, module) for module in MODULES} == expected
    assert len(set(expected.values())) == 2


@pytest.mark.parametrize("wanted", [None, "all-linear", "All-Linear", []])
def test_a_configuration_that_names_no_modules_tells_nothing(wanted: str | list[str] | None) -> None:
    assert checkpoints.targets({"target_modules": wanted}, "query") is None

"""Where AdapterHub's configurations put their tensors: nothing is missing, spare, or read with another's options."""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeadapt.errors import CheckpointError
from edgeadapt.exporter import adapterhub, folders
from edgeadapt.exporter.adapterhub_places import PLACES
from edgeadapt.exporter.pipeline import export
from tests import hub, tiny
from tests.exporter.test_adapterhub_folders import folder_of, save
from tests.tiny import HIDDEN, LAYERS

LIBRARY = pytest.mark.skipif(
    importlib.util.find_spec("adapters") is None, reason="AdapterHub's library is not there (it needs transformers 4)"
)
MAX_ERROR = 1e-5
LEAST_EFFECT = 0.05

UNIONS: dict[str, list[dict[str, Any]]] = {
    "two widths": [
        {"mh_adapter": True, "output_adapter": False, "reduction_factor": 4},
        {"mh_adapter": False, "output_adapter": True, "reduction_factor": 2},
    ],
    "two activations": [
        {"mh_adapter": True, "output_adapter": False, "reduction_factor": 4, "non_linearity": "gelu"},
        {"mh_adapter": False, "output_adapter": True, "reduction_factor": 4, "scaling": 2.0},
    ],
    "layer by layer": [
        {"leave_out": [0], "reduction_factor": 4, "non_linearity": "tanh"},
        {"leave_out": [1], "reduction_factor": 2, "original_ln_before": False},
    ],
}


@LIBRARY
@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_each_bottleneck_of_a_union_has_options_of_its_own(family: str, tmp_path: Path) -> None:
    adapters: Any = importlib.import_module("adapters")
    base = tiny.base(tmp_path / "base", family)
    made = {}
    for seed, (name, members) in enumerate(UNIONS.items()):
        union = adapters.ConfigUnion(*(adapters.SeqBnConfig(**member) for member in members))
        made[name.replace(" ", "_")] = hub.adapter(base, tmp_path / name, union, seed)

    result = export(base, made, tmp_path / "bundle", task="feature-extraction")

    for report in result.reports:
        assert report.max_abs_error <= MAX_ERROR, report
        assert report.name == "none" or report.effect >= LEAST_EFFECT, report


@LIBRARY
@pytest.mark.parametrize("family", PLACES)
def test_the_places_are_where_the_library_puts_tensors(family: str, tmp_path: Path) -> None:
    """Every option alone: reading refuses what it finds elsewhere, and what it doesn't find."""
    adapters: Any = importlib.import_module("adapters")
    base = tiny.base(tmp_path / "base", family)
    chosen: dict[str, Any] = {
        place: adapters.DoubleSeqBnConfig(**{"reduction_factor": 4, place: False})
        for place in ("mh_adapter", "output_adapter")
    }
    chosen |= {part: adapters.LoRAConfig(r=2, attn_matrices=[part]) for part in "qkv"}
    for place in ("intermediate_lora", "output_lora"):
        chosen[place] = adapters.LoRAConfig(**{"r": 2, "selfattn_lora": False, place: True})

    for name, config in chosen.items():
        made = hub.adapter(base, tmp_path / name, config)
        assert folders.read(made).tensors


def lora_of(path: Path, change: Callable[[dict[str, Any]], None] | None = None, **options: Any) -> Path:
    """Writes a LoRA on query and value of the tiny BERT, as AdapterHub names things, with its tensors changed."""
    generator = np.random.default_rng(0)
    tensors: dict[str, Any] = {
        f"encoder.layer.{layer}.attention.self.{part}.loras.own.{name}": generator.normal(0, 0.3, shape)
        for layer in range(LAYERS)
        for part in ("query", "value")
        for name, shape in {"lora_A": (2, HIDDEN), "lora_B": (HIDDEN, 2)}.items()
    }
    if change is not None:
        change(tensors)
    path.mkdir()
    save(path / adapterhub.WEIGHTS, tensors)
    config = {"architecture": "lora", "r": 2, "alpha": 2, "attn_matrices": ["q", "v"], **options}
    (path / "adapter_config.json").write_text(json.dumps({"config": config, "model_type": "bert", "name": "own"}))
    return path


def test_a_lora_where_its_configuration_has_it_is_read(tmp_path: Path) -> None:
    assert len(folders.read(lora_of(tmp_path / "own")).tensors) == 4 * LAYERS


ELSEWHERE: dict[str, tuple[dict[str, Any], str]] = {
    "value asked for no more": ({"attn_matrices": ["q"]}, "self.value: has a LoRA, but its configuration doesn't ask"),
    "key asked for": (
        {"attn_matrices": ["q", "k", "v"]},
        r"attention\.self\.key: has no LoRA in any layer, but its configuration asks for it \(k\)",
    ),
    "nothing in the attention": ({"selfattn_lora": False}, "self.query: has a LoRA, but its configuration doesn't ask"),
    "feed-forward asked for": ({"intermediate_lora": True}, r"intermediate\.dense: has no LoRA .*intermediate_lora"),
    "output asked for": ({"output_lora": True}, r"output\.dense: has no LoRA .*output_lora"),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_lora_elsewhere_than_its_configuration_says_is_refused(name: str, tmp_path: Path) -> None:
    options, told = ELSEWHERE[name]

    with pytest.raises(CheckpointError, match=told):
        folders.read(lora_of(tmp_path / "own", **options))


def test_a_bottleneck_of_which_a_whole_kind_is_missing_is_refused(tmp_path: Path) -> None:
    """The layers alone don't show it: no attention has one."""
    folder = folder_of(tmp_path / "own", head=False, mh_adapter=True)

    with pytest.raises(CheckpointError, match=r"attention\.output\.dense: has no bottleneck in any layer.*mh_adapter"):
        folders.read(folder)


def test_a_module_that_two_parts_of_a_union_ask_for_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "own", head=False)
    record = json.loads((folder / "adapter_config.json").read_text())
    record["config"] = {"architecture": "union", "configs": [record["config"], record["config"]]}
    (folder / "adapter_config.json").write_text(json.dumps(record))

    with pytest.raises(CheckpointError, match="several parts of its configuration ask for it"):
        folders.read(folder)

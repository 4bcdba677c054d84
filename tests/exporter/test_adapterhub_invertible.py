"""AdapterHub's invertible adapters (MAD-X) against the live `adapters` library, alone and under a task's adapter."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from edgeadapt.errors import BindingError, EdgeAdaptError
from edgeadapt.exporter.pipeline import export
from tests import hub, tiny
from tests.exporter.test_adapterhub import check, config

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("adapters") is None, reason="AdapterHub's library is not there (it needs transformers 4)"
)

INVERTIBLE: dict[str, tuple[str, dict[str, Any]]] = {
    "seq_bn_inv": ("SeqBnInvConfig", {"reduction_factor": 4}),
    "double_seq_bn_inv": (
        "DoubleSeqBnInvConfig",
        {"reduction_factor": 2, "non_linearity": "gelu", "inv_adapter_reduction_factor": 3},
    ),
}


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "albert", "electra", "deberta-v2", "llama"])
def test_an_invertible_adapter_says_what_adapters_says(family: str, tmp_path: Path) -> None:
    """Each alone, mixed with the other, a LoRA, and a task's adapter stacked on it, and folded."""
    base = tiny.base(tmp_path / "base", family)
    made = {name: hub.adapter(base, tmp_path / name, config(kind, **own)) for name, (kind, own) in INVERTIBLE.items()}
    made["lora"] = hub.adapter(base, tmp_path / "lora", config("LoRAConfig", r=3), seed=9)
    members = {"language": config("SeqBnInvConfig"), "task": config("SeqBnConfig"), "other": config("SeqBnInvConfig")}
    made["mad_x"] = hub.setup(base, tmp_path / "mad_x", members, ("Stack", "language", "task", "other"), seed=5)

    check(base, made, tmp_path / "bundle")


def test_an_invertible_adapter_brings_its_head(tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base")
    head = {"num_labels": 3}

    check(
        base,
        {"made": hub.adapter(base, tmp_path / "made", config("SeqBnInvConfig"), head=head)},
        tmp_path / "bundle",
        "text-classification",
    )


def test_transformers_own_language_model_runs_no_inverse(tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base", task="fill-mask")

    made = {name: hub.adapter(base, tmp_path / name, config("SeqBnInvConfig"), seed) for seed, name in enumerate("ab")}
    check(base, made, tmp_path / "bundle", "fill-mask")


def refused(base: Path, folder: Path, error: type[EdgeAdaptError], words: str, task: str) -> None:
    with pytest.raises(error, match=words):
        export(base, {"made": folder}, folder.with_name("bundle"), task=task)
    assert not folder.with_name("bundle").exists()


def test_an_inverse_that_adapterhubs_own_head_would_run_is_refused(tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base", task="fill-mask")
    folder = hub.adapter(base, tmp_path / "made", config("SeqBnInvConfig"))
    rewrite(folder, lambda record: record.update(model_class="BertAdapterModel"))

    refused(base, folder, BindingError, "trained in a BertAdapterModel, whose own head runs its inverse", "fill-mask")


def test_a_glow_block_is_refused(tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base")
    folder = hub.adapter(base, tmp_path / "made", config("SeqBnInvConfig", inv_adapter="glow"))

    refused(base, folder, BindingError, "inv_adapter = 'glow': adapters 1.3.0 can't run it", "feature-extraction")


def test_a_base_without_a_module_of_embeddings_is_refused(tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base", "gpt2")
    folder = hub.adapter(base, tmp_path / "made", config("SeqBnInvConfig"))

    refused(base, folder, BindingError, "gpt2: no module gives what comes after the embeddings", "feature-extraction")


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    base = tiny.base(tmp_path / "base")
    folder = hub.adapter(base, tmp_path / "made", config("SeqBnInvConfig"))
    path = folder / "adapter.safetensors"
    save_file({name: each for name, each in load_file(path).items() if not name.endswith("G.2.bias")}, path)

    refused(
        base, folder, BindingError, r"an invertible adapter: got (.*), expected (.*)G\.2\.bias", "feature-extraction"
    )


def rewrite(folder: Path, change: Any) -> None:
    path = folder / "adapter_config.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))

"""AdapterHub's prompt tuning against the live `adapters` library, and why most architectures refuse it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from edgeadapt.errors import BindingError, UnsupportedError
from edgeadapt.exporter import folders
from edgeadapt.exporter.pipeline import export
from tests import hub, tiny
from tests.exporter.test_adapterhub import check, config

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("adapters") is None, reason="AdapterHub's library is not there (it needs transformers 4)"
)

POSITIONS = 160  # the longest samples, and a prompt


def test_prompts_say_what_adapters_says(tmp_path: Path) -> None:
    """Each alone, mixed with one of another length, with a bottleneck and a PEFT prompt, and folded."""
    import peft

    base = tiny.base(tmp_path / "base", "electra", embedding_size=32, max_position_embeddings=POSITIONS)
    made = {
        "short": hub.adapter(base, tmp_path / "short", config("PromptTuningConfig", prompt_length=2)),
        "long": hub.adapter(base, tmp_path / "long", config("PromptTuningConfig", prompt_length=7), seed=1),
        "bottleneck": hub.adapter(base, tmp_path / "bottleneck", config("SeqBnConfig", reduction_factor=4), seed=2),
    }
    prompt = peft.PromptTuningConfig(task_type="FEATURE_EXTRACTION", num_virtual_tokens=3)
    made["peft"] = tiny.peft_adapter(base, tmp_path / "peft", prompt, "feature-extraction", seed=3)

    check(base, made, tmp_path / "bundle")


@pytest.mark.parametrize(
    ("task", "head"),
    [
        ("text-classification", {"num_labels": 3, "activation_function": "gelu"}),
        ("token-classification", {"kind": "tagging", "num_labels": 5}),
        ("question-answering", {"kind": "qa"}),
    ],
)
def test_a_prompt_brings_its_head(task: str, head: dict[str, object], tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base", "electra", max_position_embeddings=POSITIONS)
    made = hub.adapter(base, tmp_path / "made", config("PromptTuningConfig", prompt_length=4), head=dict(head))

    check(base, {"made": made}, tmp_path / "bundle", task)


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "albert", "deberta-v2"])
def test_a_base_whose_padding_changes_a_prompt_refuses_it(family: str, tmp_path: Path) -> None:
    import torch
    import transformers

    import adapters

    base = tiny.base(tmp_path / "base", family)
    made = hub.adapter(base, tmp_path / "made", config("PromptTuningConfig", prompt_length=3))

    told = "adds 1 to a prompt's scores" if family == "distilbert" else "lets a prompt attend to the padding of its row"
    with pytest.raises(BindingError, match=told):
        export(base, {"made": made}, tmp_path / "bundle", task="feature-extraction")

    model = transformers.AutoModel.from_pretrained(base)
    adapters.init(model)  # type: ignore[attr-defined]
    model.set_active_adapters(model.load_adapter(str(made), use_safetensors=True))
    model.eval()
    ids = torch.arange(5, 17).reshape(2, 6)
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    with torch.no_grad():
        alone = model(ids[1:, :4], attention_mask=mask[1:, :4]).last_hidden_state[0]
        beside = model(ids, attention_mask=mask).last_hidden_state[1, : len(alone)]
    assert float((alone - beside).abs().max()) > 0.01


def test_a_prompt_behind_the_first_token_is_refused(tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base", "electra")
    made = hub.adapter(base, tmp_path / "made", config("PromptTuningConfig", combine="prefix_after_bos"))

    with pytest.raises(BindingError, match="combine = 'prefix_after_bos': only 'prefix' is supported"):
        export(base, {"made": made}, tmp_path / "bundle", task="feature-extraction")


def test_a_prompt_may_be_first_in_a_stack_and_nowhere_else(tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base", "electra", max_position_embeddings=POSITIONS)
    members = {"a": config("PromptTuningConfig", prompt_length=4), "b": config("SeqBnConfig", reduction_factor=4)}
    found = {
        "made": hub.setup(base, tmp_path / "made", members, ("Stack", "a", "b")),
        "lora": hub.adapter(base, tmp_path / "lora", config("LoRAConfig", r=3), seed=9),
    }

    check(base, found, tmp_path / "bundle")

    with pytest.raises(UnsupportedError, match=r"a: a prompt that isn't first, which adapters 1\.3\.0 leaves out"):
        folders.read(hub.setup(base, tmp_path / "other", members, ("Stack", "b", "a")))

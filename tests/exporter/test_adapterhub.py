"""AdapterHub's folders against the live `adapters` library: every flag of a bottleneck, compacters, LoRAs, heads."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from edgeadapt.errors import BindingError, CheckpointError
from edgeadapt.exporter.merging import merge
from edgeadapt.exporter.pipeline import export
from tests import hub, tiny

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("adapters") is None, reason="AdapterHub's library is not there (it needs transformers 4)"
)

MAX_ERROR = 1e-5
LEAST_EFFECT = 0.05
FAMILIES = (
    "bert", "bert-generation", "roberta", "distilbert", "albert", "electra", "deberta-v2", "gpt2", "llama", "mistral",
    "vit", "beit",
)  # fmt: skip
QUIET: dict[str, dict[str, Any]] = {"llama": {"initializer_range": 0.1}, "mistral": {"initializer_range": 0.1}}
"""What keeps the numbers of a family small that normalises before its sublayers only, and adds up what they give."""
UNSCALED: dict[str, dict[str, Any]] = {**QUIET, "beit": {"layer_scale_init_value": 0.0, "initializer_range": 0.01}}
"""What makes a sublayer of a family end in a linear layer, and in nothing after it."""


def config(name: str, **options: Any) -> Any:
    import adapters

    return getattr(adapters, name)(**options)


BOTTLENECKS: dict[str, tuple[str, dict[str, Any]]] = {
    "seq_bn": ("SeqBnConfig", {"reduction_factor": 4}),
    "double_seq_bn": ("DoubleSeqBnConfig", {"reduction_factor": 2}),
    "par_bn": ("ParBnConfig", {"reduction_factor": 4}),
    "scaled_par_bn": ("ParBnConfig", {"reduction_factor": 4, "scaling": "learned"}),
    "adapter_plus": ("AdapterPlusConfig", {"reduction_factor": 4, "stochastic_depth": 0.0}),
    "norms": ("DoubleSeqBnConfig", {"ln_before": True, "ln_after": True, "scaling": "channel"}),
    "residual_before_norm": ("SeqBnConfig", {"ln_after": True, "adapter_residual_before_ln": True}),
    "residual_after": ("SeqBnConfig", {"residual_before_ln": False}),
    "gated": ("DoubleSeqBnConfig", {"use_gating": True, "non_linearity": "gelu_new"}),
    "layers": ("SeqBnConfig", {"reduction_factor": {"0": 4, "default": 2}, "non_linearity": "tanh"}),
    "left_out": ("DoubleSeqBnConfig", {"leave_out": [0]}),
}


def check(base: Path, adapters: dict[str, Path], folder: Path, task: str = "feature-extraction") -> None:
    """Exports the adapters into one bundle and looks at the errors of every one, of mixed rows, and of its fold."""
    result = export(base, adapters, folder, task=task, allow_pickle=True)

    assert [report.name for report in result.reports][1:] == [*adapters, *(["mixed rows"] if len(adapters) > 1 else [])]
    for report in result.reports:
        assert report.max_abs_error <= MAX_ERROR, report
        if report.name != "none":
            assert report.effect >= LEAST_EFFECT, report
            assert report.max_abs_error < 0.001 * report.effect
    for name in adapters:
        (folded,) = merge(result.path, [name], folder.with_name(f"{name}.onnx"), mode="fold")
        assert folded.max_abs_error <= MAX_ERROR


@pytest.mark.parametrize("family", FAMILIES)
def test_bottlenecks_say_what_adapters_says(family: str, tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base", family, **UNSCALED.get(family, {}))
    chosen = {name: config(kind, **options) for name, (kind, options) in BOTTLENECKS.items()}
    if family == "albert":
        del chosen["left_out"]  # its layers share all weights
    made = {name: hub.adapter(base, tmp_path / name, each, seed) for seed, (name, each) in enumerate(chosen.items())}

    check(base, made, tmp_path / "bundle")


WEIGHTS: dict[str, tuple[str, dict[str, Any]]] = {
    "lora": ("LoRAConfig", {"r": 3, "alpha": 6, "attn_matrices": ["q", "k"], "intermediate_lora": True}),
    "ia3": ("IA3Config", {"alpha": 2}),
    "dora": ("DoRAConfig", {"r": 2, "alpha": 6}),
    "gated": ("LoRAConfig", {"r": 2, "attn_matrices": ["q", "v"], "use_gating": True, "output_lora": True}),
    "gated_ia3": ("IA3Config", {"alpha": 2, "use_gating": True}),
    "gated_dora": ("DoRAConfig", {"r": 2, "alpha": 6, "use_gating": True}),
    "of_one_task": ("MTLLoRAConfig", {"r": 3, "alpha": 6, "n_up_projection": 2, "weights_sharpness": 0.5}),
    "gated_of_one_task": ("MTLLoRAConfig", {"r": 3, "n_up_projection": 3, "use_gating": True, "output_lora": True}),
    "unipelt": ("UniPELTConfig", {}),
}


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama", "vit", "beit"])
def test_changes_of_weights_say_what_adapters_says(family: str, tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base", family, **QUIET.get(family, {}))
    chosen = {name: config(kind, **options) for name, (kind, options) in WEIGHTS.items()}
    if family == "gpt2":  # the library can't put these on a layer of query, key and value
        for name in ("dora", "gated_dora", "of_one_task", "gated_of_one_task"):
            del chosen[name]
    if family == "beit":
        del chosen["gated_of_one_task"]  # its layers' scale leaves too little of it to see
    if family in ("gpt2", "llama", "beit"):
        del chosen["unipelt"]  # the library masks its prefixes wrongly there; BEiT scales what its bottlenecks are for
    made = {name: hub.adapter(base, tmp_path / name, each, seed) for seed, (name, each) in enumerate(chosen.items())}

    check(base, made, tmp_path / "bundle")


def test_a_bottleneck_of_what_is_scaled_is_refused(tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base", "beit")
    made = hub.adapter(base, tmp_path / "made", config("SeqBnConfig", reduction_factor=4))

    with pytest.raises(BindingError, match=r"layer\.0\.output\.dense: what leaves it is not only added to a residual"):
        export(base, {"made": made}, tmp_path / "bundle", task="feature-extraction")
    assert not (tmp_path / "bundle").exists()


def test_what_the_library_itself_cant_run_is_refused(tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base", "beit", use_relative_position_bias=True)
    made = hub.adapter(base, tmp_path / "made", config("PrefixTuningConfig", flat=True, prefix_length=3))

    with pytest.raises(CheckpointError, match=r"adapters loads .*, and can't run it"):
        export(base, {"made": made}, tmp_path / "bundle", task="feature-extraction", allow_pickle=True)
    assert not (tmp_path / "bundle").exists()


SHARED: dict[str, tuple[str, dict[str, Any]]] = {
    "compacter": ("CompacterConfig", {"reduction_factor": 4}),
    "compacter++": ("CompacterPlusPlusConfig", {"reduction_factor": 8, "factorized_phm_rule": True}),
    "own_rules": ("CompacterConfig", {"reduction_factor": 4, "shared_phm_rule": False, "factorized_phm_W": False}),
    "shared_W": ("CompacterPlusPlusConfig", {"reduction_factor": 4, "shared_W_phm": True}),
    "vera": ("VeraConfig", {"r": 3}),
    "gated_vera": ("VeraConfig", {"r": 3, "use_gating": True}),
    "dvora": ("DvoRAConfig", {"r": 3}),
}


@pytest.mark.parametrize("name", SHARED)
def test_what_all_modules_share_is_multiplied_out(name: str, tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base")
    kind, options = SHARED[name]
    made = hub.adapter(base, tmp_path / "made", config(kind, **options), head={"num_labels": 3})

    check(base, {"made": made}, tmp_path / "bundle", "text-classification")


HEADS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "bert, pooled": ("bert", "text-classification", {"layers": 1, "use_pooler": True, "num_labels": 3}),
    "bert, two layers": ("bert", "text-classification", {"num_labels": 3}),
    "roberta": ("roberta", "text-classification", {"num_labels": 1}),
    "distilbert": ("distilbert", "text-classification", {"num_labels": 3, "activation_function": "relu"}),
    "deberta": ("deberta-v2", "text-classification", {"num_labels": 3, "activation_function": "gelu"}),
    "several labels": ("bert", "text-classification", {"num_labels": 3, "multilabel": True}),
    "tagging": ("bert", "token-classification", {"kind": "tagging", "num_labels": 5}),
    "answers": ("roberta", "question-answering", {"kind": "qa"}),
    "images": ("vit", "image-classification", {"kind": "image_classification", "num_labels": 4, "layers": 1}),
}


@pytest.mark.parametrize("name", HEADS)
def test_a_head_of_adapterhub_is_transformers_own(name: str, tmp_path: Path) -> None:
    """The reference runs AdapterHub's head; the bundle has its layers in the place of the base's."""
    family, task, options = HEADS[name]
    base = tiny.base(tmp_path / "base", family)
    made = hub.adapter(base, tmp_path / "made", config("SeqBnConfig", reduction_factor=4), head=options)

    check(base, {"made": made}, tmp_path / "bundle", task)

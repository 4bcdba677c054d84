"""Options of PEFT that decide what its tensors mean, and checkpoints that say other than their configuration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
import transformers

from edgeadapt.errors import BindingError, UnsupportedError
from edgeadapt.exporter.pipeline import export
from tests import tiny
from tests.exporter import Tensors, altered
from tests.exporter.classifiers import bound

MAX_ERROR = 1e-5
LEAST_EFFECT = 0.05
TARGETS = ["query", "value"]
QUERY = "bert.encoder.layer.0.attention.self.query"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.base(tmp_path_factory.mktemp("options") / "base")


def converted(base: Path, folder: Path, initialisation: Any, **options: Any) -> Path:
    """Trains a LoRA that rewrites the base's weights, and lets PEFT save it as one that doesn't."""
    config = peft.LoraConfig(r=4, lora_alpha=6, init_lora_weights=initialisation, target_modules=TARGETS, **options)
    torch.manual_seed(0)
    with tiny.quiet():
        model = peft.get_peft_model(transformers.AutoModel.from_pretrained(base), config)
    config.init_lora_weights = True
    model.save_pretrained(str(folder / "first"))
    config.init_lora_weights = initialisation
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(str(folder / "last"), path_initial_model_for_weight_conversion=str(folder / "first"))
    return folder / "last"


def minor_components(base: Path, folder: Path) -> Path:
    """Trains MiCA, which has A alone trained, from zero."""
    config = peft.LoraConfig(r=4, init_lora_weights="mica", target_modules=TARGETS)
    adapter = tiny.peft_adapter(base, folder / "untrained", config, "feature-extraction")
    generator = np.random.default_rng(0)

    def train(tensors: Tensors) -> Tensors:
        return {
            name: generator.normal(0, 0.3, each.shape).astype(np.float32) if "lora_A" in name else each
            for name, each in tensors.items()
        }

    return altered(adapter, folder / "mica", train)


@pytest.mark.filterwarnings("ignore:(PiSSA|OLoRA|`lora_ga_config`|.*second adapter)")
def test_initialisations_that_leave_or_give_back_the_base_say_what_peft_says(base: Path, tmp_path: Path) -> None:
    adapters = {
        "pissa": converted(base, tmp_path / "pissa", "pissa", lora_ga_config=peft.LoraGAConfig()),
        "pissa-rs": converted(base, tmp_path / "rs", "pissa_niter_4", use_rslora=True),
        "olora": converted(base, tmp_path / "olora", "olora"),
        "mica": minor_components(base, tmp_path),
    }

    result = export(base, adapters, tmp_path / "bundle", task="feature-extraction")

    for report in result.reports:
        assert report.max_abs_error <= MAX_ERROR, report
        assert report.name == "none" or report.effect >= LEAST_EFFECT, report


@pytest.mark.parametrize("config", [peft.LoHaConfig, peft.LoKrConfig])
def test_what_concerns_convolutions_alone_changes_no_linear_layer(
    config: Callable[..., peft.PeftConfig], base: Path, tmp_path: Path
) -> None:
    options = config(r=2, target_modules=TARGETS, use_effective_conv2d=True)
    adapter = tiny.peft_adapter(base, tmp_path / "one", options, "feature-extraction")

    result = export(base, {"one": adapter}, tmp_path / "bundle", task="feature-extraction")

    (report,) = (report for report in result.reports if report.name == "one")
    assert report.max_abs_error <= MAX_ERROR
    assert report.effect >= LEAST_EFFECT


OTHERS: dict[str, tuple[peft.PeftConfig, dict[str, Any], str]] = {
    "loha": (peft.LoHaConfig(r=4, target_modules=TARGETS), {"r": 2}, "has a LoHa of rank 4, but the"),
    "lokr": (peft.LoKrConfig(r=2, target_modules=TARGETS), {"r": 4}, "has a LoKr of rank 2, but the"),
    "vera": (peft.VeraConfig(r=8, target_modules=TARGETS), {"r": 4}, "has a VeRA of rank 8, but the"),
}


@pytest.mark.parametrize("method", OTHERS)
def test_another_rank_than_the_configuration_has_is_refused(
    method: str, tiny_base: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    config, change, problem = OTHERS[method]
    config.task_type = "SEQ_CLS"
    adapter = tiny.peft_adapter(tiny_base, tmp_path / "right", config, "text-classification", 3)
    assert bound(tiny_bundle, adapter).method == method

    with pytest.raises(BindingError, match=f"{QUERY}: {problem} configuration says {change['r']}"):
        bound(tiny_bundle, altered(adapter, tmp_path / "wrong", **change))


@pytest.mark.filterwarnings("ignore:Unsupported layer type .*LayerNorm")
def test_norms_that_should_be_there_and_are_not_are_named(tiny_base: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    """PEFT loads such a checkpoint with a warning, and leaves these norms as the base has them."""
    config = peft.LNTuningConfig(target_modules=["LayerNorm"], task_type="SEQ_CLS")
    adapter = tiny.peft_adapter(tiny_base, tmp_path / "all", config, "text-classification", 3)
    assert bound(tiny_bundle, adapter).method == "ln_tuning"

    def drop(tensors: Tensors) -> Tensors:
        return {name: each for name, each in tensors.items() if "layer.1.output" not in name}

    with pytest.raises(BindingError, match=r"layer\.1\.output\.LayerNorm: got no LN tuning, but the configuration"):
        bound(tiny_bundle, altered(adapter, tmp_path / "some", drop))


def test_an_option_that_this_peft_leaves_out_is_refused(base: Path, tmp_path: Path) -> None:
    """PEFT warns of an option that it doesn't have, and says what the adapter says without it."""
    config = peft.HRAConfig(r=4, target_modules=TARGETS)
    adapter = tiny.peft_adapter(base, tmp_path / "one", config, "feature-extraction")
    newer = altered(adapter, tmp_path / "newer", next_years_trick=True, next_years_other=None)

    with pytest.raises(UnsupportedError) as caught:
        export(base, {"one": newer}, tmp_path / "bundle", task="feature-extraction")
    assert str(caught.value).splitlines()[1:] == ["  next_years_trick = true", "Install the PEFT that saved it."]


def test_an_adapter_on_a_convolution_is_refused_as_such(tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base", "vit")
    adapter = tiny.lora_adapter(base, tmp_path / "one", "feature-extraction", targets=["projection"])

    with pytest.raises(BindingError, match=r"patch_embeddings\.projection: is no linear layer, embedding or norm"):
        export(base, {"one": adapter}, tmp_path / "bundle", task="feature-extraction")

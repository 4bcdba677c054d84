"""The rest of the methods of PEFT that change weights: alone, mixed, blended, folded and added, against live PEFT."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import edgeadapt
from edgeadapt.exporter import base as bases
from edgeadapt.exporter.adding import add
from edgeadapt.exporter.merging import merge
from edgeadapt.exporter.pipeline import export
from tests import tiny
from tests.exporter.test_peft_methods import BASES, LEAST_EFFECT, MAX_ERROR

EMBEDDINGS = {"bert": "word_embeddings", "gpt2": "wte", "llama": "embed_tokens"}
"""Model type to its table of tokens; an encoder of images has none."""


def adalora(family: str, seed: int) -> peft.PeftConfig:
    return peft.AdaLoraConfig(
        init_r=3 + seed,
        lora_alpha=8 * seed,
        target_modules=BASES[family]["attention"] + BASES[family]["in"],
        total_step=10,
        fan_in_fan_out=family == "gpt2",
    )


def oft(family: str, seed: int) -> peft.PeftConfig:
    """The series with blocks of 4, or Cayley's formula with blocks of 8."""
    targets = BASES[family]["attention"] + BASES[family]["out"]
    return peft.OFTConfig(oft_block_size=8 if seed else 4, use_cayley_neumann=not seed, target_modules=targets)


def boft(family: str, seed: int) -> peft.PeftConfig:
    return peft.BOFTConfig(boft_block_size=8 - 4 * seed, target_modules=BASES[family]["attention"])


def dora_of_tokens(family: str, seed: int) -> peft.PeftConfig:
    targets = [EMBEDDINGS[family], *BASES[family]["attention"]]
    return peft.LoraConfig(r=2 + seed, use_dora=True, target_modules=targets, fan_in_fan_out=family == "gpt2")


def trained_tokens(family: str, seed: int) -> peft.PeftConfig:
    return peft.TrainableTokensConfig(token_indices=[5 + seed, 90, 0, *range(40, 80)])


def lora_with_tokens(family: str, seed: int) -> peft.PeftConfig:
    tokens = list(range(40, 80 + seed))
    return peft.LoraConfig(
        r=2 + seed,
        target_modules=BASES[family]["attention"],
        trainable_token_indices={EMBEDDINGS[family]: tokens} if seed else tokens,
        fan_in_fan_out=family == "gpt2",
    )


METHODS: dict[str, Callable[[str, int], peft.PeftConfig]] = {
    "adalora": adalora,
    "boft": boft,
    "dora on an embedding": dora_of_tokens,
    "lora with tokens": lora_with_tokens,
    "oft": oft,
    "trained tokens": trained_tokens,
}
NO_CONV1D = ("boft", "oft")
"""Methods that PEFT doesn't put on GPT-2's transposed layers."""
OF_TOKENS = ("dora on an embedding", "lora with tokens", "trained tokens")

pytestmark = [
    pytest.mark.filterwarnings("ignore:Failed to load the CUDA extension"),
    pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers` to `True` as embedding layers found"),
    pytest.mark.filterwarnings("ignore:Setting boft_n_butterfly_factor to 1"),
]


@pytest.fixture(scope="module", params=BASES)
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A tiny base of every kind: an encoder of text, two decoders, an encoder of images."""
    family = str(request.param)
    return family, tiny.base(tmp_path_factory.mktemp(family) / "base", family)


@pytest.mark.parametrize("method", METHODS)
def test_a_method_says_what_peft_says(method: str, base: tuple[str, Path], tmp_path: Path) -> None:
    """Two of the method and a LoRA beside them, so that every row of a batch may have another method."""
    family, folder = base
    if (family == "gpt2" and method in NO_CONV1D) or (family == "vit" and method in OF_TOKENS):
        pytest.skip("PEFT puts no such adapter on this base")
    configs = {"one": METHODS[method](family, 0), "two": METHODS[method](family, 1)}
    configs["plain"] = peft.LoraConfig(r=2, target_modules=BASES[family]["attention"], fan_in_fan_out=family == "gpt2")
    adapters = {
        name: tiny.peft_adapter(folder, tmp_path / name, config, "feature-extraction", seed=seed)
        for seed, (name, config) in enumerate(configs.items())
    }

    result = export(folder, adapters, tmp_path / "bundle", task="feature-extraction")

    assert [report.name for report in result.reports] == ["none", "one", "two", "plain", "mixed rows"]
    for report in result.reports:
        assert report.max_abs_error <= MAX_ERROR, report
        if report.name != "none":
            assert report.effect >= LEAST_EFFECT, report
            assert report.max_abs_error < 0.001 * report.effect
    for name in ("one", "two"):
        (folded,) = merge(result.path, [name], tmp_path / f"{name}.onnx", mode="fold")
        assert folded.max_abs_error <= MAX_ERROR


@pytest.mark.parametrize("method", METHODS)
def test_a_method_is_added_to_a_bundle_that_has_no_slots_for_it(
    method: str, tiny_base: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    home = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    config: Any = METHODS[method]("bert", 1)
    config.task_type = "SEQ_CLS"
    config.modules_to_save = ["classifier"] if method == "trained tokens" else None
    adapter = tiny.peft_adapter(tiny_base, tmp_path / "new", config, "text-classification", 3)

    report = add(home, adapter, "new")

    assert report.max_abs_error <= MAX_ERROR
    assert report.effect >= LEAST_EFFECT


def test_an_adalora_that_training_has_pruned_says_what_peft_says(tmp_path: Path) -> None:
    """Modules are left with ranks from 0 to all; the factor stays that of the rank before."""
    folder = tiny.base(tmp_path / "base", "bert")
    config = peft.AdaLoraConfig(
        init_r=4, target_r=2, total_step=10, tinit=1, tfinal=2, deltaT=1, target_modules=["query", "value"]
    )
    adapter = pruned(folder, tmp_path / "pruned", config)
    masks = json.loads((adapter / "adapter_config.json").read_text())["rank_pattern"]
    assert {sum(mask) for mask in masks.values()} >= {0, 2, 3}

    result = export(folder, {"pruned": adapter}, tmp_path / "bundle", task="feature-extraction")

    assert result.reports[1].max_abs_error <= MAX_ERROR
    assert result.reports[1].effect >= LEAST_EFFECT


def pruned(base_folder: Path, folder: Path, config: peft.AdaLoraConfig) -> Path:
    """Writes an AdaLoRA after some steps of training, which share its ranks out among the modules."""
    torch.manual_seed(0)
    with tiny.quiet():
        model = peft.get_peft_model(transformers.AutoModel.from_pretrained(base_folder), config)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.data = torch.randn_like(parameter) * 0.3
    allocate: Any = model.base_model.update_and_allocate
    optimizer = torch.optim.SGD(trained, lr=0.1)
    for step in range(10):
        output = model(input_ids=torch.randint(0, 100, (2, 5))).last_hidden_state
        output[..., :8].pow(2).mean().backward()
        optimizer.step()
        allocate(step)
        optimizer.zero_grad()
    model.save_pretrained(str(folder))
    return folder


@pytest.mark.parametrize(
    "options",
    [
        {"coft": True, "eps": 0.5},
        {"block_share": True},
        {"num_cayley_neumann_terms": 2},
        {"num_cayley_neumann_terms": 3},
        {"num_cayley_neumann_terms": 7},
        {"use_cayley_neumann": False, "coft": True, "eps": 0.8, "block_share": True},
        {"r": 8, "oft_block_size": 0},
    ],
    ids=str,
)
def test_every_way_to_rotate_says_what_peft_says(options: dict[str, Any], tmp_path: Path) -> None:
    folder = tiny.base(tmp_path / "base", "bert")
    config = peft.OFTConfig(**{"oft_block_size": 4, "target_modules": ["query", "output.dense"], **options})
    adapter = tiny.peft_adapter(folder, tmp_path / "adapter", config, "feature-extraction")

    result = export(folder, {"turned": adapter}, tmp_path / "bundle", task="feature-extraction")

    assert result.reports[1].max_abs_error <= 2 * MAX_ERROR
    assert result.reports[1].max_abs_error < 1e-5 * result.reports[1].effect
    assert result.reports[1].effect >= LEAST_EFFECT


class BlockDiagonal:
    """What PEFT's CUDA extension computes, without CUDA."""

    def forward(self, blocks: torch.Tensor) -> list[torch.Tensor]:
        return [torch.stack([torch.block_diag(*each) for each in blocks])]


@pytest.mark.parametrize("factors", [2, 3])
def test_a_butterfly_of_many_factors_says_what_peft_says(
    factors: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("peft.tuners.boft.layer._FBD_CUDA", BlockDiagonal())
    folder = tiny.base(tmp_path / "base", "bert")
    config = peft.BOFTConfig(boft_block_size=4, boft_n_butterfly_factor=factors, target_modules=["query", "key"])
    adapter = tiny.peft_adapter(folder, tmp_path / "adapter", config, "feature-extraction")

    result = export(folder, {"turned": adapter}, tmp_path / "bundle", task="feature-extraction")

    slots = {slot["param"]: slot["shape"] for slot in json.loads((result.path / "edgeadapt.json").read_text())["slots"]}
    width = 4 * 2 ** (factors - 1)
    assert slots[f"oft_R.{width}"] == ["rows", tiny.HIDDEN // width, width, width]
    assert result.reports[1].max_abs_error <= MAX_ERROR
    assert result.reports[1].effect >= LEAST_EFFECT


@pytest.mark.parametrize("method", ["lora with tokens", "trained tokens"])
def test_a_head_that_shares_the_table_has_its_trained_tokens(method: str, tmp_path: Path) -> None:
    """BERT's head has a bias too, which PEFT leaves out where tokens are trained."""
    folder = tiny.base(tmp_path / "base", "bert", "fill-mask")
    adapter = tiny.peft_adapter(folder, tmp_path / "adapter", METHODS[method]("bert", 0), "fill-mask")

    result = export(folder, {"new": adapter}, tmp_path / "bundle", task="fill-mask")

    assert result.reports[1].max_abs_error <= MAX_ERROR
    assert result.reports[1].effect >= LEAST_EFFECT
    sites = json.loads((result.path / "adapters" / "new" / "adapter.json").read_text())["sites"]
    assert set(sites["cls.predictions.decoder"]) == {"lora", "bias"}


@pytest.mark.parametrize("method", ["adalora", "boft", "lora with tokens", "oft", "trained tokens"])
def test_an_adapter_that_was_trained_without_the_head_fits_the_model_with_it(method: str, tmp_path: Path) -> None:
    folder = tiny.base(tmp_path / "base", "bert", "fill-mask")
    adapter = tiny.peft_adapter(folder, tmp_path / "adapter", METHODS[method]("bert", 1), "feature-extraction")

    result = export(folder, {"new": adapter}, tmp_path / "bundle", task="fill-mask")

    assert result.reports[1].max_abs_error <= MAX_ERROR
    assert result.reports[1].effect >= LEAST_EFFECT


def test_trained_tokens_blend_and_rotations_refuse_to(tmp_path: Path) -> None:
    folder = tiny.base(tmp_path / "base", "bert")
    configs = {"a": trained_tokens("bert", 0), "b": trained_tokens("bert", 1), "turned": oft("bert", 0)}
    adapters = {
        name: tiny.peft_adapter(folder, tmp_path / name, config, "feature-extraction", seed=seed)
        for seed, (name, config) in enumerate(configs.items())
    }
    result = export(folder, adapters, tmp_path / "bundle", task="feature-extraction")
    session = edgeadapt.load(result.path)
    ids = np.array([[2, 45, 5, 6, 3]], np.int64)
    inputs = {tensor.name: np.zeros_like(ids) for tensor in session.manifest.inputs} | {"input_ids": ids}

    alone, blend, base = (
        np.asarray(session.run(inputs, adapter=adapter)["last_hidden_state"])
        for adapter in ("a", {"a": 1.0, "b": 0.0}, None)
    )

    np.testing.assert_allclose(blend, alone, atol=MAX_ERROR)
    assert np.abs(alone - base).max() > LEAST_EFFECT
    with pytest.raises(edgeadapt.EdgeAdaptError, match="oft-4 is no sum beside the base"):
        session.run(inputs, adapter={"a": 0.5, "turned": 0.5})


@pytest.mark.filterwarnings("ignore:Unsupported layer type")
@pytest.mark.parametrize("family", ["bert", "llama"])
def test_tuned_norms_of_every_kind_say_what_peft_says(family: str, tmp_path: Path) -> None:
    """Layer norms, or RMS norms; trained alone, or whole beside a LoRA."""
    folder = tiny.base(tmp_path / "base", family)
    norm = {"bert": "output.LayerNorm", "llama": "norm"}[family]
    configs = {
        "tuned": peft.LNTuningConfig(target_modules=[norm, "post_attention_layernorm"]),
        "saved": peft.LoraConfig(target_modules=BASES[family]["attention"], modules_to_save=[norm]),
        "plain": peft.LoraConfig(target_modules=BASES[family]["attention"]),
    }
    adapters = {
        name: tiny.peft_adapter(folder, tmp_path / name, config, "feature-extraction", seed=seed)
        for seed, (name, config) in enumerate(configs.items())
    }

    result = export(folder, adapters, tmp_path / "bundle", task="feature-extraction")

    assert [report.name for report in result.reports] == ["none", *configs, "mixed rows"]
    for report in result.reports:
        assert report.max_abs_error <= MAX_ERROR, report
        assert report.name == "none" or report.effect >= LEAST_EFFECT, report
    (folded,) = merge(result.path, ["tuned"], tmp_path / "tuned.onnx", mode="fold")
    assert folded.max_abs_error <= MAX_ERROR


def test_a_norm_that_adds_one_to_its_weight_is_no_rms_norm() -> None:
    """Gemma's; the exporter would store 1 + weight, which no checkpoint has."""
    from transformers.models.gemma.modeling_gemma import GemmaRMSNorm
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    model = torch.nn.ModuleDict({"plain": LlamaRMSNorm(8, 1e-6), "plus": GemmaRMSNorm(8, 1e-6)})
    base = bases.Base("here", "feature-extraction", model, frozenset())  # type: ignore[arg-type]

    found = [(site.name, site.kind, site.epsilon) for site, _ in bases.modules(base)]
    assert found == [("plain", "rms_norm", 1e-6)]


REFUSALS: dict[str, tuple[str, dict[str, Any], str]] = {
    "a mask of another rank": (
        "adalora",
        {"rank_pattern": {"bert.encoder.layer.0.attention.self.query.lora_E": [True, False, False, False]}},
        "but the configuration says that 1 ranks are left",
    ),
    "an old series": ("oft", {"use_cayley_neumann": True, "peft_version": "0.17.1"}, "series of PEFT before 0.18"),
    "other blocks": ("oft", {"block_share": True}, "got 4 blocks of OFT, of 28 numbers each"),
    "tokens beyond the table": (
        "trained tokens",
        {"token_indices": [9999, *range(41)]},
        "tokens 9999 are trained, but",
    ),
    "tokens twice": ("trained tokens", {"token_indices": [7, 7, *range(40)]}, "a token is trained twice"),
    "other tokens": ("trained tokens", {"token_indices": [7]}, r"got rows of the shape \(43, 32\), expected \(1, 32\)"),
    "tokens elsewhere": (
        "lora with tokens",
        {"trainable_token_indices": {"position_embeddings": [1]}},
        "position_embeddings: got no rows",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_cannot_be_exact_is_refused_by_name(case: str, tiny_base: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    method, changed, message = REFUSALS[case]
    config = METHODS[method]("bert", 1)
    config.task_type = "SEQ_CLS"
    adapter = tiny.peft_adapter(tiny_base, tmp_path / "new", config, "text-classification", 3)
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))

    with pytest.raises(edgeadapt.EdgeAdaptError, match=message):
        add(tiny_bundle, adapter, "new")


@pytest.mark.parametrize(
    ("method", "tensor", "message"),
    [
        ("adalora", "lora_E", "got lora_A, lora_B of AdaLoRA, expected lora_A, lora_B, lora_E"),
        ("boft", "boft_s", "got boft_R alone, expected boft_R and boft_s"),
        ("lora with tokens", "trainable_tokens_delta", "word_embeddings: got no rows"),
    ],
)
def test_a_checkpoint_without_a_tensor_is_refused(
    method: str, tensor: str, message: str, tiny_base: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    config = METHODS[method]("bert", 1)
    config.task_type = "SEQ_CLS"
    adapter = tiny.peft_adapter(tiny_base, tmp_path / "new", config, "text-classification", 3)
    path = adapter / "adapter_model.safetensors"
    save_file({name: each for name, each in load_file(path).items() if not name.endswith(tensor)}, path)

    with pytest.raises(edgeadapt.EdgeAdaptError, match=message):
        add(tiny_bundle, adapter, "new")

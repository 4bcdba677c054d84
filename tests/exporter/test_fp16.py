"""Bundles in fp16: against live PyTorch and PEFT, mixed, folded, added to, refused."""

from __future__ import annotations

import importlib
import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import peft
import pytest
import torch
from safetensors.numpy import load_file, save_file
from torch import nn

import edgeadapt
from edgeadapt import bundle
from edgeadapt.errors import ParityError, UnsupportedError
from edgeadapt.exporter import assemble, bare
from edgeadapt.exporter.adding import add, remove
from edgeadapt.exporter.merging import merge
from edgeadapt.exporter.pipeline import Exported, export
from edgeadapt.runtime.verify import verify
from tests import hub, tiny
from tests.exporter import starts
from tests.exporter.classifiers import batch, from_peft

CLASSIFYING, WRITING = "text-classification", "text-generation"
OF_EFFECT = 0.005
"""The largest error that the graph's arithmetic makes here, as a share of the adapter's effect."""
KINDS = {"lora": 2, "dora": 3, "ia3": 3, "tokens": 3, "prefix": 3}
"""Adapters of a classifier without a head of its own, and how many labels each has."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT without a head, and an adapter of each kind, which brings its head."""
    home = tmp_path_factory.mktemp("classifiers")
    base = tiny.base(home / "base", max_position_embeddings=160)
    targets = ["query", "value", "output.dense"]
    tiny.lora_adapter(base, home / "lora", rank=4, targets=targets, num_labels=2, seed=1)
    tiny.lora_adapter(base, home / "dora", rank=2, targets=targets, num_labels=3, seed=2, use_dora=True)
    kinds: dict[str, Any] = {
        "ia3": peft.IA3Config(
            task_type="SEQ_CLS", target_modules=["key", "output.dense"], feedforward_modules=["output.dense"]
        ),
        "tokens": peft.LoraConfig(
            task_type="SEQ_CLS",
            target_modules=["value"],
            trainable_token_indices={"word_embeddings": [11, 12, 13, 101]},
        ),
        "prefix": peft.PrefixTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=5),
        "late": peft.LoraConfig(
            task_type="SEQ_CLS", r=3, target_modules=["dense", "key"], modules_to_save=["output.LayerNorm"]
        ),
    }
    for seed, (name, config) in enumerate(kinds.items()):
        tiny.peft_adapter(base, home / name, config, CLASSIFYING, num_labels=3, seed=10 + seed)
    return home


@pytest.fixture(scope="module")
def classifiers(folder: Path) -> Exported:
    adapters = {name: folder / name for name in KINDS}
    return export(folder / "base", adapters, folder / "bundle", task=CLASSIFYING, precision="fp16")


def test_the_errors_of_weights_and_arithmetic_are_told_apart(classifiers: Exported) -> None:
    reports = {report.name: report for report in classifiers.reports}

    assert list(reports) == ["fp16 weights", "none", *KINDS, "mixed rows"]
    assert 1e-5 < reports["fp16 weights"].max_abs_error < 0.01
    for name in (*KINDS, "mixed rows"):
        assert 0 < reports[name].max_abs_error < OF_EFFECT * reports[name].effect


@pytest.mark.parametrize("name", [name for name in KINDS if name != "prefix"])  # PEFT has it outside of the base
def test_it_says_what_peft_says_of_the_weights_as_they_were(name: str, classifiers: Exported, folder: Path) -> None:
    """Of weights that nobody rounded: what rounding and arithmetic come to together."""
    expected = from_peft(folder / "base", folder / name, KINDS[name])

    got = np.asarray(edgeadapt.load(classifiers.path).run(batch(), adapter=name)["logits"])

    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=0.01 * float(np.abs(expected).max()))


def test_rows_are_their_adapters_alone(classifiers: Exported) -> None:
    session = edgeadapt.load(classifiers.path)
    names = [*KINDS]

    mixed = session.run(batch(len(names)), adapter=names)["logits"]

    for row, name in enumerate(names):
        alone = session.run(batch(len(names)), adapter=name)["logits"][row]
        np.testing.assert_allclose(mixed[row], alone, atol=5e-3)


def test_a_blend_is_between_its_parts(classifiers: Exported) -> None:
    session = edgeadapt.load(classifiers.path)

    whole, half, tiny_part = (
        np.asarray(session.run(batch(), adapter={"lora": weight})["logits"]) for weight in (1.0, 0.5, 1e-3)
    )

    np.testing.assert_allclose(whole, np.asarray(session.run(batch(), adapter="lora")["logits"]), atol=5e-3)
    assert np.abs(half - whole).max() > 0.05 < np.abs(half - tiny_part).max()


def test_bytes_are_halved_and_numbers_of_tokens_are_not(classifiers: Exported, folder: Path) -> None:
    session = edgeadapt.load(classifiers.path)
    dtypes = {slot.param: slot.dtype for slot in session.manifest.slots}
    whole = sum(array.nbytes for array in load_file(folder / "base" / "model.safetensors").values())
    stored = (classifiers.path / assemble.DATA).stat().st_size

    assert session.manifest.model.precision == "fp16"
    assert dtypes.pop("token_ids") == "float32"
    assert set(dtypes.values()) == {"float16"}
    assert {tensor.dtype for tensor in session.manifest.outputs} == {"float32"}
    assert 0.4 * whole < stored < 0.55 * whole
    # model.onnx and base.onnx have none of these weights themselves.
    assert sum((classifiers.path / file).stat().st_size for file in (assemble.BASE, assemble.MODEL)) < 0.1 * whole + 2e5


def test_without_an_adapter_it_is_the_base_bit_for_bit(tmp_path: Path) -> None:
    """With ONNX Runtime's own rewriting off, as for every precision."""
    base = tiny.base(tmp_path / "base", "bert", CLASSIFYING, num_labels=4)
    tiny.lora_adapter(base, tmp_path / "one", "feature-extraction", targets=["query", "dense"])
    config = json.loads((tmp_path / "one" / "adapter_config.json").read_text())
    (tmp_path / "one" / "adapter_config.json").write_text(json.dumps({**config, "task_type": None}))
    path = export(base, {"one": tmp_path / "one"}, tmp_path / "bundle", task=CLASSIFYING, precision="fp16").path
    plain = assemble.read_base(path)
    assemble.finish(plain, None)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    neutrals = bare.fill(bundle.read_manifest(path).slots, {}, {})

    with bare.scratch(path, plain, "plain") as file:
        got, expected = (
            onnxruntime.InferenceSession(each, options, providers=["CPUExecutionProvider"]).run(["logits"], feeds)[0]
            for each, feeds in ((path / assemble.MODEL, {**batch(), **neutrals}), (file, batch()))
        )

    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("name", KINDS)
def test_an_adapter_is_folded(name: str, classifiers: Exported, tmp_path: Path) -> None:
    (report,) = merge(classifiers.path, [name], tmp_path / "one.onnx", mode="fold")

    assert report.max_abs_error < OF_EFFECT * report.effect
    weights = ir.load(tmp_path / "one.onnx").graph.initializers.values()
    assert {str(value.dtype) for value in weights if value.const_value is not None and value.const_value.size > 99} <= {
        "FLOAT16",
        "INT64",
    }


def test_adapters_are_added_without_pytorch(classifiers: Exported, folder: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(classifiers.path, tmp_path / "bundle"))
    report = add(home, folder / "late", "late")  # a norm trained whole, at sites without slots

    assert report.max_abs_error < OF_EFFECT * report.effect
    session = edgeadapt.load(home)
    assert all(verify(session, name).passed for name in (None, *KINDS, "late"))
    record = session.adapters["late"].parity
    assert record is not None and record.reference.endswith(", fp16 weights")
    expected = from_peft(folder / "base", folder / "late", 3)
    got = np.asarray(session.run(batch(), adapter="late")["logits"])
    np.testing.assert_allclose(got, expected, atol=0.01 * float(np.abs(expected).max()))

    remove(home, "lora")
    again = add(home, classifiers.path / "adapters" / "lora", "lora")  # held to PyTorch's outputs, which it brings
    record = edgeadapt.load(home).adapters["lora"].parity
    assert again.passed and record is not None and record.reference.startswith("torch")


def test_an_adapter_of_a_bundle_in_fp32_is_rounded(folder: Path, classifiers: Exported, tmp_path: Path) -> None:
    whole = export(folder / "base", {"lora": folder / "lora"}, tmp_path / "fp32", task=CLASSIFYING).path
    home = Path(shutil.copytree(classifiers.path, tmp_path / "bundle"))
    report = add(home, whole / "adapters" / "lora", "again")

    session = edgeadapt.load(home)
    assert report.passed
    first, second = (np.asarray(session.run(batch(), adapter=name)["logits"]) for name in ("lora", "again"))
    np.testing.assert_array_equal(first, second)
    record = session.adapters["again"].parity
    assert record is not None and record.reference.startswith("its fold")  # other weights than PyTorch had there


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def decoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Exported]:
    """A decoder with a LoRA and a prefix, one with each kind of cache."""
    home = tmp_path_factory.mktemp(request.param)
    options = {"num_key_value_heads": 2, "head_dim": 16} if request.param == "llama" else {}
    base = tiny.base(home / "base", request.param, WRITING, **options)
    turned = {"fan_in_fan_out": True} if request.param == "gpt2" else {}
    for name, rank in (("one", 2), ("two", 3)):
        tiny.lora_adapter(base, home / name, WRITING, rank, "all-linear", seed=rank, **turned)
    adapters = {"one": home / "one", "prefix": starts.start(base, home / "prefix", "prefix")}
    return home, export(base, adapters, home / "bundle", precision="fp16")


def test_a_decoder_has_its_cache_in_fp16(decoder: tuple[Path, Exported]) -> None:
    home, result = decoder
    session = edgeadapt.load(result.path)
    reports = {report.name: report for report in result.reports}

    for row_name in ("one", "prefix", "mixed rows"):
        assert reports[row_name].max_abs_error < OF_EFFECT * reports[row_name].effect
    cache = {t.dtype for t in session.manifest.inputs if t.name.startswith(bundle.PAST)}
    assert cache == {"float16"}
    assert {t.name: t.dtype for t in session.manifest.outputs}["logits"] == "float32"
    prompts = [[20, 30, 40, 50], [70, 80], [9, 10]]
    names: list[str | None] = ["one", None, "prefix"]
    mixed = session.generate(prompts, adapter=names, max_new_tokens=8, eos=[])
    for row, (prompt, name) in enumerate(zip(prompts, names, strict=True)):
        (alone,) = session.generate([prompt], adapter=name, max_new_tokens=8, eos=[])
        np.testing.assert_array_equal(mixed[row], alone)
    report = add(result.path, home / "two", "two")
    (folded,) = merge(result.path, ["two"], home / "two.onnx", mode="fold")
    assert max(report.max_abs_error, folded.max_abs_error) < OF_EFFECT * report.effect


@pytest.mark.skipif(
    importlib.util.find_spec("adapters") is None, reason="AdapterHub's library is not there (it needs transformers 4)"
)
def test_adapters_of_adapterhub_run_on_what_they_were_rounded_to(folder: Path, tmp_path: Path) -> None:
    adapters: Any = importlib.import_module("adapters")
    kinds = {"mam": adapters.MAMConfig(), "compacter": adapters.CompacterConfig(reduction_factor=4)}
    own = {
        name: hub.adapter(folder / "base", tmp_path / name, config, seed, head={"num_labels": 3})
        for seed, (name, config) in enumerate(kinds.items())
    }
    out = tmp_path / "bundle"
    result = export(folder / "base", own, out, task=CLASSIFYING, precision="fp16", allow_pickle=True)

    for report in result.reports[2:]:
        assert report.max_abs_error < OF_EFFECT * report.effect
    for name in own:
        merge(out, [name], tmp_path / f"{name}.onnx", mode="fold")


class Block(nn.Module):
    """A module of one's own, with numbers on the way that fp16 doesn't have."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.inner = nn.Linear(tiny.HIDDEN, tiny.HIDDEN)

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        return y + torch.sqrt((self.inner(y) * 1e4) ** 2 + 1e-12) * 1e-4


def test_a_module_of_ones_own_computes_in_fp32(tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base", "vit", "image-classification", num_labels=4)
    site = next(name for name in _linears(base) if name.endswith("layer.0.output.dense") or name.endswith("0.mlp.fc2"))
    result = export(base, {"own": {site: Block()}}, tmp_path / "bundle", task="image-classification", precision="fp16")

    reports = {report.name: report for report in result.reports}
    assert reports["own"].max_abs_error < OF_EFFECT * reports["own"].effect
    session = edgeadapt.load(result.path)
    assert [(each.name, each.dtype) for each in session.manifest.inputs] == [("pixel_values", "float32")]
    assert verify(session, "own").passed


def _linears(base: Path) -> list[str]:
    import transformers

    model = transformers.AutoModelForImageClassification.from_pretrained(base)
    return [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]


def test_numbers_beyond_the_range_are_refused_by_name(folder: Path, classifiers: Exported, tmp_path: Path) -> None:
    shutil.copytree(folder / "lora", tmp_path / "lora")
    tensors = dict(load_file(tmp_path / "lora" / "adapter_model.safetensors"))
    name = next(each for each in tensors if "layer.1" in each and each.endswith("query.lora_B.weight"))
    tensors[name] = tensors[name].copy()
    tensors[name][0, 0] = 70_000
    save_file(tensors, tmp_path / "lora" / "adapter_model.safetensors")
    shutil.copytree(folder / "base", tmp_path / "base")
    weights = dict(load_file(tmp_path / "base" / "model.safetensors"))
    weights["embeddings.LayerNorm.weight"] = np.full(tiny.HIDDEN, -1e6, np.float32)
    save_file(weights, tmp_path / "base" / "model.safetensors", metadata={"format": "pt"})
    files = sorted(classifiers.path.rglob("*"))

    with pytest.raises(UnsupportedError, match=rf"(?s)'big' has numbers beyond.*65504:\n  \S*{name}: 70000"):
        add(classifiers.path, tmp_path / "lora", "big")
    with pytest.raises(UnsupportedError, match=r"(?s)\n  \S*layer.1\S*query.lora_B.weight: 70000\nExport in fp32"):
        export(folder / "base", {"big": tmp_path / "lora"}, tmp_path / "out", precision="fp16")
    with pytest.raises(UnsupportedError, match=r"base has numbers beyond.*\n  \S*embeddings.LayerNorm.weight: 1e\+06"):
        export(tmp_path / "base", {"lora": folder / "lora"}, tmp_path / "out", precision="fp16")
    assert not (tmp_path / "out").exists()
    assert sorted(classifiers.path.rglob("*")) == files


def test_an_adapter_that_fp16_is_too_coarse_for_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "lora", tmp_path / "faint")
    tensors = dict(load_file(tmp_path / "faint" / "adapter_model.safetensors"))
    tensors |= {name: array * 1e-3 for name, array in tensors.items() if "lora_B" in name}
    save_file(tensors, tmp_path / "faint" / "adapter_model.safetensors")

    with pytest.raises(ParityError, match=r"(?s)faint: (no effect|the max abs error).*too coarse, export in fp32"):
        export(folder / "base", {"faint": tmp_path / "faint"}, tmp_path / "out", precision="fp16")
    assert not (tmp_path / "out").exists()


def test_onnxruntime_genai_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="never held against onnxruntime-genai"):
        export(tmp_path / "none", {}, tmp_path / "out", precision="fp16", runtime="genai")

"""Bundles on a GPU against the same bundles on the CPU, which are held against PyTorch elsewhere."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest

import edgeadapt
from edgeadapt.bundle import PAST
from edgeadapt.errors import ConfigError, ProviderError
from edgeadapt.exporter.pipeline import export
from edgeadapt.runtime import Session
from edgeadapt.runtime.verify import verify
from tests import tiny
from tests.exporter import starts
from tests.exporter.classifiers import batch

pytestmark = pytest.mark.gpu

CLASSIFYING, WRITING, REWRITING = "text-classification", "text-generation", "text2text-generation"
KINDS = ("lora", "dora", "ia3", "prefix")
OFF = {"fp32": 2e-5, "fp16": 1e-2}
"""How far a GPU may be from the CPU, as a share of the largest output: both sum in another order."""


@pytest.fixture(scope="module", autouse=True)
def cuda(tiny_bundle: Path) -> None:
    """Skips with the reason that asking for CUDA gives."""
    try:
        edgeadapt.load(tiny_bundle, provider="cuda")
    except ProviderError as error:
        pytest.skip(f"no GPU to test on: {error}")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT without a head, and adapters of several kinds that bring theirs."""
    home = tmp_path_factory.mktemp("checkpoints")
    base = tiny.base(home / "base", max_position_embeddings=160)
    targets = ["query", "value", "output.dense"]
    tiny.lora_adapter(base, home / "lora", rank=4, targets=targets, num_labels=2, seed=1)
    tiny.lora_adapter(base, home / "dora", rank=2, targets=targets, num_labels=3, seed=2, use_dora=True)
    kinds: Mapping[str, Any] = {
        "ia3": peft.IA3Config(
            task_type="SEQ_CLS", target_modules=["key", "output.dense"], feedforward_modules=["output.dense"]
        ),
        "prefix": peft.PrefixTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=5),
    }
    for seed, (name, config) in enumerate(kinds.items()):
        tiny.peft_adapter(base, home / name, config, CLASSIFYING, num_labels=3, seed=10 + seed)
    return home


@pytest.fixture(scope="module", params=["fp32", "fp16"])
def classifiers(request: pytest.FixtureRequest, checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """These as a bundle, in both precisions."""
    home = tmp_path_factory.mktemp(request.param)
    adapters = {name: checkpoints / name for name in KINDS}
    return export(checkpoints / "base", adapters, home / "bundle", task=CLASSIFYING, precision=request.param).path


@pytest.fixture(scope="module", params=[("llama", "fp32"), ("llama", "fp16"), ("gpt2", "fp32"), ("gpt2", "fp16")])
def decoders(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decoder with a LoRA and a prefix, with each kind of cache, in both precisions."""
    family, precision = request.param
    home = tmp_path_factory.mktemp(f"{family}-{precision}")
    options = {"num_key_value_heads": 2, "head_dim": 16} if family == "llama" else {}
    turned = {"fan_in_fan_out": True} if family == "gpt2" else {}
    base = tiny.base(home / "base", family, WRITING, **options)
    lora = tiny.lora_adapter(base, home / "lora", WRITING, 4, "all-linear", seed=1, **turned)
    adapters = {"lora": lora, "prefix": starts.start(base, home / "prefix", "prefix")}
    return export(base, adapters, home / "bundle", precision=precision).path


def both(bundle: Path) -> tuple[Session, Session]:
    """Returns sessions on the GPU and on the CPU."""
    return edgeadapt.load(bundle, provider="cuda"), edgeadapt.load(bundle)


def close(got: Any, expected: Any, precision: str) -> None:
    """Compares outputs, of which rows with other label counts are lists."""
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=OFF[precision] * float(np.abs(other).max()))


@pytest.mark.parametrize("name", KINDS)
def test_adapters_say_what_they_say_on_the_cpu(name: str, classifiers: Path) -> None:
    gpu, cpu = both(classifiers)

    assert gpu.provider == "cuda"
    close(
        gpu.run(batch(), adapter=name)["logits"],
        cpu.run(batch(), adapter=name)["logits"],
        gpu.manifest.model.precision,
    )


def test_rows_with_adapters_of_their_own(classifiers: Path) -> None:
    gpu, cpu = both(classifiers)
    names: list[Any] = [*KINDS, {"lora": 0.5}]

    for _ in range(2):  # made, and taken again
        got, expected = (each.run(batch(len(names)), adapter=names)["logits"] for each in (gpu, cpu))
        close(got, expected, gpu.manifest.model.precision)


def test_it_is_held_to_pytorch(classifiers: Path) -> None:
    """By the cases that the export stored; the same tolerance as on the CPU."""
    session = edgeadapt.load(classifiers, provider="cuda")

    for name in KINDS:
        report = verify(session, name)
        assert report.passed, report
        assert report.effect > 100 * report.max_abs_error


def test_adapters_stay_on_the_gpu(classifiers: Path) -> None:
    session = edgeadapt.load(classifiers, provider="cuda", adapter_memory="8MB")
    session.run(batch(), adapter="lora")

    first = session.adapter("lora").filling.values
    session.run(batch(), adapter="lora")

    assert {value.device_name().lower() for value in first.values()} == {"cuda"}
    assert session.adapter("lora").filling.values is first


def test_adapters_come_and_go(classifiers: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(classifiers, tmp_path / "bundle"))
    shutil.move(home / "adapters" / "dora", tmp_path / "dora")
    gpu, cpu = both(home)
    precision = gpu.manifest.model.precision

    gpu.add_adapter(tmp_path / "dora", "new")
    cpu.add_adapter(tmp_path / "dora", "new")
    close(gpu.run(batch(), adapter="new")["logits"], cpu.run(batch(), adapter="new")["logits"], precision)
    gpu.remove_adapter("new")
    shutil.move(tmp_path / "dora", home / "adapters" / "dora")
    assert gpu.refresh().added == ("dora",)
    close(gpu.run(batch(), adapter="dora")["logits"], cpu.run(batch(), adapter="new")["logits"], precision)


def test_threads_share_it(classifiers: Path) -> None:
    session = edgeadapt.load(classifiers, provider="cuda")
    alone = {name: session.run(batch(), adapter=name)["logits"] for name in KINDS}
    asked = [*KINDS] * 16

    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda name: session.run(batch(), adapter=name)["logits"], asked))

    for name, logits in zip(asked, got, strict=True):
        np.testing.assert_array_equal(logits, alone[name])


def test_requests_in_batches(classifiers: Path) -> None:
    gpu, cpu = both(classifiers)
    rows = batch(8)
    asked = [KINDS[index % len(KINDS)] for index in range(8)]
    single = [{name: array[index : index + 1] for name, array in rows.items()} for index in range(8)]

    with edgeadapt.Batcher(gpu) as batcher:
        futures = [batcher.submit(own, name) for own, name in zip(single, asked, strict=True)]
        got = [future.result(60)["logits"] for future in futures]

    close(
        got,
        [cpu.run(own, adapter=name)["logits"] for own, name in zip(single, asked, strict=True)],
        gpu.manifest.model.precision,
    )


def test_texts_are_those_of_the_cpu(decoders: Path) -> None:
    gpu, cpu = both(decoders)
    prompts = [[20, 30, 40, 50], [70, 80], [9, 10]]

    for adapter in (None, "lora", "prefix", ["lora", None, "prefix"]):
        got, expected = (each.generate(prompts, adapter=adapter, max_new_tokens=12, eos=[]) for each in (gpu, cpu))
        if gpu.manifest.model.precision == "fp16":  # ties of rounded numbers may fall otherwise
            alike = sum(np.array_equal(one, other) for one, other in zip(got, expected, strict=True))
            assert alike >= 2
        else:
            for one, other in zip(got, expected, strict=True):
                np.testing.assert_array_equal(one, other)


def test_logits_of_texts(decoders: Path) -> None:
    gpu, cpu = both(decoders)
    ids = np.array([[20, 30, 40, 50], [70, 80, 90, 11]])
    precision = gpu.manifest.model.precision

    for adapter in (None, "lora", "prefix", ["lora", "prefix"]):
        texts = [each.begin(2, adapter) for each in (gpu, cpu)]
        for step in (ids, ids[:, :1], ids[:, 1:2]):
            got, expected = (text.feed(step) for text in texts)
            close(got, expected, precision)


def test_a_cache_lies_on_the_gpu(decoders: Path) -> None:
    session = edgeadapt.load(decoders, provider="cuda")
    text = session.begin(1, "lora")
    text.feed(np.array([[5, 6, 7]]))

    cache: Any = text._cache
    values = cache._place.inputs if session.manifest.inputs and hasattr(cache, "_place") else cache._values

    kept = {value.device_name().lower() for name, value in values.items() if name.startswith(PAST)}
    # ONNX Runtime's GroupQueryAttention for float32 is the CPU's.
    shared = hasattr(cache, "_place")
    assert kept == {"cpu" if shared and session.manifest.model.precision == "fp32" else "cuda"}


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_answers_of_a_decoder_after_an_encoder(precision: Any, tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base", "t5", REWRITING)
    lora = tiny.lora_adapter(base, tmp_path / "lora", REWRITING, 4, ["q", "v"], seed=1)
    gpu, cpu = both(export(base, {"lora": lora}, tmp_path / "bundle", task=REWRITING, precision=precision).path)
    prompts = [[20, 30, 40, 50], [70, 80, 9, 10]]

    got, expected = (each.generate(prompts, adapter="lora", max_new_tokens=8, eos=[]) for each in (gpu, cpu))

    assert sum(np.array_equal(one, other) for one, other in zip(got, expected, strict=True)) >= 1
    assert all(verify(gpu, name).passed for name in (None, "lora"))


def test_auto_takes_it(tiny_bundle: Path) -> None:
    assert edgeadapt.load(tiny_bundle, provider="auto").provider == "cuda"


def test_options_reach_it(tiny_bundle: Path) -> None:
    session = edgeadapt.load(tiny_bundle, provider="cuda", provider_options={"device_id": 0, "use_tf32": "1"})

    assert session._model.get_provider_options()["CUDAExecutionProvider"]["use_tf32"] == "1"
    with pytest.raises(ProviderError, match="CUDA was asked for"):
        edgeadapt.load(tiny_bundle, provider="cuda", provider_options={"device_id": 99})
    with pytest.raises(ConfigError, match="enable_cuda_graph replays"):
        edgeadapt.load(tiny_bundle, provider="cuda", provider_options={"enable_cuda_graph": "1"})


def test_a_new_stack_costs_little_beside_a_run(classifiers: Path) -> None:
    """Stacks are made on the host and taken there once; this shows that they are kept, whatever it costs."""
    session = edgeadapt.load(classifiers, provider="cuda")
    names = ["lora", "dora", "ia3", "lora"]
    session.run(batch(4), adapter=names)
    before = session.stats().hits

    start = time.perf_counter()
    session.run(batch(4), adapter=names)

    assert session.stats().hits > before
    assert time.perf_counter() - start < 60

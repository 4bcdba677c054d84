"""Adapters that others trained and published, on random bases of their shape, against the library they are of.

Their folder is named by `EDGEADAPT_FOREIGN_ADAPTERS`: `gpt2-review-lora` is PEFT's (a LoRA at GPT-2's `c_attn`, whose
configuration names two modules more that GPT-2 lacks), `adapterhub-mbert-pfeiffer` AdapterHub's (a bottleneck and a
head of two layers, all pickles). Neither touches the vocabulary, so that of the bases is tiny.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import transformers
from torch import nn

import edgeadapt
from edgeadapt import bundle
from edgeadapt.errors import PickleError
from edgeadapt.exporter.adding import add
from edgeadapt.exporter.merging import merge
from edgeadapt.exporter.pipeline import export
from tests import tiny

pytestmark = pytest.mark.real

VARIABLE = "EDGEADAPT_FOREIGN_ADAPTERS"
HUB = importlib.util.find_spec("adapters") is not None
MAX_ERROR, OF_EFFECT = 1e-5, 0.001
LENGTHS = (17, 9, 5, 12)
MIXED = ["foreign", "own", "foreign", None]
SIZE: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 768, "n_layer": 12, "n_head": 12},
    "bert": {
        "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
    },
}  # fmt: skip
INITIAL = 0.02  # what both were trained from, and keeps hidden states as large as a trained base's

Arrays = Mapping[str, "np.ndarray[Any, Any]"]


def foreign(name: str) -> Path:
    """Returns a published adapter's folder, or skips the test."""
    parent = os.environ.get(VARIABLE)
    if not parent:
        pytest.skip(f"{VARIABLE} is not set: it names the folder of adapters that others trained")
    return Path(parent) / name


def batch(types: bool) -> dict[str, np.ndarray[Any, Any]]:
    """Returns random tokens, `(4, 17)`, padded on the right."""
    mask = (np.arange(max(LENGTHS)) < np.array(LENGTHS)[:, None]).astype(np.int64)
    ids = np.random.default_rng(3).integers(5, len(tiny.vocabulary()), mask.shape) * mask
    return {"input_ids": ids, "attention_mask": mask} | ({"token_type_ids": np.zeros_like(ids)} if types else {})


def run_torch(model: Any, inputs: Arrays, output: str) -> np.ndarray[Any, Any]:
    with torch.no_grad():
        found = model.eval()(**{name: torch.from_numpy(array) for name, array in inputs.items()})
    return np.asarray(found[output].numpy())


def check(
    home: Path, folder: Path, inputs: Arrays, output: str, wanted: np.ndarray[Any, Any], plain: np.ndarray[Any, Any]
) -> None:
    """Holds `foreign`, switched, folded and beside others in a batch, against PyTorch's `wanted` and `plain`."""
    rows = inputs["attention_mask"] == 1 if wanted.ndim == 3 else np.ones(len(wanted), bool)
    effect = np.abs(wanted - plain)[rows].max()
    limit = min(MAX_ERROR, OF_EFFECT * effect)
    session = edgeadapt.load(home)

    switched = np.asarray(session.run(inputs, adapter="foreign")[output])
    assert np.abs(switched - wanted)[rows].max() <= limit

    names = MIXED if wanted.ndim == 3 else [name or "own" for name in MIXED]  # a base without a head has no answer
    mixed = session.run(inputs, adapter=names)[output]
    for row, name in enumerate(names):
        if name == "foreign":
            assert np.abs(mixed[row] - wanted[row])[rows[row]].max() <= limit
        else:
            alone = session.run(inputs, adapter=name)[output][row]
            np.testing.assert_allclose(mixed[row][rows[row]], alone[rows[row]], atol=MAX_ERROR)

    merge(home, ["foreign"], folder / "folded.onnx", mode="fold")
    (folded,) = onnxruntime.InferenceSession(folder / "folded.onnx", providers=["CPUExecutionProvider"]).run(
        [output], dict(inputs)
    )
    assert np.abs(folded - wanted)[rows].max() <= limit


def test_a_published_lora_of_gpt2_says_what_peft_says(tmp_path: Path) -> None:
    """PEFT takes it as it is, on the language model it was trained on; ONNX Runtime gives the hidden states."""
    import peft

    adapter = foreign("gpt2-review-lora")
    base = tiny.base(
        tmp_path / "base", "gpt2", initializer_range=INITIAL, bos_token_id=2, eos_token_id=3, **SIZE["gpt2"]
    )
    own = tiny.lora_adapter(
        base, tmp_path / "own", "feature-extraction", targets=["c_attn", "c_fc"], fan_in_fan_out=True
    )
    made = export(base, {"foreign": adapter, "own": own}, tmp_path / "bundle", task="feature-extraction")

    inputs = batch(types=False)
    with tiny.quiet():
        model = transformers.AutoModelForCausalLM.from_pretrained(base)
        plain = run_torch(model.transformer, inputs, "last_hidden_state")
        wrapped = peft.PeftModel.from_pretrained(model, str(adapter))
    assert len([name for name, _ in wrapped.named_parameters() if "lora_A" in name]) == SIZE["gpt2"]["n_layer"]
    wanted = run_torch(wrapped.get_base_model().transformer, inputs, "last_hidden_state")
    check(made.path, tmp_path, inputs, "last_hidden_state", wanted, plain)


@pytest.fixture(scope="module")
def mbert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random base of mBERT's shape, but for its vocabulary."""
    foreign("")
    return tiny.base(tmp_path_factory.mktemp("mbert") / "base", "bert", initializer_range=INITIAL, **SIZE["bert"])


def own_classifier(base: Path, folder: Path) -> Path:
    return tiny.lora_adapter(base, folder, targets=["query", "value"], num_labels=3)


@pytest.mark.skipif(not HUB, reason="AdapterHub's library is not there (it needs transformers 4)")
def test_a_published_bottleneck_of_adapterhub_says_what_its_library_says(mbert: Path, tmp_path: Path) -> None:
    adapter = foreign("adapterhub-mbert-pfeiffer")
    own = own_classifier(mbert, tmp_path / "own")
    made = export(mbert, {"foreign": adapter, "own": own}, tmp_path / "bundle", allow_pickle=True)

    inputs = batch(types=True)
    library: Any = importlib.import_module("adapters")
    with tiny.quiet():
        model = library.AutoAdapterModel.from_pretrained(mbert)
        model.set_active_adapters(model.load_adapter(str(adapter)))
        wanted = run_torch(model, inputs, "logits")
        head = model.active_head
        model.set_active_adapters(None)
        model.active_head = head
        plain = run_torch(model, inputs, "logits")
    check(made.path, tmp_path, inputs, "logits", wanted, plain)


class Pfeiffer(nn.Module):
    """The end of a feed-forward block with a bottleneck, written out from the paper (Pfeiffer et al., 2005.00247)."""

    def __init__(self, output: Any, tensors: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        self.output, self.tensors = output, tensors

    def forward(self, hidden: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        y = self.output.dense(hidden)
        inner = self.output.LayerNorm(y + residual)
        inner = torch.relu(inner @ self.tensors["adapter_down.0.weight"].T + self.tensors["adapter_down.0.bias"])
        update = inner @ self.tensors["adapter_up.weight"].T + self.tensors["adapter_up.bias"]
        normed: torch.Tensor = self.output.LayerNorm(y + update + residual)
        return normed


class Classifier(nn.Module):
    """AdapterHub's head of two layers on the first token."""

    def __init__(self, base: Any, tensors: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        self.base, self.tensors = base, tensors

    def forward(self, **inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        first = self.base(**inputs).last_hidden_state[:, 0]
        inner = torch.tanh(first @ self.tensors["heads.md.1.weight"].T + self.tensors["heads.md.1.bias"])
        return {"logits": inner @ self.tensors["heads.md.4.weight"].T + self.tensors["heads.md.4.bias"]}


def test_a_published_bottleneck_is_added_without_its_library(mbert: Path, tmp_path: Path) -> None:
    """`add` knows the base as ONNX alone; what it has made is held against the formula, on the base in PyTorch."""
    adapter = foreign("adapterhub-mbert-pfeiffer")
    own = own_classifier(mbert, tmp_path / "own")
    home = export(mbert, {"own": own}, tmp_path / "bundle").path
    with pytest.raises(PickleError, match="--allow-pickle"):
        add(home, adapter, "foreign")

    add(home, adapter, "foreign", allow_pickle=True)

    assert bundle.read_adapter(home / "adapters" / "foreign").labels == ("1", "0")  # as its head counts them
    inputs = batch(types=True)
    tensors, head = (
        torch.load(adapter / name, map_location="cpu", weights_only=True)
        for name in ("pytorch_adapter.bin", "pytorch_model_head.bin")
    )
    with tiny.quiet():
        model = Classifier(transformers.AutoModel.from_pretrained(mbert), head)
    plain = run_torch(model, inputs, "logits")
    for number, layer in enumerate(model.base.encoder.layer):
        prefix = f"bert.encoder.layer.{number}.output.adapters.md."
        mine = {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}
        layer.output = Pfeiffer(layer.output, mine)
    wanted = run_torch(model, inputs, "logits")
    check(home, tmp_path, inputs, "logits", wanted, plain)

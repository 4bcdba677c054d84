"""Bundles of a model small enough to compute by hand: `logits = head(mean(tanh(fc(x))))`, with slots at fc and head.

The model is ONNX text, the reference is numpy in float64; neither comes from the exporter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from edgeadapt import bundle
from edgeadapt.bundle import AdapterRecord, Manifest, ModelRecord, Neutral, ParityRecord, Slot, TensorRecord

Array = NDArray[Any]
Arrays = dict[str, Array]
Head = Literal["open", "stored", "absent"]

FINGERPRINT = f"sha256:{'5' * 64}"
IN, OUT, BASE_LABELS = 4, 6, 3
A, B, BIAS = "encoder.fc.lora_A", "encoder.fc.lora_B", "encoder.fc.bias_delta"
HEAD_WEIGHT, HEAD_BIAS = "classifier.weight", "classifier.bias"

_ENCODER = """
  product = MatMul(x, fc_weight)
  plain = Add(product, fc_bias)
  low = MatMul(x, "encoder.fc.lora_A")
  change = MatMul(low, "encoder.fc.lora_B")
  adapted = Add(plain, change)
  shifted = Add(adapted, "encoder.fc.bias_delta")
  hidden = Tanh(shifted)
"""
_HEAD = """
  one = Constant<value_ints = [1]>()
  pooled = ReduceMean<keepdims = 1>(hidden, one)
  scores = MatMul(pooled, "classifier.weight")
  biased = Add(scores, "classifier.bias")
  logits = Squeeze(biased, one)
"""


@dataclass(frozen=True, slots=True)
class TinyBundle:
    """A bundle on disk and what is in it.

    Attributes:
        path: Its folder.
        base: `fc_weight` `(in, out)`, `fc_bias` `(out,)`, and the stored head where there is one.
        adapters: The arrays of every adapter, by slot.
    """

    path: Path
    base: Arrays
    adapters: dict[str, Arrays]

    def expected(self, x: Array, adapter: str | Mapping[str, float] | None) -> Arrays:
        """Returns the outputs of one row `(sequence, in)`: `hidden` `(sequence, out)` and `logits` `(labels,)`."""
        blend = {adapter: 1.0} if isinstance(adapter, str) else adapter or {}
        parts = [(self.adapters[name], weight) for name, weight in blend.items()]
        y = x.astype(np.float64) @ self.base["fc_weight"] + self.base["fc_bias"]
        head = self.base
        for arrays, weight in parts:
            y = y + weight * (x @ arrays[A][0] @ arrays[B][0]) + weight * arrays.get(BIAS, np.zeros((1, 1, OUT)))[0]
            head = arrays if HEAD_WEIGHT in arrays else head
        hidden = np.tanh(y)
        if HEAD_WEIGHT not in head:
            return {"hidden": hidden}
        logits = hidden.mean(axis=0) @ head[HEAD_WEIGHT][0] + head[HEAD_BIAS][0, 0]
        return {"hidden": hidden, "logits": logits}


def inputs(batch: int = 3, sequence: int = 5, seed: int = 0) -> Arrays:
    """Returns `{"x": (batch, sequence, in)}`."""
    return {"x": np.random.default_rng(seed).normal(size=(batch, sequence, IN)).astype(np.float32)}


def arrays(rank: int, seed: int, *, labels: int | None = None, bias: bool = False) -> Arrays:
    """Returns random arrays of an adapter, with a head of its own where `labels` are given."""
    random = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {A: (1, IN, rank), B: (1, rank, OUT)}
    shapes |= {BIAS: (1, 1, OUT)} if bias else {}
    shapes |= {HEAD_WEIGHT: (1, OUT, labels), HEAD_BIAS: (1, 1, labels)} if labels else {}
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


OPEN = {
    "spam": arrays(2, 1, labels=2, bias=True),
    "topic": arrays(3, 2, labels=5),
    "tone": arrays(1, 3, labels=2, bias=True),
}
"""Adapters for a base without a head: different ranks and label counts."""

NEUTRALS = "neutrals.onnx_adapter"

STORED = {
    "spam": arrays(2, 1, labels=2, bias=True),
    "polite": arrays(3, 4, bias=True),
    "short": arrays(1, 5),
}
"""Adapters for a base with a head of three labels: one brings its own."""

ABSENT = {"polite": arrays(3, 4, bias=True), "short": arrays(1, 5), "formal": arrays(2, 6, bias=True)}
"""Adapters for a model without a head."""


def build(folder: Path, head: Head = "open", *, bias_rows: Literal["rows", 1] = "rows") -> TinyBundle:
    """Writes a bundle.

    Args:
        folder: Where; it must not exist.
        head: The base has none of its own, has one that adapters can replace, or the model ends at `hidden`.
        bias_rows: 1 for a bias slot that can't differ between the rows of one run.
    """
    random = np.random.default_rng(7)
    base = {name: random.normal(size=shape).astype(np.float32) for name, shape in _base_shapes(head).items()}
    adapters = {"open": OPEN, "stored": STORED, "absent": ABSENT}[head]
    tiny = TinyBundle(folder, base, adapters)
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(_model(base, head, bias_rows))
    probe = arrays(1, 8, labels=BASE_LABELS) if head == "open" else {}
    _write_none(tiny, head, {f"probe/{name}": probe[name] for name in (HEAD_WEIGHT, HEAD_BIAS) if name in probe})
    for name, own in adapters.items():
        write_adapter(folder / "adapters" / name, name, own, case=_case(tiny, name))
    manifest = Manifest(
        format=bundle.FORMAT,
        producer="edgeadapt 0.1.0",
        task="feature-extraction" if head == "absent" else "text-classification",
        model_type="tiny",
        fingerprint=FINGERPRINT,
        model=ModelRecord("model.onnx", NEUTRALS if head == "stored" else None, "fp32", 21, ">=1.20"),
        inputs=(TensorRecord("x", "float32", ("batch", "sequence", IN)),),
        outputs=_outputs(head),
        slots=_slots(head, bias_rows),
        labels=("no", "maybe", "yes") if head == "stored" else None,
        problem_type="multi_label_classification" if head == "stored" else None,
        tokenizer=None,
        image=None,
        generation=None,
        files=bundle.record_files(folder, ["model.onnx", *([NEUTRALS] if head == "stored" else [])]),
    )
    bundle.write_manifest(folder, manifest)
    return tiny


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Writes arrays by slot, as `weights.onnx_adapter` and the neutrals' file hold them."""
    file = ort.AdapterFormat()
    file.set_parameters({slot: ort.OrtValue.ortvalue_from_numpy(array) for slot, array in arrays.items()})
    file.export_adapter(str(path))


def write_adapter(
    folder: Path, name: str, own: Arrays, *, case: Arrays | None = None, fingerprint: str = FINGERPRINT, **changed: Any
) -> Path:
    """Writes an adapter's folder and returns it; `changed` are fields of its record."""
    folder.mkdir(parents=True)
    names = []
    if own:
        write_arrays(folder / "weights.onnx_adapter", own)
        names.append("weights.onnx_adapter")
    if case is not None:
        np.savez_compressed(folder / "parity.npz", allow_pickle=False, **case)
        names.append("parity.npz")
    labels = own[HEAD_WEIGHT].shape[-1] if HEAD_WEIGHT in own else 0
    facts: dict[str, Any] = {
        "method": "lora",
        "sites": {"encoder.fc": {"lora": {"rank": own[A].shape[-1]}}} if A in own else {},
        "labels": tuple(f"{name}-{index}" for index in range(labels)) or None,
        "problem_type": None,
        "parity": ParityRecord("numpy", 1e-6, 1.0, 1.0, 1.0, 1e-5) if case is not None else None,
    } | changed
    record = AdapterRecord(
        format=bundle.FORMAT,
        name=name,
        fingerprint=fingerprint,
        source={"kind": "test"},
        files=bundle.record_files(folder, names),
        **facts,
    )
    bundle.write_adapter(folder, record)
    return folder


def _write_none(tiny: TinyBundle, head: Head, probes: Arrays) -> None:
    if head == "stored":
        write_arrays(tiny.path / NEUTRALS, {name: tiny.base[name] for name in (HEAD_WEIGHT, HEAD_BIAS)})
    probed = TinyBundle(tiny.path, {**tiny.base, **{name.removeprefix("probe/"): probes[name] for name in probes}}, {})
    write_adapter(
        tiny.path / "adapters" / "none",
        "none",
        {},
        case={**_case(probed, None), **probes},
        method="none",
        sites={},
        labels=None,
    )


def _case(tiny: TinyBundle, adapter: str | None) -> Arrays:
    fed = inputs(seed=11)
    rows = [tiny.expected(x, adapter) for x in fed["x"]]
    outputs = {f"output/{name}": np.stack([row[name] for row in rows]).astype(np.float32) for name in rows[0]}
    return {"input/x": fed["x"], **outputs}


def _base_shapes(head: Head) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"fc_weight": (IN, OUT), "fc_bias": (OUT,)}
    return shapes | ({HEAD_WEIGHT: (1, OUT, BASE_LABELS), HEAD_BIAS: (1, 1, BASE_LABELS)} if head == "stored" else {})


def _outputs(head: Head) -> tuple[TensorRecord, ...]:
    hidden = TensorRecord("hidden", "float32", ("batch", "sequence", OUT))
    logits = TensorRecord("logits", "float32", ("batch", "labels"))
    return (hidden,) if head == "absent" else (hidden, logits)


def _slots(head: Head, bias_rows: Literal["rows", 1]) -> tuple[Slot, ...]:
    own: Literal["stored"] | None = "stored" if head == "stored" else None
    slots = (
        Slot(A, "lora", "encoder.fc", "lora_A", "float32", ("rows", IN, "rank"), Neutral((1, IN, 1), 0.0)),
        Slot(B, "lora", "encoder.fc", "lora_B", "float32", ("rows", "rank", OUT), Neutral((1, 1, OUT), 0.0)),
        Slot(BIAS, "bias", "encoder.fc", "bias_delta", "float32", (bias_rows, 1, OUT), Neutral((1, 1, OUT), 0.0)),
        Slot(HEAD_WEIGHT, "modules_to_save", "classifier", "weight", "float32", ("rows", OUT, "labels"), own),
        Slot(HEAD_BIAS, "modules_to_save", "classifier", "bias", "float32", ("rows", 1, "labels"), own),
    )
    return slots[:3] if head == "absent" else slots


def _model(base: Arrays, head: Head, bias_rows: Literal["rows", 1]) -> bytes:
    import onnx.parser  # here alone: adapters are written where only ONNX Runtime is, too

    fed = [f"float[batch, sequence, {IN}] x"]
    fed += [f'float[{", ".join(map(str, slot.shape))}] "{slot.name}"' for slot in _slots(head, bias_rows)]
    given = [f"float[{', '.join(map(str, output.shape))}] {output.name}" for output in _outputs(head)]
    weights = [
        f"float[{', '.join(map(str, base[name].shape))}] {name} = {{{', '.join(map(str, base[name].flat))}}}"
        for name in ("fc_weight", "fc_bias")
    ]
    body = _ENCODER if head == "absent" else _ENCODER + _HEAD
    text = (
        f'<ir_version: 10, opset_import: ["" : 21]>\n'
        f"tiny ({', '.join(fed)}) => ({', '.join(given)})\n<{', '.join(weights)}>\n{{{body}}}"
    )
    serialized: bytes = onnx.parser.parse_model(text).SerializeToString()
    return serialized

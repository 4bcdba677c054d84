"""AdapterHub's folders: every flag of a bottleneck, compacters, heads, refusals, against the live `adapters` library."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from edgeadapt.exporter.merging import merge
from edgeadapt.exporter.pipeline import export
from tests import hub, tiny

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("adapters") is None, reason="AdapterHub's library is not there (it needs transformers 4)"
)

MAX_ERROR = 1e-5
LEAST_EFFECT = 0.05
FAMILIES = ("bert", "roberta", "distilbert", "albert", "electra", "deberta-v2", "gpt2", "llama", "vit")


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
    base = tiny.base(tmp_path / "base", family)
    chosen = {name: config(kind, **options) for name, (kind, options) in BOTTLENECKS.items()}
    if family == "albert":
        del chosen["left_out"]  # its layers share all weights
    made = {name: hub.adapter(base, tmp_path / name, each, seed) for seed, (name, each) in enumerate(chosen.items())}

    check(base, made, tmp_path / "bundle")

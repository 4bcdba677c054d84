"""Bundles that load: exported from tiny random bases, one for each thing that a loader may do wrong.

A bundle with an encoder (format 1.1) is none of them: its model is no plain run, and a reader of 1.0 refuses it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
from safetensors.numpy import save_file
from torch import nn

from edgeadapt.exporter import adapterhub
from edgeadapt.exporter.adding import add
from edgeadapt.exporter.pipeline import AdapterSource, export
from tests import tiny
from tests.exporter import starts
from tests.tasks import decoders

CLASSES = "text-classification"
SEVERAL = "multi_label_classification"
WIDTH, NARROW = 16, 4
SMALL: dict[str, Any] = {
    "hidden_size": WIDTH,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": WIDTH,
    "max_position_embeddings": 64,
}
LABELS = ("垃圾邮件", "Ελληνικά", "späm", '🚀 "quoted" \\ back', "e\u0301\u200d\t")
"""Names of labels with and without characters beyond ASCII, beyond 16 bits, composed, escaped and invisible ones."""
EXTRA = "extra"
"""The folder of adapters that no bundle holds."""


class Bottleneck(nn.Module):
    """A block of two layers beside a module's output."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(WIDTH, NARROW), nn.Linear(NARROW, WIDTH)

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        update: torch.Tensor = self.up(torch.nn.functional.gelu(self.down(y)))
        return y + 2 * update


def classifiers(scratch: Path, output: Path) -> None:
    """A base without a head: adapters of other ranks, places and label counts, with biases, each with its head."""
    base = tiny.base(scratch / "base", **SMALL)
    targets = {"spam": ["query", "value"], "intents": ["query", "key", "dense"], "topics": ["value"]}
    made = {
        "spam": tiny.lora_adapter(base, scratch / "spam", CLASSES, 4, targets["spam"], 2, seed=1),
        "intents": tiny.lora_adapter(base, scratch / "intents", CLASSES, 2, targets["intents"], 5, seed=2),
        "biased": tiny.lora_adapter(base, scratch / "biased", CLASSES, 1, ["query"], 2, seed=3, bias="all"),
        "topics": tiny.lora_adapter(base, scratch / "topics", CLASSES, 7, targets["topics"], 4, seed=4),
    }
    sources = {
        "spam": AdapterSource(made["spam"], ("ham", "spam")),
        "intents": AdapterSource(made["intents"], LABELS),
        "biased": AdapterSource(made["biased"]),
        "topics": AdapterSource(made["topics"], ("a", "b", "c", "d")),
    }
    export(base, sources, output, task=CLASSES)
    take_out(output, "topics")


def headed(scratch: Path, output: Path) -> None:
    """A base with a head: adapters that keep it, replace it, or are a LoRA on it, and norms trained whole."""
    base = tiny.base(scratch / "base", "bert", CLASSES, num_labels=3, problem_type=SEVERAL, **SMALL)
    made = {
        "keeps": tiny.lora_adapter(base, scratch / "keeps", CLASSES, 3, r".*query", task_type=None, seed=1),
        "price": tiny.lora_adapter(base, scratch / "price", CLASSES, 2, "query", 1, seed=2),
        "mood": tiny.lora_adapter(base, scratch / "mood", CLASSES, 4, "value", 2, seed=3),
        "tuned": tiny.lora_adapter(base, scratch / "tuned", CLASSES, 2, r".*classifier", task_type=None, seed=4),
        "norms": tiny.lora_adapter(
            base, scratch / "norms", CLASSES, 1, r".*key", task_type=None, seed=5, modules_to_save=["LayerNorm"]
        ),
        "late": tiny.lora_adapter(base, scratch / "late", CLASSES, 5, r".*(query|value)", task_type=None, seed=6),
    }
    export(base, {**made, "price": AdapterSource(made["price"], None, "regression")}, output, task=CLASSES)
    take_out(output, "late")


def methods(scratch: Path, output: Path) -> None:
    """One adapter of each method that is a plain run, with heads and without, over a base with a head."""
    # Room for a prompt beside the longest text.
    base = tiny.base(scratch / "base", "bert", CLASSES, num_labels=3, **{**SMALL, "max_position_embeddings": 160})
    inner = ["key", "output.dense"]
    configs = {
        "dora": peft.LoraConfig(r=3, lora_alpha=6, use_dora=True, target_modules=["query", "intermediate.dense"]),
        "ia3": peft.IA3Config(target_modules=inner, feedforward_modules=["output.dense"]),
        "tokens": peft.LoraConfig(
            r=2, target_modules=["value"], trainable_token_indices={"word_embeddings": [11, 12, 13, 101]}
        ),
        "rotation": peft.OFTConfig(oft_block_size=4, r=0, target_modules=["query"]),
        "prefix": peft.PrefixTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=3),
    }
    made = {
        name: tiny.peft_adapter(base, scratch / name, config, CLASSES, 2 if name == "prefix" else None, seed)
        for seed, (name, config) in enumerate(configs.items())
    }
    torch.manual_seed(9)
    export(base, {**made, "block": {"bert.encoder.layer.0.output.dense": Bottleneck()}}, output, task=CLASSES)
    add(output, pfeiffer(scratch / "pfeiffer"), "pfeiffer")


def prompts(scratch: Path, output: Path) -> None:
    """Prompts of two lengths beside rows without: the sequence gets longer inside the model."""
    base = tiny.base(scratch / "base", **{**SMALL, "max_position_embeddings": 160})
    made = {"lora": tiny.lora_adapter(base, scratch / "lora", CLASSES, 3, "query", 3, seed=1)}
    for length in (2, 5):
        config = peft.PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=length)
        name = f"prompt-{length}"
        made[name] = tiny.peft_adapter(base, scratch / name, config, CLASSES, length, seed=length)
    export(base, made, output, task=CLASSES)


def pfeiffer(folder: Path) -> Path:
    """Writes a bottleneck of AdapterHub's, as its library does, and returns the folder."""
    generator = np.random.default_rng(5)
    options = {
        "mh_adapter": False,
        "output_adapter": True,
        "reduction_factor": WIDTH / NARROW,
        "non_linearity": "relu",
        "original_ln_before": True,
        "original_ln_after": True,
        "residual_before_ln": True,
        "leave_out": [],
    }
    shapes = {
        "adapter_down.0.weight": (NARROW, WIDTH),
        "adapter_down.0.bias": (NARROW,),
        "adapter_up.weight": (WIDTH, NARROW),
        "adapter_up.bias": (WIDTH,),
    }
    folder.mkdir()
    config = {"config": options, "model_type": "bert", "name": "own", "version": "adapters.1.3.0"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    tensors = {
        f"bert.encoder.layer.0.output.adapters.own.{name}": generator.normal(0, 0.3, shape).astype(np.float32)
        for name, shape in shapes.items()
    }
    save_file(tensors, folder / adapterhub.WEIGHTS)
    return folder


def taggers(scratch: Path, output: Path) -> None:
    """An answer for each token: labels are the last of three axes."""
    base = tiny.base(scratch / "base", "roberta", **{**SMALL, "max_position_embeddings": 66})
    task = "token-classification"
    made = {
        "names": tiny.lora_adapter(base, scratch / "names", task, 3, "query", 5, seed=1),
        "words": tiny.lora_adapter(base, scratch / "words", task, 2, "value", 3, seed=2),
    }
    export(base, made, output, task=task)


def features(scratch: Path, output: Path) -> None:
    """No labels and no head: every row has the same shape."""
    sizes: dict[str, Any] = {
        "dim": WIDTH,
        "n_layers": 1,
        "n_heads": 2,
        "hidden_dim": WIDTH,
        "max_position_embeddings": 64,
    }
    base = tiny.base(scratch / "base", "distilbert", **sizes)
    task = "feature-extraction"
    made = {
        "wide": tiny.lora_adapter(base, scratch / "wide", task, 6, ["q_lin", "lin1"], seed=1),
        "narrow": tiny.lora_adapter(base, scratch / "narrow", task, 1, ["v_lin"], seed=2, bias="lora_only"),
    }
    export(base, made, output, task=task)


def images(scratch: Path, output: Path) -> None:
    """Pictures: an input of four axes, and no mask anywhere in the model."""
    base = tiny.base(scratch / "base", "vit", **{key: size for key, size in SMALL.items() if "position" not in key})
    task = "image-classification"
    targets = r".*(query|q_proj)", r".*(value|v_proj)"  # transformers 4 has other names than 5
    head = {"modules_to_save": ["classifier"]}
    made = {
        "birds": tiny.lora_adapter(base, scratch / "birds", task, 4, targets[0], 3, seed=1, **head),
        "signs": tiny.lora_adapter(base, scratch / "signs", task, 2, targets[1], 4, seed=2, **head),
    }
    export(base, made, output, task=task)


def passes(scratch: Path, output: Path) -> None:
    """Slots that take one array for the whole batch, as DeBERTa's relative positions have none: rows run in passes."""
    base = tiny.base(scratch / "base", "deberta-v2", CLASSES, num_labels=3, **SMALL)
    targets = r".*(query|key)_proj"
    made = {
        "one": tiny.lora_adapter(base, scratch / "one", CLASSES, 2, targets, task_type=None, seed=1),
        "two": tiny.lora_adapter(base, scratch / "two", CLASSES, 3, targets, task_type=None, seed=2),
        "own": tiny.lora_adapter(base, scratch / "own", CLASSES, 1, ["value_proj"], 2, seed=3),
    }
    export(base, made, output, task=CLASSES)


def half(scratch: Path, output: Path) -> None:
    """Weights and slots in fp16, inputs and outputs as ever."""
    base = tiny.base(scratch / "base", **SMALL)
    targets = ["query", "output.dense"]
    made = {
        "lora": tiny.lora_adapter(base, scratch / "lora", CLASSES, 4, targets, 2, seed=1),
        "dora": tiny.lora_adapter(base, scratch / "dora", CLASSES, 2, targets, 3, seed=2, use_dora=True),
    }
    export(base, made, output, task=CLASSES, precision="fp16")


def steps(scratch: Path, output: Path) -> None:
    """A decoder whose cache grows: each step is a plain run. What a text begins with is no plain run, and is refused.

    A cache with a `capacity` is left out: what lies behind a row's tokens means nothing, so bits can't be compared.
    """
    size = len(decoders.byte_level(scratch / "sized"))
    ends = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    sizes: dict[str, Any] = {"hidden_size": WIDTH, "n_layer": 1, "n_head": 2}
    task = "text-generation"
    base = tiny.base(scratch / "base", "bloom", task, vocab_size=size, **sizes, **ends)
    decoders.byte_level(base)
    made = {
        "tales": tiny.lora_adapter(base, scratch / "tales", task, 4, "all-linear", seed=1),
        "news": tiny.lora_adapter(base, scratch / "news", task, 2, "query_key_value", seed=2),
        "begun": starts.start(base, scratch / "begun", "prompt"),
    }
    export(base, made, output, task=task)


EXPORTED: Mapping[str, Callable[[Path, Path], None]] = {
    "classifiers": classifiers,
    "headed": headed,
    "methods": methods,
    "prompts": prompts,
    "taggers": taggers,
    "features": features,
    "images": images,
    "passes": passes,
    "half": half,
    "steps": steps,
}
"""A bundle's name to what exports it; each is made in the scratch folder that it is given."""

TOOLS_ALONE = ("base.onnx", "sites.json", "subgraph.onnx")
"""Files that no device needs, and that packaging may drop."""


def package(folder: Path) -> None:
    """Drops what no device needs from a bundle or an adapter's folder, and from the lists of files."""
    for document in (*folder.rglob("edgeadapt.json"), *folder.rglob("adapter.json")):
        told = json.loads(document.read_text("utf-8"))
        for name in TOOLS_ALONE:
            told["files"].pop(name, None)
            (document.parent / name).unlink(missing_ok=True)
        document.write_text(json.dumps(told, ensure_ascii=False, indent=1), "utf-8")


def take_out(bundle: Path, adapter: str) -> None:
    """Moves an adapter out of a bundle, whose model keeps the slots for it."""
    extra = bundle.parent.parent / EXTRA
    extra.mkdir(exist_ok=True)
    shutil.move(bundle / "adapters" / adapter, extra / adapter)

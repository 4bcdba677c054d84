"""Tiny seeded models, tokenizers and LoRA adapters: the whole zoo in a few hundred kilobytes, made in seconds."""

from __future__ import annotations

import json
import string
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HIDDEN, LAYERS, HEADS = 32, 2, 4
POSITIONS = 128
IMAGE = 32

_SENTENCE = """
a account address and are arrived at bad book call can cancel change come customer days do easily ever feel film
flight for free get good has have hello i in invoice is it item late long love made me money morning my never new no
not now of old on open order our parcel phone play please price prize product quality ran rather reply runner running
send short so song some than thank that the them they this time to tomorrow trains two very village was weather were
what when where which who why will win with would year you your
"""
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

TEXT: dict[str, Any] = {
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": 2 * HIDDEN,
    "max_position_embeddings": POSITIONS,
    "pad_token_id": 0,
}
# RoBERTa's kin count positions from pad_token_id + 1.
ROBERTA = {**TEXT, "max_position_embeddings": POSITIONS + 2, "type_vocab_size": 1, "bos_token_id": 2, "eos_token_id": 3}
VISION: dict[str, Any] = {
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": 2 * HIDDEN,
    "image_size": IMAGE,
    "patch_size": 8,
}

ENDS = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
DECODER = {**TEXT, **ENDS}
DECODERS = (
    "gpt_neox", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi", "phi3", "smollm3", "olmo2",
    "granite", "stablelm", "starcoder2", "cohere",
)  # fmt: skip
SEQUENCES: dict[str, Any] = {
    "d_model": HIDDEN,
    "encoder_layers": LAYERS,
    "decoder_layers": LAYERS,
    "encoder_attention_heads": HEADS,
    "decoder_attention_heads": HEADS,
    "encoder_ffn_dim": 2 * HIDDEN,
    "decoder_ffn_dim": 2 * HIDDEN,
    "max_position_embeddings": POSITIONS,
    "init_std": 0.2,
    "decoder_start_token_id": 3,
    "forced_eos_token_id": None,
    **ENDS,
}

FAMILIES: Mapping[str, Mapping[str, Any]] = {
    "bert": TEXT,
    "roberta": ROBERTA,
    "xlm-roberta": ROBERTA,
    "camembert": ROBERTA,
    "distilbert": {
        "dim": HIDDEN,
        "n_layers": LAYERS,
        "n_heads": HEADS,
        "hidden_dim": 2 * HIDDEN,
        "max_position_embeddings": POSITIONS,
        "pad_token_id": 0,
    },
    "albert": {**TEXT, "embedding_size": 16, "bos_token_id": 2, "eos_token_id": 3},
    "electra": {**TEXT, "embedding_size": 16},
    "mpnet": {**TEXT, "max_position_embeddings": POSITIONS + 2, "bos_token_id": 2, "eos_token_id": 3},
    "deberta-v2": {
        **TEXT,
        "relative_attention": True,
        "position_buckets": 16,
        "pos_att_type": ["p2c", "c2p"],
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "position_biased_input": False,
        "type_vocab_size": 0,
    },
    "bert-generation": {**TEXT, "bos_token_id": 2, "eos_token_id": 3},
    "modernbert": {
        **TEXT,
        "num_hidden_layers": 3,
        "local_attention": 8,
        "bos_token_id": 2,
        "eos_token_id": 3,
        "cls_token_id": 2,
        "sep_token_id": 3,
        "reference_compile": False,
    },
    "gpt2": {
        "n_embd": HIDDEN,
        "n_layer": LAYERS,
        "n_head": HEADS,
        "n_positions": POSITIONS,
        "pad_token_id": 0,
        "use_cache": False,
    },
    "llama": {
        **DECODER,
        "num_key_value_heads": 2,
        "use_cache": False,
    },
    "gpt_neo": {
        "hidden_size": HIDDEN,
        "num_layers": LAYERS,
        "num_heads": HEADS,
        "intermediate_size": 2 * HIDDEN,
        "max_position_embeddings": POSITIONS,
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 3,
    },
    "opt": {**DECODER, "ffn_dim": 2 * HIDDEN},
    "bloom": {"hidden_size": HIDDEN, "n_layer": LAYERS, "n_head": HEADS, **ENDS},
    "falcon": {"hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, **ENDS},
    "mistral": {**DECODER, "num_key_value_heads": 2, "sliding_window": None, "use_cache": False},
    **dict.fromkeys(DECODERS, DECODER),
    "t5": {
        "d_model": HIDDEN,
        "d_kv": HIDDEN // HEADS,
        "d_ff": 2 * HIDDEN,
        "num_layers": LAYERS,
        "num_heads": HEADS,
        "relative_attention_num_buckets": 8,
        "relative_attention_max_distance": 12,
        "pad_token_id": 0,
        "eos_token_id": 3,
        "decoder_start_token_id": 0,
    },
    **dict.fromkeys(("bart", "mbart", "marian", "pegasus"), SEQUENCES),
    "whisper": {
        **{key: value for key, value in SEQUENCES.items() if key != "max_position_embeddings"},
        "max_source_positions": 1500,
        "max_target_positions": 64,
        "num_mel_bins": 80,
    },
    "vit": VISION,
    "deit": VISION,
    "beit": VISION,
    "dinov2": {key: value for key, value in VISION.items() if key != "intermediate_size"} | {"mlp_ratio": 2},
    "swin": {
        "image_size": IMAGE,
        "patch_size": 4,
        "embed_dim": 16,
        "depths": [1, 1],
        "num_heads": [2, 2],
        "window_size": 4,
    },
}
"""Model type to the configuration that makes it tiny."""

AUTO = {
    "feature-extraction": "AutoModel",
    "fill-mask": "AutoModelForMaskedLM",
    "text-classification": "AutoModelForSequenceClassification",
    "token-classification": "AutoModelForTokenClassification",
    "question-answering": "AutoModelForQuestionAnswering",
    "multiple-choice": "AutoModelForMultipleChoice",
    "image-classification": "AutoModelForImageClassification",
    "text-generation": "AutoModelForCausalLM",
    "text2text-generation": "AutoModelForSeq2SeqLM",
    "automatic-speech-recognition": "AutoModelForSpeechSeq2Seq",
}
PEFT_TASKS = {
    "feature-extraction": "FEATURE_EXTRACTION",
    "text-classification": "SEQ_CLS",
    "token-classification": "TOKEN_CLS",
    "question-answering": "QUESTION_ANS",
    "text-generation": "CAUSAL_LM",
    "text2text-generation": "SEQ_2_SEQ_LM",
    "automatic-speech-recognition": "SEQ_2_SEQ_LM",
}


def base(
    folder: Path, model_type: str = "bert", task: str = "feature-extraction", seed: int = 0, **config: Any
) -> Path:
    """Writes a base checkpoint with its tokenizer or image processor and returns its folder.

    Args:
        folder: Where; made if missing.
        model_type: One of `FAMILIES`.
        task: Whose head the checkpoint has; that of feature-extraction has none, as most bases of adapters.
        seed: Of the weights.
        config: Goes over the family's configuration.
    """
    import torch
    import transformers

    vision = "image_size" in FAMILIES[model_type]
    text = {} if vision else {"vocab_size": len(vocabulary())}
    settings = transformers.AutoConfig.for_model(
        model_type, **{"initializer_range": 0.2, **text, **FAMILIES[model_type], **config}
    )
    torch.manual_seed(seed)
    with quiet():
        model = getattr(transformers, AUTO[task]).from_config(settings)
        _stir(model)
        model.save_pretrained(folder)
    if vision:
        return image_processor(folder)
    return tokenizer(folder, token_types=(getattr(settings, "type_vocab_size", 0) or 0) > 1)


def vocabulary() -> dict[str, int]:
    """Returns the WordPiece vocabulary: special tokens, some words, and all characters so that nothing is unknown."""
    letters = string.ascii_lowercase + string.digits
    pieces = [*SPECIAL, *string.punctuation, *letters, *(f"##{letter}" for letter in letters), "##ing", "##ed", "##er"]
    return {token: index for index, token in enumerate(dict.fromkeys([*pieces, *_SENTENCE.split()]))}


def tokenizer(folder: Path, token_types: bool = True) -> Path:
    """Writes a WordPiece tokenizer (`tokenizer.json` and the rest) and returns its folder."""
    import transformers
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    known = vocabulary()
    pieces = Tokenizer(models.WordPiece(known, unk_token="[UNK]"))
    pieces.normalizer = normalizers.BertNormalizer(lowercase=True)
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pieces.decoder = decoders.WordPiece()
    pieces.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", known["[CLS]"]), ("[SEP]", known["[SEP]"])],
    )
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=pieces,
        model_max_length=POSITIONS,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_input_names=["input_ids", *(["token_type_ids"] if token_types else []), "attention_mask"],
    )
    fast.save_pretrained(folder)
    return folder


def image_processor(folder: Path) -> Path:
    """Writes `preprocessor_config.json`: resize to a square, rescale, normalise."""
    settings = {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": IMAGE, "width": IMAGE},
        "resample": 2,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.4, 0.3],
        "image_std": [0.5, 0.25, 0.2],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder


def lora_adapter(
    base_folder: Path,
    folder: Path,
    task: str = "text-classification",
    rank: int = 4,
    targets: list[str] | str = "query",
    num_labels: int | None = None,
    seed: int = 0,
    **options: Any,
) -> Path:
    """Writes a PEFT LoRA adapter as `save_pretrained` does and returns its folder.

    Nothing of it is zero: `lora_B` and everything trained whole (a head, biases) are drawn at random, so that the
    adapter moves the outputs far.

    Args:
        base_folder: What `base` wrote.
        folder: Where.
        task: Decides the model class and PEFT's task type, which brings the head along (`modules_to_save`).
        rank: `r`; `lora_alpha` is twice as much.
        targets: `target_modules`; a str is PEFT's regular expression or a shorthand, a list holds endings of names.
        num_labels: Label count of the head; None leaves it to the base's configuration.
        seed: Of the weights.
        options: Further options of `peft.LoraConfig`.
    """
    import peft

    targets = [targets] if isinstance(targets, str) and targets.isidentifier() else targets
    settings = {"lora_alpha": 2 * rank, "task_type": PEFT_TASKS.get(task), "target_modules": targets, **options}
    return peft_adapter(base_folder, folder, peft.LoraConfig(r=rank, **settings), task, num_labels, seed)


def peft_adapter(
    base_folder: Path, folder: Path, config: Any, task: str, num_labels: int | None = None, seed: int = 0
) -> Path:
    """Writes the adapter that a PEFT configuration describes; see `lora_adapter`, which this is for any type."""
    import peft
    import torch
    import transformers

    labels = {} if num_labels is None else {"num_labels": num_labels}
    torch.manual_seed(seed)
    with quiet():
        model = getattr(transformers, AUTO[task]).from_pretrained(base_folder, ignore_mismatched_sizes=True, **labels)
        wrapped = peft.get_peft_model(model, config)
        with torch.no_grad():
            for name, parameter in wrapped.named_parameters():
                if parameter.requires_grad and any(part in name for part in ("ia3_l", "magnitude")):
                    parameter.mul_(1 + torch.randn_like(parameter) * 0.3)  # a factor, or a length
                elif parameter.requires_grad and "lora_A" not in name:
                    parameter.copy_(torch.randn_like(parameter) * 0.3)
        wrapped.save_pretrained(str(folder))
    return folder


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps transformers' progress bars and remarks on invented heads to themselves."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)


def _stir(model: Any) -> None:
    """Gives every vector (biases, scales) values of its own: fresh ones are all 0 or 1, and hide mistakes."""
    import torch

    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)

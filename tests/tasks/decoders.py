"""Tiny decoders with tokenizers of GPT-2's and of Llama's kind, and chat templates as they are found in the wild."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests import tiny
from tests.tasks.reference import TEXTS, transformers

PROMPTS = [
    "Hello, our phone is late!",
    "never",
    "naïve Köln, 你好!",
    "The film was rather long, and they changed the price of the tomorrow-trains twice",
]
"""Texts of several lengths, so that shorter ones are padded."""

CORPUS = [*TEXTS, *PROMPTS, "You answer in one line."]

CHATML = """\
{%- for message in messages %}
    {%- if message['role'] == 'system' and not loop.first %}
        {{- raise_exception('Only the first message can be the system\\'s') }}
    {%- endif %}
    {%- if message['role'] == 'assistant' %}
        {{- '<|im_start|>assistant\\n' }}
        {%- generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}{{ '\\n' }}
    {%- else %}
        {{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

LLAMA = """\
{{ bos_token }}{% for message in messages %}
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
{{ raise_exception('Roles must alternate user/assistant/user/...') }}
{% endif %}
{% if message['role'] == 'user' %}
{{ '[INST] ' + message['content'].strip() + ' [/INST]' }}{% else %}
{{ ' ' + message['content'].strip() + ' ' + eos_token }}{% endif %}
{% endfor %}
"""


def byte_level(folder: Path) -> Any:
    """Writes a tokenizer of GPT-2's kind, which adds no special tokens, with ChatML as its template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    plain = Tokenizer(models.BPE())
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    plain.train_from_iterator(CORPUS, trainer)
    return _saved(plain, folder, CHATML, eos_token="<|endoftext|>", pad_token="<|endoftext|>")


def sentence_pieces(folder: Path) -> Any:
    """Writes a tokenizer of Llama's kind: spaces as `▁`, bytes where a character is unknown, `<s>` first."""
    from tokenizers import Tokenizer, decoders, models, normalizers, processors, trainers

    special = ["<unk>", "<s>", "</s>"]
    trained = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    steps = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trained.normalizer = steps
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=340, special_tokens=[*special, *bytes_], limit_alphabet=30, show_progress=False
    )
    trained.train_from_iterator(" ".join(CORPUS).split(), trainer)
    plain = _without_special(trained, special)
    plain.normalizer = steps
    plain.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    plain.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)])
    names = dict(zip(("unk_token", "bos_token", "eos_token"), special, strict=True))
    return _saved(plain, folder, LLAMA, pad_token="</s>", **names)


def _without_special(trained: Any, special: list[str]) -> Any:
    """Returns the tokenizer with none but these special tokens: bytes are tokens like any other."""
    import json

    from tokenizers import Tokenizer

    document = json.loads(trained.to_str())
    document["added_tokens"] = [token for token in document["added_tokens"] if token["content"] in special]
    return Tokenizer.from_str(json.dumps(document))


def _saved(plain: Any, folder: Path, template: str, **tokens: str) -> Any:
    live = transformers.PreTrainedTokenizerFast(
        tokenizer_object=plain, clean_up_tokenization_spaces=False, model_max_length=tiny.POSITIONS, **tokens
    )
    live.chat_template = template
    live.save_pretrained(folder)
    return transformers.AutoTokenizer.from_pretrained(folder)


def base(folder: Path, kind: str) -> Any:
    """Writes a tiny GPT-2 with a tokenizer of its kind, or a tiny Llama, and returns its tokenizer."""
    family = "gpt2" if kind == "byte level" else "llama"
    write = byte_level if kind == "byte level" else sentence_pieces
    ends = {"bos_token_id": 0, "eos_token_id": 0} if family == "gpt2" else {"bos_token_id": 1, "eos_token_id": 2}
    size = len(write(folder / "sized"))
    tiny.base(folder, family, "text-generation", vocab_size=size, **{**ends, "pad_token_id": ends["eos_token_id"]})
    return write(folder)
